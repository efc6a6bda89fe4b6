"""Dependent quantisation: two interleaved quantisers and a trellis. No JAX.

Residuals lie on the grid of one of two quantisers, in units of a step of its own:

    quantiser 0:  ... -4    -2     0     2     4 ...      2 k
    quantiser 1:  ...   -3    -1   0   1     3   ...      2 k - sign(k)

Which of them is a matter of the symbols before: a machine of eight states runs along
the channels of a position, from state 0 at each coding step; odd states have quantiser
1, and a symbol's parity chooses the next state. An encoder looks for the cheapest path
of all, in bits and squared error: together the points lie denser than those that one
symbol chooses from. Its tables are chosen by scale and quantiser, so that a decoder
goes channel by channel.

The path search is written once, for NumPy (files) and JAX (`codax.coding.rate`).

Source: Schwarz et al. 2019, "Hybrid video coding with trellis-coded quantization" (the
two quantisers, as in VVC); Fischer and Wang 1992, Marcellin and Fischer 1990 (trellis
codes, with and without entropy coding). The machine of eight states is that of ECM; the
tables are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from codax.entropy.coder import TableSet
from codax.entropy.tables import SCALE_COUNT, pack_tables, stored_tables
from codax.entropy.units import LATENT_LIMIT
from codax.errors import ModelError
from codax.transforms.arrays import Array, array_module
from codax.transforms.threads import side_by_side

__all__ = ["NEXT", "Trellis", "points"]

NEXT = np.array(((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)))
"""The state after a state and a symbol's parity; odd states have quantiser 1."""
TABLES = 2 * SCALE_COUNT
NAME, SETTINGS = "trellis", "tables/trellis/settings"
"""Of the tables among the weights, and of what goes with them."""
BEST = 200
"""The highest quality, in half steps."""
STEPS = (4, 64)
"""The least and the largest step, in sixteenths of a latent step."""
BLOCK = 2048
"""Positions whose paths are searched together: what a cache holds."""

_INTO = np.array([np.argwhere(NEXT == state) for state in range(len(NEXT))])
FROM = _INTO[:, :, 0]
"""The two states that lead to a state."""
SUBSET = 2 * (FROM % 2) + _INTO[:, :, 1]
"""The points on the way: 2 * quantiser + parity."""


def points(symbols: Array, quantiser: Any) -> Array:
    """Where symbols lie, in steps: integers like the symbols.

    Args:
        symbols: integers.
        quantiser: 0 or 1, a number or an array of them.
    """
    return 2 * symbols - quantiser * array_module(symbols).sign(symbols)


