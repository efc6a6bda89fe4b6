"""Masks: which latents a step of a coding order codes, as data. No JAX.

A mask says for each place in a cell of 2x2 positions, (0,0), (0,1), (1,0), (1,1), which
channels are coded there; all places code equally many, or none. So it covers slices of
channels, checkerboards, quarters that change places, and groups of positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from codax.errors import ModelError
from codax.transforms.arrays import Array, array_module

__all__ = ["Mask", "channels", "checkerboard"]


@dataclass(frozen=True)
class Mask:
    """The channels that each place of a 2x2 cell codes.

    Attributes:
        places: four tuples of rising channels; of equal length, but for empty ones.

    Raises:
        ModelError: other places than that.
    """

    places: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Checks the places."""
        widths = {len(place) for place in self.places if place}
        rising = all(a < b for place in self.places for a, b in pairwise(place))
        if len(self.places) != 4 or len(widths) != 1 or not rising:
            raise ModelError(
                "mask: expected four places with equally many rising channels, or none"
            )

    # How many symbols, and where.

    @cached_property
    def width(self) -> int:
        """Symbols at each position that is coded."""
        return max(map(len, self.places))

    def coded(self, latents: int) -> np.ndarray:
        """What is coded in a cell of so many channels, bool[2 2 C]."""
        found = np.zeros((4, latents), bool)
        for place, own in zip(found, self.places, strict=True):
            place[list(own)] = True
        return found.reshape(2, 2, latents)

    def where(self, rows: int, columns: int) -> np.ndarray | None:
        """The positions that are coded, bool[rows columns]; None for all."""
        if all(self.places):
            return None
        cell = np.array([bool(place) for place in self.places]).reshape(2, 2)
        repeats = (-(-rows // 2), -(-columns // 2))
        return np.tile(cell, repeats)[:rows, :columns]

    # Between whole arrays and the symbols of a step, NumPy or JAX.

    def take(self, whole: Array) -> Array:
        """Picks what is coded: [N h w C] -> [N h w width]."""
        same = self._same
        if same is not None:
            return whole[..., same]
        xp = array_module(whole)
        n, h, w, _ = whole.shape
        low, high, blocks = self._blocks
        cells = whole[..., low:high]
        cells = cells.reshape(n, h // 2, 2, w // 2, 2, -1, self.width)
        rows = [
            xp.stack([cells[:, :, i, :, j, blocks[2 * i + j]] for j in (0, 1)], 3)
            for i in (0, 1)
        ]
        return xp.stack(rows, 2).reshape(n, h, w, self.width)

    def put(self, known: Array, values: Array) -> Array:
        """Writes values [N h w width] into the array known so far."""
        same = self._same
        _, h, w, c = known.shape
        xp = array_module(known)
        if same is not None:
            where = self.where(h, w)
            if where is not None:
                values = xp.where(where[..., None], values, known[..., same])
            if isinstance(same, slice):
                parts = [known[..., : same.start], values, known[..., same.stop :]]
                return xp.concatenate(parts, -1)
            if xp is not np:
                return known.at[..., same].set(values)
            known = known.copy()
            known[..., same] = values
            return known
        low, high, blocks = self._blocks
        inner = known[..., low:high]
        parts = inner.reshape(*inner.shape[:-1], -1, self.width)
        cell = np.zeros((2, 2, parts.shape[-2]), bool)
        for place, block in enumerate(blocks):
            cell[place // 2, place % 2, block] = True
        mask = np.tile(cell, (h // 2, w // 2, 1))[..., None]
        inner = xp.where(mask, values[..., None, :], parts).reshape(inner.shape)
        if high - low == c:
            return inner
        return xp.concatenate([known[..., :low], inner, known[..., high:]], -1)

    def write(
        self, whole: np.ndarray, values: np.ndarray, where: np.ndarray | None
    ) -> None:
        """Writes values into an array of NumPy, in place.

        Args:
            whole: [1 h w C].
            values: [rows columns width]; or [n width], at some positions row by row.
            where: bool[rows columns], these positions; None for all.
        """
        same = self._same
        # First row, first column and distance, and the channels there.
        parts: list[Any] = [(0, 0, 1, same)]
        if same is None:
            low, _, blocks = self._blocks
            begins = [low + block * self.width for block in blocks]
            parts = [
                (place // 2, place % 2, 2, slice(begin, begin + self.width))
                for place, begin in enumerate(begins)
            ]
        if where is None:
            rows, columns, _ = values.shape
            for i, j, step, channels in parts:
                own = values[i::step, j::step]
                whole[0][i:rows:step, j:columns:step, channels] = own
            return
        rows, columns = np.nonzero(where)
        for i, j, step, channels in parts:
            here = (rows % step == i) & (columns % step == j)
            picked = np.arange(whole.shape[-1])[channels]
            target = rows[here, None], columns[here, None], picked
            whole[0][target] = values[here]

    @cached_property
    def _same(self) -> Any:
        """The channels, where all places that code anything code the same ones."""
        own = {place for place in self.places if place}
        if len(own) > 1:
            return None
        picked = own.pop()
        if picked[-1] - picked[0] == len(picked) - 1:
            return slice(picked[0], picked[-1] + 1)
        return np.asarray(picked)

    @cached_property
    def _blocks(self) -> tuple[int, int, list[int]]:
        """The range of channels, and which of its blocks of `width` each place codes.

        Raises:
            ModelError: places that code no such blocks.
        """
        firsts = [min(place, default=0) for place in self.places]
        low, high = min(firsts), max(firsts) + self.width
        runs = all(
            place == tuple(range(first, first + self.width))
            for place, first in zip(self.places, firsts, strict=True)
        )
        if not runs or any((first - low) % self.width for first in firsts):
            raise ModelError(
                "mask: places that differ must each code one block of channels, all "
                "of one width and side by side"
            )
        return low, high, [(first - low) // self.width for first in firsts]

    # As JSON.

    def describe(self) -> list[list[list[int]]]:
        """For each place the channels as runs, [begin, end] each."""
        return [_runs(place) for place in self.places]

    @classmethod
    def read(cls, described: Sequence[Sequence[Sequence[int]]]) -> Mask:
        """The mask that `describe` described."""
        return cls(
            tuple(
                tuple(c for begin, end in runs for c in range(begin, end))
                for runs in described
            )
        )


def _runs(place: tuple[int, ...]) -> list[list[int]]:
    runs: list[list[int]] = []
    for channel in place:
        if runs and runs[-1][1] == channel:
            runs[-1][1] += 1
        else:
            runs.append([channel, channel + 1])
    return runs


def channels(picked: Iterable[int], places: Sequence[int] = (0, 1, 2, 3)) -> Mask:
    """The same channels everywhere, or at some places of each 2x2 cell only."""
    own = tuple(picked)
    return Mask(tuple(own if place in places else () for place in range(4)))


def checkerboard(black: Iterable[int], white: Iterable[int]) -> Mask:
    """Channels of the black fields of a checkerboard and of the white ones.

    The field in the corner is black.
    """
    one, two = tuple(black), tuple(white)
    return Mask((one, two, two, one))
