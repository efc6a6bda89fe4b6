"""Product codes: a few numbers, each at one of a few levels, as one token.

How many levels each number gets follows from its variance, level by level where that
takes most of the error for its bits; the levels are those of least squared error.

Source: Lloyd 1982 (levels), Mentzer et al. 2023 (finite scalar quantisation), where
levels are evenly spaced behind a bound; here numbers of levels and levels are fitted.
"""

from __future__ import annotations

import numpy as np

__all__ = ["codes_of", "fit_levels", "sizes_of"]

ROUNDS = 40
"""Of Lloyd's algorithm."""
FAR = 1e6
"""Stands for a threshold that nothing reaches."""


def sizes_of(variance: np.ndarray, most: int, levels: int) -> tuple[int, ...]:
    """Numbers of levels whose product is at most `most`.

    Args:
        variance: float64[n], falling.
        most: tokens.
        levels: of a number, at most.

    Returns:
        Numbers of 2 or more, of the first components.
    """
    size = np.ones(len(variance), int)

    def error(n: np.ndarray) -> np.ndarray:
        # About that of a Laplacian at its n best levels.
        return variance * n ** -(1.0 + 0.13 * np.log2(n))

    while True:
        worth = (error(size) - error(size + 1)) / np.log2(1.0 + 1.0 / size)
        room = (size.prod() // size * (size + 1) <= most) & (size < levels)
        if not room.any():
            return tuple(int(n) for n in size if n > 1)
        size[np.argmax(np.where(room, worth, -1.0))] += 1


def fit_levels(values: np.ndarray, count: int) -> np.ndarray:
    """The levels of least squared error, float64[count], rising."""
    values = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    levels = np.quantile(values, (np.arange(count) + 0.5) / count)
    for _ in range(ROUNDS):
        edges = np.searchsorted(values, (levels[1:] + levels[:-1]) / 2)
        edges = np.concatenate([[0], edges, [len(values)]])
        number = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(number, 1)
        levels = np.sort(np.where(number > 0, means, levels))
    return levels


def codes_of(levels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Every token's numbers, and the thresholds between levels.

    Args:
        levels: of each number; the first one's place counts least in a token.

    Returns:
        float32[tokens n], and float32[n, most levels - 1], filled up with a threshold
        that nothing reaches.
    """
    grid = np.meshgrid(*levels[::-1], indexing="ij")
    codes = np.stack([part.ravel() for part in grid[::-1]], 1)
    widest = max(map(len, levels)) - 1
    thresholds = np.full((len(levels), widest), FAR)
    for row, own in zip(thresholds, levels, strict=True):
        row[: len(own) - 1] = (own[1:] + own[:-1]) / 2
    return codes.astype(np.float32), thresholds.astype(np.float32)
