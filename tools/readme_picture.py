"""The README's picture: a crop of the fixture as codax and as JPEG of no fewer bytes.

python tools/readme_picture.py OUT.webp
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from side_by_side import side_by_side

import codax
from codax.evaluation.metrics import psnr

FIXTURE = Path(__file__).parent.parent / "tests" / "fixtures" / "guitar.png"
CROP = (150, 120, 450, 420)
QUALITY = 20


def jpeg_beyond(picture: Image.Image, size: int) -> bytes:
    """The smallest JPEG (4:2:0, optimised) of at least `size` bytes."""
    for quality in range(1, 96):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if len(buffer.getvalue()) >= size:
            break
    return buffer.getvalue()


def main() -> None:
    """Writes the sheet and prints what it shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    picture = Image.open(FIXTURE).convert("RGB")
    codec = codax.load("quadtree-base")
    data = codec.encode(picture, quality=QUALITY)
    jpeg = jpeg_beyond(picture, len(data))
    pictures, captions = [picture], ["original"]
    for name, size, decoded in (
        ("codax", len(data), codec.decode(data)),
        ("JPEG", len(jpeg), Image.open(io.BytesIO(jpeg)).convert("RGB")),
    ):
        quality = psnr(np.asarray(picture), np.asarray(decoded))
        pictures.append(decoded)
        captions.append(f"{name}, {size} bytes, {quality:.2f} dB")
    side_by_side([p.crop(CROP) for p in pictures], captions).save(
        args.out, lossless=True
    )
    print("; ".join(captions))


if __name__ == "__main__":
    main()
