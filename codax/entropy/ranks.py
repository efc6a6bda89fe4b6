"""Grains by rank: which parts of a picture are coded how finely, and what that takes.

A third of what there is may be coarse, a half medium, the rest fine: parts are sorted
by an integer score, the highest are fine, and of equals the first. So the counts follow
from the shares and the number of parts alone. Where every symbol has a table of equal
frequencies that are powers of two, a stream's length does, too: the range coder's range
is then a power of two, less a little, whatever the symbols are.

Source: Control-GIC (Li et al. 2025): grains by sorted information, shares as the rate.
There scores are entropies in floats and tokens have Huffman codes.
"""

from __future__ import annotations

import numpy as np

from codax.transforms.arrays import Array, array_module

__all__ = ["GRAINS", "WHOLE", "counts_of", "ranked", "stream_bytes", "token_slots"]

GRAINS = 3
"""0 for coarse, 1 for medium, 2 for fine."""
WHOLE = 4096
"""Shares are integers, parts of this."""
WORD, SPARE = 32, 30
"""Bits of a word of a stream, and those of which none is written yet."""


def counts_of(positions: int, medium: Array, fine: Array) -> tuple[Array, Array]:
    """How many parts are medium and fine.

    Args:
        positions: parts in all.
        medium: their share, integers of `WHOLE`, any shape.
        fine: likewise; together at most `WHOLE`.
    """
    xp = array_module(fine)
    most = (positions * fine + WHOLE // 2) // WHOLE
    middle = (positions * medium + WHOLE // 2) // WHOLE
    return xp.minimum(middle, positions - most), most


def ranked(scores: Array, medium: Array, fine: Array) -> Array:
    """The grain of each part.

    Args:
        scores: [N h w 1], whole numbers or not; the higher, the finer.
        medium: int32[N], see `counts_of`.
        fine: likewise.

    Returns:
        int32[N h w 1], 0 to 2.
    """
    xp = array_module(scores)
    flat = scores.reshape(scores.shape[0], -1)
    options = {"kind": "stable"} if xp is np else {}
    rank = xp.argsort(xp.argsort(-flat, -1, **options), -1, **options)
    middle, most = counts_of(flat.shape[1], medium, fine)
    found = (rank < most[:, None]).astype(np.int32)
    found = found + (rank < (most + middle)[:, None])
    return found.astype(np.int32).reshape(scores.shape)


def token_slots(grains: Array, coarse: Array, medium: Array, fine: Array) -> Array:
    """Grain and tokens of cells in one array, zeros where a cell has fewer than 16.

    Args:
        grains: integers[N h w 1].
        coarse: integers[N h w 1], the cells' tokens if they are coarse.
        medium: integers[N h w 4], if they are medium.
        fine: integers[N h w 16], if they are fine.

    Returns:
        Integers[N h w 17].
    """
    xp = array_module(grains)
    shape = (*grains.shape[:-1], 16)
    found = xp.zeros(shape, fine.dtype)
    for grain, own in enumerate((coarse, medium, fine)):
        blank = xp.zeros((*shape[:-1], shape[-1] - own.shape[-1]), own.dtype)
        slots = xp.concatenate([own, blank], -1)
        found = xp.where(grains == grain, slots, found)
    return xp.concatenate([grains, found], -1)


def stream_bytes(bits: int) -> int:
    """Bytes of a stream of symbols that take so many bits, an even number, in all.

    A word is written whenever fewer than 32 of 64 bits of the range are left, and one
    in the end.
    """
    return WORD // 8 * (1 + max(0, -(-(bits - SPARE) // WORD)))
