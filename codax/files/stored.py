"""Stored pictures: samples as lossless WebP in our file, decoded without weights.

Drawn pictures, such as text and diagrams, repeat themselves. WebP finds that, codecs
that learned from photographs do not: exact, and yet smaller than many a lossy file.

The stream is one byte, the form (0, the only one so far), and a WebP file. Alpha is in
it and the alpha section empty; a palette is not written, since it is the picture's
colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from PIL import Image

from codax.errors import FormatError, UnsupportedError
from codax.files import container
from codax.files.container import (
    MAX_QUALITY,
    STORED_HASH,
    STORED_ID,
    Colour,
    Container,
    Tag,
)
from codax.files.pictures import Picture
from codax.files.webp import decode_webp, encode_webp, fits_webp

__all__ = ["decode_stored", "encode_stored", "palette_of"]

_WEBP = 0
_COLOURS = 256  # of a palette

# WebP's method and quality, from fast to slow, each with a share of the limit: where
# the best so far is above it, slower ones will not get there, or not by enough to pay.
# Measured for 768x512 of Kodak on one core: 0.02 s for method 0, 0.13 for 1 at quality
# 50, 0.4 to 2.6 for 4, 7 to 15 for 6. There 0 is a tenth larger than 4, and about five
# times a lossy file; of drawings two to five times 4, but 1 is within a seventh of 4.
# 6 is 0.5 % smaller than 4, of few drawings a quarter.
_QUICK = ((0, 0, 4.0), (1, 50, 1.3), (4, 100, 0.0))
_THOROUGH = ((0, 0, math.inf), (4, 100, 0.9), (6, 100, 0.0))


def encode_stored(
    picture: Picture,
    sections: Mapping[int, bytes],
    *,
    limit: float,
    thorough: bool = False,
) -> bytes | None:
    """Writes a picture in stored form, if that is small enough.

    Args:
        picture: what to store.
        sections: those of a coded file of it.
        limit: bytes of the whole file, at most.
        thorough: whether the smallest file matters more than time.

    Returns:
        A `.codax` file; None where it would be larger, and for pictures that have no
        stored form: 16 bits a sample, converted modes, sizes beyond WebP's.
    """
    deep = picture.rgb.dtype == np.uint16
    height, width = picture.rgb.shape[:2]
    if deep or not picture.exact or not fits_webp(height, width):
        return None
    image = Image.fromarray(np.ascontiguousarray(picture.rgb))
    sections = {tag: own for tag, own in sections.items() if tag != Tag.PALETTE}
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
        sections[Tag.ALPHA] = b""
    best = b""
    for method, quality, share in _THOROUGH if thorough else _QUICK:
        webp = encode_webp(image, method=method, quality=quality)
        if not best or len(webp) < len(best):
            best = webp
        data = container.write(
            Container(
                codec_id=STORED_ID,
                weights_hash=STORED_HASH,
                width=width,
                height=height,
                quality=MAX_QUALITY,
                stream=bytes([_WEBP]) + best,
                colour=Colour.GREY if picture.grey else Colour.RGB,
                sections=sections,
            )
        )
        if len(data) > share * limit:
            break
    return data if len(data) <= limit else None


def decode_stored(file: Container) -> Image.Image:
    """Decodes the samples of a stored picture.

    Args:
        file: what `container.read` returned, with `stored`; may be hostile.

    Returns:
        RGB, also where it is grey; RGBA if the file has an alpha section.

    Raises:
        FormatError: damaged.
        UnsupportedError: a form that is not known.
    """
    coded = file.layered or file.trellis or file.sections.get(Tag.ALPHA)
    if file.bit_depth != 8 or coded:
        raise FormatError(
            "a stored picture with 16 bits, layers or coded alpha, or a trellis; the "
            "file is damaged"
        )
    form = file.stream[0] if file.stream else None
    if form != _WEBP:
        raise UnsupportedError(
            f"unknown stored form {form}; a newer codax is needed, or the file is "
            "damaged"
        )
    image = decode_webp(file.stream[1:], file.height, file.width)
    return image.convert("RGBA" if Tag.ALPHA in file.sections else "RGB")


def palette_of(image: Image.Image) -> np.ndarray:
    """The colours of a picture in rising order: uint8[n 3], or [n 4] of RGBA.

    Raises:
        FormatError: there are too many for a palette.
    """
    colours = image.getcolors(_COLOURS)
    if colours is None:
        raise FormatError(
            f"a stored picture of mode P has more than {_COLOURS} colours; the file is "
            "damaged"
        )
    return np.array(sorted(colour for _, colour in colours), np.uint8)
