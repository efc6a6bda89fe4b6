"""Pictures from files by Pillow: opened, checked, and loaded, with errors in one line.

Pillow reads some files with more than 8 bits a sample as 8 silently, and opens pictures
of any size; both are seen here before pixels are.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from codax.errors import CodaxError, ImageError, UnsupportedError
from codax.files.container import MAX_PIXELS

__all__ = [
    "DEEP_GREY",
    "GREY_MODES",
    "SIMPLER",
    "first_line",
    "load_image",
    "open_image",
]

DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
GREY_MODES = ("1", "L", "LA", "La")
_COLOUR_MODES = ("P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")
SIMPLER = {"RGBX": "RGB", "RGBa": "RGBA", "La": "LA", "PA": "RGBA"}
"""Modes that are neither those of samples nor restored from them, and what they
become."""


def open_image(source: str | Path | BinaryIO | bytes) -> Image.Image:
    """Opens a picture file and loads its first frame.

    Args:
        source: a path, an open file, or the bytes of a file.

    Returns:
        The loaded picture; of a PNG with a colour space by numbers (cICP), which Pillow
        does not tell, `info["cicp"]` has them.

    Raises:
        ImageError: missing, not a picture, damaged, or too large.
        UnsupportedError: more than 8 bits a sample.
    """
    try:
        if isinstance(source, str | Path):
            source = Path(source).read_bytes()  # so that no file stays open
        if isinstance(source, bytes):
            source = io.BytesIO(source)
        with warnings.catch_warnings():
            # Pillow warns of pictures larger than its own limit; ours is checked below.
            warnings.simplefilter("ignore")
            image = Image.open(source)
            if image.format == "PNG" and (cicp := _png_cicp(image)):
                image.info["cicp"] = cicp
            load_image(image)
    except CodaxError:
        raise
    except Image.UnidentifiedImageError as error:
        if isinstance(error.__cause__, CodaxError):  # a damaged file of our own
            raise error.__cause__ from error
        raise ImageError("not a picture in a format that Pillow reads") from error
    except Image.DecompressionBombError as error:
        raise ImageError("too many pixels for a picture to be opened") from error
    except FileNotFoundError as error:
        raise ImageError("no such file") from error
    except IsADirectoryError as error:
        raise ImageError("is a folder; expected a picture") from error
    # Pillow's readers raise many kinds of exception on damaged files.
    except Exception as error:
        raise ImageError(f"cannot be read as a picture: {first_line(error)}") from error
    return image


def load_image(image: Image.Image) -> None:
    """Loads the pixels, after the checks that must come before."""
    width, height = image.size
    if min(width, height) < 1:
        raise ImageError(f"picture is {width}x{height}; both sides must be at least 1")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"picture is {width}x{height}, {width * height} pixels; "
            f"at most {MAX_PIXELS} are coded; cut it or make it smaller"
        )
    bits = _stored_bits(image)
    if bits > 8 and image.mode not in DEEP_GREY:
        raise UnsupportedError(
            f"picture has {bits} bits a sample; codax codes 8, or 16 of grey; convert "
            "it first, for example with `magick IN -depth 8 OUT`"
        )
    if image.mode not in (*GREY_MODES, *DEEP_GREY, *SIMPLER, *_COLOUR_MODES):
        raise UnsupportedError(
            f"picture mode {image.mode!r} is not known; convert it to RGB first"
        )
    try:
        image.load()
    except Exception as error:
        raise ImageError(f"picture is damaged: {first_line(error)}") from error


def _stored_bits(image: Image.Image) -> int:
    """Returns the bits a sample in the file: Pillow reads some of them as 8 silently.

    Only a picture that is not loaded yet shows its file's depth (in `tile`).
    """
    if image.mode in ("I", "F"):
        return 32
    for _, _, _, arguments in getattr(image, "tile", []):
        for value in arguments if isinstance(arguments, tuple) else (arguments,):
            if isinstance(value, str) and ";16" in value:
                return 16
    if image.format == "PPM":
        for decoder, _, _, arguments in getattr(image, "tile", []):
            if decoder.startswith("ppm") and arguments[-1] > 255:
                return 16
    if image.format == "JPEG2000" and getattr(image, "fp", None):
        return _jpeg2000_bits(image)
    if image.format == "AVIF" and getattr(image, "fp", None):
        return _avif_bits(image)
    return 8


def _jpeg2000_bits(image: Image.Image) -> int:
    """Reads Ssiz, the depth of the first component (ISO/IEC 15444-1, A.5.1)."""
    head = _head_of(image)
    at = head.find(b"\xff\x4f\xff\x51")
    return (head[at + 42] & 0x7F) + 1 if 0 <= at < len(head) - 42 else 8


def _avif_bits(image: Image.Image) -> int:
    """Reads the depth flags of the `av1C` box (AV1 in ISOBMFF, section 2.3.3)."""
    head = _head_of(image)
    at = head.find(b"av1C")
    if not 0 <= at < len(head) - 6:
        return 8
    return (8, 8, 10, 12)[head[at + 6] >> 5 & 3]


def _png_cicp(image: Image.Image) -> bytes:
    """Reads primaries, curve, matrix and range (PNG, third edition, 11.3.2.6)."""
    head, _, _ = _head_of(image).partition(b"IDAT")
    _, _, numbers = head.partition(b"\0\0\0\4cICP")
    return numbers[:4]


def _head_of(image: Image.Image) -> bytes:
    """Returns the beginning of the picture's file and leaves its position alone."""
    file = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(position)
    return head


def first_line(error: Exception) -> str:
    """Returns an exception's message on one line, or its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]
