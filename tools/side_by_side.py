"""Shows what coding did to a picture: sizes, PSNR, and both pictures in one PNG.

python tools/side_by_side.py ORIGINAL FILE DECODED OUT
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from codax.evaluation.metrics import psnr

CAPTION = 24


def side_by_side(pictures: list[Image.Image], captions: list[str]) -> Image.Image:
    """Puts pictures of one size next to each other, with a caption above each."""
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width * len(pictures), height + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        draw.text((i * width + 6, 6), caption, fill="black")
        sheet.paste(picture, (i * width, CAPTION))
    return sheet


def main() -> None:
    """Prints the sizes and the PSNR, writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("original", "file", "decoded", "out"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    original = Image.open(args.original).convert("RGB")
    decoded = Image.open(args.decoded).convert("RGB")
    size = args.file.stat().st_size
    bpp = 8 * size / (original.width * original.height)
    quality = psnr(np.asarray(original), np.asarray(decoded))
    source = args.original.stat().st_size
    captions = [
        f"original, {source} bytes",
        f"codax, {size} bytes, {bpp:.3f} bpp, {quality:.2f} dB",
    ]
    side_by_side([original, decoded], captions).save(args.out)
    pixels = 3 * original.width * original.height
    print(f"original  {args.original}: {source} bytes, {pixels} as raw pixels")
    print(f"encoded   {args.file}: {size} bytes, {bpp:.3f} bits per pixel")
    print(f"decoded   {args.decoded}: PSNR {quality:.2f} dB")
    print(f"look at   {args.out}")


if __name__ == "__main__":
    main()
