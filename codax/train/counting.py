"""Tables counted on pictures, for weights that exist: nothing is trained.

Those of plain residuals, and those of dependent quantisation. The first tables of the
latter are the densities of training, integrated over the points' cells; then pictures
are coded again and again, and their symbols counted. Scales that are rare borrow from
their neighbours and from the tables before.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from math import ceil

import numpy as np

from codax.coding.samples import SampleCoder
from codax.entropy.coder import TableSet
from codax.entropy.sources import ResidualSymbols
from codax.entropy.tables import (
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    SCALE_COUNT,
    TABLE_TOTAL,
    gaussian_cells,
    integer_table,
    pack_tables,
)
from codax.entropy.trellis import TABLES, Trellis, points
from codax.errors import ConfigError

__all__ = [
    "ROUNDS",
    "SHIFT",
    "START",
    "STEP",
    "WEIGHT",
    "first_tables",
    "fit_scales",
    "fit_trellis",
]

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
    _residuals(coder, pictures)
    first = [_masses(index, step) for index in range(TABLES)]
    halves = [_table(masses) for masses in first]
    for _ in range(rounds):
        # Counted at all the qualities that are asked for, wherever it starts.
        packed = Trellis.pack(halves, step=step, start=0, shift=0, weight=weight)
        coder.trellis = trellis = Trellis.read(packed)
        counter = _Counter(trellis.tables)
        for rgb in pictures:
            for quality in qualities:
                coder.feed(rgb, quality, [counter], passes=1)
        halves = counter.halves(first)
    packed = Trellis.pack(halves, step=step, start=start, shift=shift, weight=weight)
    coder.trellis = Trellis.load(packed)
    return packed


def fit_scales(
    coder: SampleCoder, pictures: Sequence[np.ndarray], *, qualities: Sequence[int]
) -> dict[str, np.ndarray]:
    """Counts the tables of plain residuals for weights that exist.

    Args:
        coder: with the weights.
        pictures: uint8[H W 3].
        qualities: half steps, at which to count.

    Returns:
        Arrays to be stored in place of those that the weights have.

    Raises:
        ConfigError: weights without residuals, or no pictures.
    """
    target = _residuals(coder, pictures)
    tables = coder.tables(0)[target]
    counter = _Counter(tables)
    plain = copy(coder)
    plain.trellis = None
    for rgb in pictures:
        for quality in qualities:
            plain.feed(rgb, quality, [counter], passes=1)
    first = [f[f.size // 2 - 1 : -1] / TABLE_TOTAL for f in tables.frequencies]
    return pack_tables(ResidualSymbols.tables, counter.halves(first))


def _residuals(coder: SampleCoder, pictures: Sequence[np.ndarray]) -> str:
    """The target whose residuals can be counted."""
    sources = coder.order.sources.items()
    found = [name for name, own in sources if isinstance(own, ResidualSymbols)]
    if not found:
        raise ConfigError(f"{coder.name} codes no residuals whose tables could be made")
    if not pictures:
        raise ConfigError("no pictures to count on")
    return found[0]


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
    """A sink that counts the sizes of symbols, by table of one set."""

    def __init__(self, tables: TableSet):
        self.tables = tables
        self.counts = np.zeros((tables.count.size, int(tables.count.max()) // 2 + 2))

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Counts a step of the set; others are of no interest."""
        if tables is self.tables:
            width = self.counts.shape[1]
            size = np.minimum(np.abs(symbols), width - 1)
            place = index.astype(np.int64) * width + size
            found = np.bincount(place.ravel(), minlength=self.counts.size)
            self.counts += found.reshape(self.counts.shape)

    def halves(self, first: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Halves of tables from the counts and from masses before any."""
        by_scale = self.counts.reshape(-1, SCALE_COUNT, self.counts.shape[1])
        counts = by_scale.copy()
        counts[:, 1:] += NEIGHBOURS * by_scale[:, :-1]
        counts[:, :-1] += NEIGHBOURS * by_scale[:, 1:]
        found = []
        for own, masses in zip(counts.reshape(self.counts.shape), first, strict=True):
            # Both signs of a size but 0 share its count.
            both = np.append(1.0, np.full(masses.size - 1, 2.0))
            mixed = own[: masses.size] / both + PRIOR * masses
            found.append(_table(mixed / (own.sum() + PRIOR)))
        return found
