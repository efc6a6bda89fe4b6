"""Tables of dependent quantisation, counted on pictures: nothing is trained.

The first tables are the densities of training, integrated over the points' cells; then
pictures are coded again and again, and their symbols counted. Scales that are rare
borrow from their neighbours and from the first tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from codax.coding.samples import SampleCoder
from codax.entropy.sources import ResidualSymbols
from codax.entropy.tables import (
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    SCALE_COUNT,
    gaussian_cells,
    integer_table,
)
from codax.entropy.trellis import TABLES, Trellis, points
from codax.errors import ConfigError

__all__ = ["ROUNDS", "SHIFT", "START", "STEP", "WEIGHT", "first_tables", "fit_trellis"]

STEP, WEIGHT, START, SHIFT = 12, 288, 92, 11
"""What did best on held-out pictures, see docs/training.md; of `Trellis`."""
ROUNDS = 3
REACH = 255
"""Largest symbol of a table; what lies beyond is an escape."""
TAIL_SIGMAS = 8.0
SHAPE = (0.15, 2.5)
"""Weight and spread of the first tables' wider Gaussian."""
PRIOR, NEIGHBOURS = 30.0, 0.05
"""Counts that the first tables are worth, and the share of both neighbouring scales."""


def fit_trellis(
    coder: SampleCoder,
    pictures: Sequence[np.ndarray],
    *,
    qualities: Sequence[int],
    start: int,
    shift: int = SHIFT,
    step: int = STEP,
    weight: int = WEIGHT,
    rounds: int = ROUNDS,
) -> dict[str, np.ndarray]:
    """Counts the tables of dependent quantisation for weights that exist.

    Args:
        coder: with the weights; it has the last tables afterwards.
        pictures: uint8[H W 3].
        qualities: half steps that networks are told, at which to count.
        start: the quality in half steps from which encoders shall use it.
        shift: see `Trellis`.
        step: of the points, in sixteenths of a latent step.
        weight: of squared errors, in sixteenths of a bit for a latent step.
        rounds: how often to count; each time with the tables counted before.

    Returns:
        Arrays to be stored with the weights, see `Trellis.pack`.

    Raises:
        ConfigError: weights without residuals, or no pictures.
    """
    if not any(isinstance(s, ResidualSymbols) for s in coder.order.sources.values()):
        raise ConfigError(f"{coder.name} codes no residuals that could be quantised so")
    if not pictures:
        raise ConfigError("no pictures to count on")
    first = [_masses(index, step) for index in range(TABLES)]
    halves = [_table(masses) for masses in first]
    for _ in range(rounds):
        # Counted at all the qualities that are asked for, wherever it starts.
        packed = Trellis.pack(halves, step=step, start=0, shift=0, weight=weight)
        coder.trellis = Trellis.load(packed)
        counter = _Counter()
        for rgb in pictures:
            for quality in qualities:
                coder.feed(rgb, quality, [counter])
        halves = counter.tables(first)
    packed = Trellis.pack(halves, step=step, start=start, shift=shift, weight=weight)
    coder.trellis = Trellis.load(packed)
    return packed


def first_tables(
    *, start: int, shift: int = SHIFT, step: int = STEP, weight: int = WEIGHT
) -> dict[str, np.ndarray]:
    """The tables before anything was counted; arguments are those of `fit_trellis`."""
    halves = [_table(_masses(index, step)) for index in range(TABLES)]
    return Trellis.pack(halves, step=step, start=start, shift=shift, weight=weight)


def _masses(index: int, step: int) -> np.ndarray:
    """Masses of the symbols 0, 1, ... of a table before anything was counted."""
    quantiser, scale = divmod(index, SCALE_COUNT)
    sigma = float(np.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * scale))
    width = step / 16
    half = min(REACH, ceil(TAIL_SIGMAS * sigma * SHAPE[1] / (2 * width)) + 1)
    places = points(np.arange(half + 2), quantiser) * width
    edges = (places[1:] + places[:-1]) / 2
    return gaussian_cells(np.append(-edges[0], edges), sigma, *SHAPE)


def _table(masses: np.ndarray) -> np.ndarray:
    """Half of the integer table of masses, the escape's last."""
    whole = np.concatenate([masses[:0:-1], masses])
    centre = masses.size - 1
    return integer_table(whole, rest=centre)[centre:]


class _Counter:
    """A sink that counts the sizes of symbols, by table."""

    def __init__(self) -> None:
        self.counts = np.zeros((TABLES, REACH + 2))

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: Any) -> None:
        """Counts a step that went in rounds; others are of no interest."""
        if symbols.ndim > 1:
            size = np.minimum(np.abs(symbols), REACH + 1)
            place = index.astype(np.int64) * (REACH + 2) + size
            found = np.bincount(place.ravel(), minlength=self.counts.size)
            self.counts += found.reshape(self.counts.shape)

    def tables(self, first: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Halves of tables from the counts and what was there before any."""
        counts = self.counts.reshape(2, SCALE_COUNT, -1).copy()
        counts[:, 1:] += NEIGHBOURS * self.counts.reshape(counts.shape)[:, :-1]
        counts[:, :-1] += NEIGHBOURS * self.counts.reshape(counts.shape)[:, 1:]
        halves = []
        for own, masses in zip(counts.reshape(TABLES, -1), first, strict=True):
            # Both signs of a size but 0 share its count.
            both = np.append(1.0, np.full(masses.size - 1, 2.0))
            mixed = own[: masses.size] + PRIOR * masses * both
            total = own.sum() + PRIOR
            halves.append(_table(mixed / both / total))
        return halves