@dataclass(frozen=True, kw_only=True)
class Trellis:
    """The tables of dependent quantisation, and how an encoder uses it.

    Attributes:
        tables: 128, number `64 * quantiser + scale`, symmetric.
        step: of the points, in sixteenths of a latent step.
        start: the quality in half steps from which an encoder uses it.
        shift: by how many half steps a file's networks are told a higher quality there,
            see `told`.
        weight: what an encoder pays for a squared error of a latent step, in sixteenths
            of a bit.
    """

    tables: TableSet
    step: int
    start: int
    shift: int
    weight: int

    @classmethod
    def load(cls, packed: Mapping[str, np.ndarray]) -> Trellis | None:
        """The trellis among stored arrays, or None where there is none.

        Raises:
            ModelError: its tables or its settings break the rules.
        """
        return cls.read(packed) if SETTINGS in packed else None

    @classmethod
    def read(cls, packed: Mapping[str, np.ndarray]) -> Trellis:
        """The trellis among stored arrays; raises as `load`, also if there is none."""
        if SETTINGS not in packed:
            raise ModelError("weights: no tables of dependent quantisation")
        settings, parts = packed[SETTINGS], stored_tables(packed, NAME)
        if settings.shape != (4,) or len(parts) != TABLES:
            raise ModelError(
                f"weights: trellis of {len(parts)} tables and {settings.size} "
                f"settings, expected {TABLES} and 4"
            )
        step, start, shift, weight = settings.tolist()
        reaches = 0 <= shift <= BEST - start <= BEST
        if not STEPS[0] <= step <= STEPS[1] or not reaches:
            raise ModelError(
                f"weights: trellis of step {step}, quality {start} and {shift} half "
                f"steps; expected {STEPS[0]} to {STEPS[1]}, and 0 to {BEST} together"
            )
        tables = TableSet.symmetric(parts)
        return cls(tables=tables, step=step, start=start, shift=shift, weight=weight)

    @staticmethod
    def pack(
        halves: list[np.ndarray], *, step: int, start: int, shift: int, weight: int
    ) -> dict[str, np.ndarray]:
        """What `read` reads.

        Args:
            halves: of the 128 tables, the frequencies of 0, 1, ..., and the escape's.
            step: see the class.
            start: likewise.
            shift: likewise.
            weight: likewise.
        """
        settings = np.array([step, start, shift, weight], np.int32)
        return pack_tables(NAME, halves) | {SETTINGS: settings}

    def told(self, quality: Any) -> Any:
        """The quality that networks are told in a file that is quantised dependently.

        The points are coarser than plain ones, which is better at more bits, so that
        at its start this would be a step back in quality. Networks are told a higher
        one, by `shift` at the start and by nothing at the highest.

        Args:
            quality: of the file, half steps 0..200, a number or an array.
        """
        above = quality - self.start
        rest = BEST - self.start
        return quality + (above >= 0) * (self.shift * (rest - above) // max(rest, 1))

    def walk(
        self, scales: np.ndarray, symbols_at: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Goes along the channels, as a decoder must.

        Args:
            scales: integers[k n], the scale of each symbol, by channel and position.
            symbols_at: gives the symbols int32[n] of the next channel, by the numbers
                of their tables.

        Returns:
            Symbols int32[k n], and the numbers of their tables, uint8[k n].
        """
        symbols = np.empty(scales.shape, np.int32)
        index = np.empty(scales.shape, np.uint8)
        state = np.zeros(scales.shape[1], np.intp)
        for channel, own in enumerate(scales):
            index[channel] = own + SCALE_COUNT * (state & 1)
            symbols[channel] = symbols_at(index[channel])
            state = NEXT[state, symbols[channel] & 1]
        return symbols, index

    def kept(self, symbols: Array, index: Array, mean: Array) -> Array:
        """What a decoder keeps: latents in sixteenths, whatever a damaged file gave.

        Args:
            symbols: int32.
            index: of their tables, integers of the same shape.
            mean: the same shape, in sixteenths of a latent step.
        """
        xp = array_module(symbols)
        residual = points(symbols, (index // SCALE_COUNT).astype(np.int32)) * self.step
        return xp.clip(residual + mean, -LATENT_LIMIT, LATENT_LIMIT)

    @cached_property
    def _bits(self) -> np.ndarray:
        """Bits of symbols by size and table, float32 in a row; 128 for each size.

        Sizes go as far as the latents, see `search`.
        """
        sizes = np.arange(LATENT_LIMIT // self.step + 4, dtype=np.int32)
        grid = np.meshgrid(sizes, np.arange(TABLES), indexing="ij")
        return self.tables.bits(*(axis.ravel() for axis in grid)).astype(np.float32)

    def bits(self, symbols: Array, index: Array) -> Array:
        """What symbols that were searched for cost, float32 bits.

        Args:
            symbols: int32.
            index: of their tables, int32 of the same shape.
        """
        table = array_module(symbols).asarray(self._bits)
        return table[abs(symbols) * TABLES + index]

    def choose(
        self, value: np.ndarray, mean: np.ndarray, scales: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What `search` finds, for NumPy and any number of positions."""
        starts = range(0, max(value.shape[1], 1), BLOCK)
        parts = [np.s_[:, at : at + BLOCK] for at in starts]
        arrays = (value, mean, scales)
        _ = self._bits  # Made once.

        def find(part: Any) -> tuple[np.ndarray, np.ndarray]:
            return self.search(*(a[part] for a in arrays), scan=_scan)

        symbols, index = zip(*side_by_side(find, parts), strict=True)
        return np.concatenate(symbols, 1), np.concatenate(index, 1)

    def search(
        self, value: Array, mean: Array, scales: Array, *, scan: Callable[..., Any]
    ) -> tuple[Array, Array]:
        """Finds the cheapest paths of positions, in bits and squared error.

        Args:
            value: float32[k n], latents in steps, by channel and position.
            mean: [k n], in sixteenths.
            scales: [k n].
            scan: `jax.lax.scan`, or what does the same.

        Returns:
            Symbols and the numbers of their tables, int32[k n].
        """
        xp = array_module(value)
        # Beyond what a decoder can hold nothing is worth its bits.
        held = xp.clip(value * 16.0, -LATENT_LIMIT, LATENT_LIMIT)
        residual = (held - mean.astype(np.float32)) / np.float32(self.step)
        scales = scales.astype(np.int32)
        symbols, costs = self._branches(abs(residual), scales)
        places = xp.arange(value.shape[1])
        origin, subset = xp.asarray(FROM), xp.asarray(SUBSET)

        def forward(cost, row):
            first = cost[FROM[:, 0]] + row[SUBSET[:, 0]]
            second = cost[FROM[:, 1]] + row[SUBSET[:, 1]]
            return xp.minimum(first, second), second < first

        def backward(state, row):
            choice, symbols = (part.reshape(-1) for part in row)
            taken = choice[state * places.size + places].astype(np.int32)
            own = subset[state, taken]
            return origin[state, taken], (symbols[own * places.size + places], own // 2)

        start = np.full((len(NEXT), places.size), np.inf, np.float32)
        start[0] = 0.0
        cost, choices = scan(forward, xp.asarray(start), costs)
        rows = (choices, symbols)
        found = scan(backward, xp.argmin(cost, 0), rows, reverse=True)[1]
        symbols, quantiser = (part.astype(np.int32) for part in found)
        return xp.where(
            residual < 0, -symbols, symbols
        ), scales + SCALE_COUNT * quantiser

    def _branches(self, size: Array, scales: Array) -> tuple[Array, Array]:
        """The best symbol of each subset for residuals of a size, in steps.

        Returns:
            Symbols int32[k 4 n], and what they cost, float32[k 4 n], bits and error;
            subset `2 * quantiser + parity`.
        """
        xp = array_module(size)
        price = np.float32(self.weight / 16 * (self.step / 16) ** 2)

        def cost(symbol, quantiser):
            error = size - points(symbol, quantiser).astype(np.float32)
            bits = self.bits(symbol, scales + SCALE_COUNT * quantiser)
            return bits + price * (error * error)

        symbols, costs = [], []
        for quantiser in (0, 1):
            below = xp.floor((size + quantiser) * 0.5).astype(np.int32)
            for parity in (0, 1):
                # The two neighbours of this parity; that below may be -1.
                near = below - ((below ^ parity) & 1)
                first, second = cost(near, quantiser), cost(near + 2, quantiser)
                symbols.append(xp.where(second < first, near + 2, near))
                costs.append(xp.minimum(first, second))
        return xp.stack(symbols, 1), xp.stack(costs, 1)


def _scan(step, carry, rows, reverse=False):
    """`jax.lax.scan` for NumPy."""
    every = rows if isinstance(rows, tuple) else (rows,)
    count = every[0].shape[0]
    found: list[Any] = [None] * count
    for at in reversed(range(count)) if reverse else range(count):
        row = tuple(part[at] for part in every)
        carry, found[at] = step(carry, row if isinstance(rows, tuple) else row[0])
    if isinstance(found[0], tuple):
        return carry, tuple(np.stack(part) for part in zip(*found, strict=True))
    return carry, np.stack(found)
