"""Bits per sample and speed without loss, beside other codecs; a Markdown table.

    python tools/lossless.py FOLDER [--model NAME|PATH]

Every size is that of a file, and every file is decoded and compared with the picture.
Speeds are megapixels per second of the whole folder, after a first of each size.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

import codax
from codax.cli.runtime import prepare_jax
from codax.zoo.cards import choose_card

Pair = tuple[Callable[[np.ndarray], bytes], Callable[[bytes], np.ndarray]]


def _pillow(form: str, **options: object) -> Pair:
    def encode(rgb: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, form, **options)
        return file.getvalue()

    return encode, lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="else the newest codec without loss")
    given = parser.parse_args()
    pictures = [
        np.asarray(Image.open(path).convert("RGB"))
        for path in sorted(given.folder.iterdir())
        if path.suffix.lower() in (".png", ".webp", ".ppm")
    ]
    if not pictures:
        sys.exit(f"lossless.py: no PNG, WebP or PPM in {given.folder}")
    prepare_jax()
    codec = codax.load(choose_card(given.model, lossless=True).folder)
    codecs: dict[str, Pair] = {
        codec.name: (
            lambda rgb: codec.encode(rgb, fallback=False),
            lambda data: np.asarray(codec.decode(data)),
        ),
        "JPEG XL, effort 7": (
            lambda rgb: imagecodecs.jpegxl_encode(rgb, lossless=True, effort=7),
            imagecodecs.jpegxl_decode,
        ),
        "WebP, method 6": _pillow("WEBP", lossless=True, quality=100, method=6),
        "JPEG 2000": (
            lambda rgb: imagecodecs.jpeg2k_encode(rgb, reversible=True, level=0),
            imagecodecs.jpeg2k_decode,
        ),
        "PNG, optimised": _pillow("PNG", optimize=True),
    }
    samples = sum(rgb.size for rgb in pictures)
    print(f"{len(pictures)} pictures of {given.folder.name}\n")
    print("| codec | bits a sample | encoding Mpixel/s | decoding Mpixel/s |")
    print("|---|---:|---:|---:|")
    for name, (encode, decode) in codecs.items():
        for first in {rgb.shape: rgb for rgb in pictures}.values():
            decode(encode(first))
        begin = time.perf_counter()
        files = [encode(rgb) for rgb in pictures]
        middle = time.perf_counter()
        back = [decode(file) for file in files]
        end = time.perf_counter()
        if not all(map(np.array_equal, back, pictures)):
            sys.exit(f"lossless.py: {name} lost something")
        bits = 8 * sum(map(len, files)) / samples
        speeds = [samples / 3e6 / spent for spent in (middle - begin, end - middle)]
        print(f"| {name} | {bits:.3f} | {speeds[0]:.2f} | {speeds[1]:.2f} |")


if __name__ == "__main__":
    main()
