"""What tokens of a grain stand for: transforms of groups of blocks, and product codes.

A token has one of 4095 codes: levels of at most eight numbers. Alone it has those of
its group's Karhunen-Loeve transform. Four of a group have each its own block's luma,
and each in turn one of the group's colours, which change slowly and need not be said
four times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codax.entropy.product_codes import FAR, codes_of, fit_levels, sizes_of
from codax.transforms.arrays import space_to_depth
from codax.transforms.klt import leading

__all__ = ["COMPONENTS", "LEVELS", "MOST", "GrainCodes", "fit_grain"]

MOST = 2**12 - 1
"""Codes of a token, at most: a table has an escape, too."""
COMPONENTS, LEVELS = 8, 32
"""Numbers of a token that may get levels, and how many of them at most."""
COLOURS = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
COLOURS /= np.sqrt((COLOURS**2).sum(1, keepdims=True))
"""Luma and two differences of colour, orthonormal."""


@dataclass(frozen=True)
class GrainCodes:
    """What is fitted of a grain.

    Attributes:
        enter: float32[size P*8], from a group's samples to the numbers of its P tokens.
        thresholds: float32[P 8 31], between levels.
        factors: float32[P 8], what a level counts in a token.
        codes: float32[P*4095 8], the numbers of each token.
        leave: float32[P*8 size], back to samples, in the synthesis's order.
    """

    enter: np.ndarray
    thresholds: np.ndarray
    factors: np.ndarray
    codes: np.ndarray
    leave: np.ndarray


def fit_grain(groups: np.ndarray, side: int, places: int) -> GrainCodes:
    """Fits the codes of one grain.

    Args:
        groups: float32[n size], groups of side by side pixels, less the mean colour.
        side: 8 or 16.
        places: tokens of a group, 1 or 4.
    """
    size, width = 3 * side**2, places * COMPONENTS
    found = GrainCodes(
        enter=np.zeros((size, width), np.float32),
        thresholds=np.full((places, COMPONENTS, LEVELS - 1), FAR, np.float32),
        factors=np.zeros((places, COMPONENTS), np.float32),
        codes=np.zeros((places * MOST, COMPONENTS), np.float32),
        leave=np.zeros((width, size), np.float32),
    )
    for place, vectors in enumerate(_vectors(groups, side, places)):
        values = groups @ vectors
        variance = values.var(0)
        first = np.argsort(-variance, kind="stable")[:COMPONENTS]
        sizes = sizes_of(np.maximum(variance[first], 1e-6), MOST, LEVELS)
        count = len(sizes)
        used = first[:count]
        pairs = zip(used.tolist(), sizes, strict=True)
        codes, edges = codes_of([fit_levels(values[:, k], n) for k, n in pairs])
        at = place * COMPONENTS + np.arange(count)
        found.enter[:, at] = vectors[:, used]
        found.leave[at] = vectors[:, used].T[:, _order(side)]
        found.thresholds[place, :count, : edges.shape[1]] = edges
        found.factors[place, :count] = np.cumprod((1, *sizes[:-1]))
        found.codes[place * MOST : place * MOST + len(codes), :count] = codes
    return found


def _vectors(groups: np.ndarray, side: int, places: int) -> list[np.ndarray]:
    """What the token of each place may say: orthonormal columns, float32[size k].

    One alone has the components of the whole group. Of four, each has those of its own
    block's luma, and each in turn one of the group's colours.

    Args:
        groups: float32[n size], blocks of side by side pixels and three colours.
        side: of a group.
        places: tokens of it, 1 or 4.
    """
    if places == 1:
        return [_components(groups, COMPONENTS)]
    n = len(groups)
    pixels = groups.reshape(n, side, side, 3) @ COLOURS.T
    half = side // 2
    blocks = pixels[..., 0].reshape(n, 2, half, 2, half).transpose(0, 1, 3, 2, 4)
    luma = _components(blocks.reshape(4 * n, half**2), COMPONENTS)
    colours = _components(pixels[..., 1:].reshape(n, -1), 2 * places)
    found = []
    for place in range(places):
        own = np.zeros((2, half, 2, half, 3, COMPONENTS))
        shown = luma.reshape(half, half, 1, -1) * COLOURS[0][:, None]
        own[place // 2, :, place % 2] = shown
        chosen = colours[:, place::places].reshape(side, side, 2, -1)
        mixed = np.einsum("ijck,cr->ijrk", chosen, COLOURS[1:])
        parts = [part.reshape(3 * side**2, -1) for part in (own, mixed)]
        found.append(np.concatenate(parts, 1).astype(np.float32))
    return found


def _components(values: np.ndarray, count: int) -> np.ndarray:
    """The vectors of most variance, in columns, of rows [n size]."""
    square = (values.T @ values / len(values)).astype(np.float64)
    return leading(square, count)[0]


def _order(side: int) -> np.ndarray:
    """Where the synthesis wants each entry of a group of 8x8 or 16x16 pixels."""
    index = np.arange(3 * side**2).reshape(1, side, side, 3)
    for size in (4, 2, 2)[: 1 + side // 8]:
        index = space_to_depth(index, size)
    return index.ravel()
