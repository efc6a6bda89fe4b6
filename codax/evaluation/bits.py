"""Where the bits of a file go: by step of the coding order, and by place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codax.files.pictures import from_image

if TYPE_CHECKING:
    from codax.face.codec import Codec

__all__ = ["BitsMap", "bits_map"]


@dataclass(frozen=True, kw_only=True)
class BitsMap:
    """What a picture's file spends, by the tables that it is coded with.

    Attributes:
        steps: by step of the coding order (`z`, `y0`, ...), float64[rows columns]: the
            bits of each position on that step's own grid, summed over channels.
        per_pixel: float64[H W], the bits of all steps, each position's spread evenly
            over the pixels that it stands for.
        total_bits: their sum.
        file_bytes: size of the real file of the colours, with its header.
    """

    steps: Mapping[str, NDArray[np.float64]]
    per_pixel: NDArray[np.float64]
    total_bits: float
    file_bytes: int


def bits_map(
    codec: Codec, image: Image.Image | NDArray[np.uint8], quality: float = 75
) -> BitsMap:
    """Says where in a picture, and at which step, the bits of its file go.

    The bits are minus the logarithms of the probabilities that the range coder is
    given, so their sum agrees with the file to a few bytes and its header.

    Args:
        codec: of `codax.load`.
        image: a Pillow picture, or an array uint8[H W] or [H W 3]. Only its colours
            count: alpha and metadata, which no step codes, are left out.
        quality: 0..100 in half steps.

    Returns:
        The bits by step and place, and the size of the file.

    Raises:
        ImageError: a picture that cannot be coded.
        UnsupportedError: a kind of picture that is not coded.
        ConfigError: a quality out of range.

    Example:
        >>> import codax
        >>> from codax.evaluation import bits_map
        >>> codec = codax.load("quadtree-tiny")             # doctest: +SKIP
        >>> found = bits_map(codec, picture, quality=60)    # doctest: +SKIP
        >>> found.total_bits / 8, found.file_bytes          # doctest: +SKIP
    """
    rgb = from_image(image).rgb
    # The file first: it refuses qualities out of range.
    data = codec.encode(rgb, quality, fallback=False)
    steps = codec.coder.costs(rgb, round(2 * quality))
    shape = rgb.shape[:2]
    per_pixel = sum((_spread(bits, shape) for bits in steps.values()), np.zeros(shape))
    return BitsMap(
        steps=steps,
        per_pixel=per_pixel,
        total_bits=float(sum(bits.sum() for bits in steps.values())),
        file_bytes=len(data),
    )


def _spread(bits: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Bits of a grid's positions over their pixels: [rows columns] to [H W]."""
    row, column = _place(shape[0], bits.shape[0]), _place(shape[1], bits.shape[1])
    # Positions at the right and lower edge stand for fewer pixels.
    pixels = np.outer(np.bincount(row), np.bincount(column))
    return (bits / pixels)[np.ix_(row, column)]


def _place(length: int, count: int) -> NDArray[np.int64]:
    """The position of each pixel of a side, when cells are powers of two: int64[n]."""
    side = 1
    while -(-length // side) > count:
        side *= 2
    return np.arange(length) // side
