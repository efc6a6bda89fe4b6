"""Lossless WebP files (RFC 9649) inside ours: planes and stored pictures."""

from __future__ import annotations

import io
import struct

from PIL import Image

from codax.errors import FormatError, UnsupportedError

__all__ = ["decode_webp", "encode_webp", "fits_webp"]

# WebP's own limit of a side, and one of pixels below that of Pillow's warnings.
_SIDE = 16383
_PIXELS = 1 << 26
# `RIFF`, bytes that follow, `WEBPVP8L`, bytes of the chunk, its mark, sides and flags.
_HEAD = struct.Struct("<4sI8sIBI")


def fits_webp(height: int, width: int) -> bool:
    """Whether a picture of this size is within WebP's limits and ours."""
    return max(height, width) <= _SIDE and height * width <= _PIXELS


def encode_webp(image: Image.Image, *, method: int = 4, quality: int = 80) -> bytes:
    """Codes a picture without loss, colours under alpha 0 too.

    Args:
        image: L, RGB or RGBA, of a size that fits.
        method: 0 (fast) to 6 (small).
        quality: 0 to 100, effort as well.
    """
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, exact=True, method=method, quality=quality)
    return file.getvalue()


def decode_webp(data: bytes, height: int, width: int) -> Image.Image:
    """Decodes a lossless WebP file of the simple layout: one chunk, no animation.

    The size is read and compared here, since Pillow's decoder allocates by it.

    Args:
        data: the file; may be hostile.
        height: expected rows.
        width: expected columns.

    Returns:
        The loaded picture, RGB or RGBA.

    Raises:
        FormatError: no such file, damaged, or of another size.
        UnsupportedError: larger than Pillow was told to open.
    """
    if not fits_webp(height, width):
        raise FormatError(
            f"{width}x{height} is larger than WebP pictures may be; the file is damaged"
        )
    if len(data) < _HEAD.size:
        raise FormatError(f"{len(data)} bytes are no WebP picture; the file is damaged")
    riff, rest, kind, _, mark, bits = _HEAD.unpack_from(data)
    if (riff, kind, mark) != (b"RIFF", b"WEBPVP8L", 0x2F) or rest + 8 != len(data):
        raise FormatError("no lossless WebP picture; the file is damaged")
    sides = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if sides != (width, height):
        raise FormatError(
            f"the WebP picture is {sides[0]}x{sides[1]}, expected {width}x{height}; "
            "the file is damaged"
        )
    try:
        with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
            image.load()
            return image
    except Image.DecompressionBombError as error:
        raise UnsupportedError(
            f"{width}x{height} is beyond PIL.Image.MAX_IMAGE_PIXELS as set here"
        ) from error
    except (OSError, ValueError, EOFError) as error:
        raise FormatError("the WebP picture is damaged") from error
