"""Rectangles of a picture. No JAX."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from codax.errors import ConfigError

__all__ = ["Region"]

ALIGNED = 64
"""Pixels: the coarsest grid of latents has a cell for as many."""
CELL = 16


@dataclass(frozen=True)
class Region:
    """A rectangle of the samples as they are coded, before any orientation.

    Attributes:
        left: its first column.
        top: its first row.
        width: columns, at least 1.
        height: rows, at least 1.
    """

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of_box(cls, box: Any) -> Region | None:
        """The region of four whole numbers: left, top, width, height; None of None.

        Raises:
            ConfigError: something else.
        """
        if box is None:
            return None
        try:
            left, top, width, height = (operator.index(value) for value in box)
        except (TypeError, ValueError):
            raise ConfigError(
                f"region is {box!r}; expected whole numbers: left, top, width, height"
            ) from None
        return cls(left, top, width, height)

    def check(self, height: int, width: int) -> None:
        """Checks that it lies in a picture.

        Raises:
            ConfigError: it does not, or is empty.
        """
        inside = (
            min(self.left, self.top) >= 0
            and min(self.width, self.height) >= 1
            and self.left + self.width <= width
            and self.top + self.height <= height
        )
        if not inside:
            raise ConfigError(
                f"region is {self}; expected a part of the picture of {width}x{height}"
            )

    def __str__(self) -> str:
        """As the command line takes it."""
        return f"{self.left},{self.top},{self.width},{self.height}"

    def around(self, height: int, width: int, halo: int) -> Region:
        """The part of a picture that its samples come from, on the grid of latents.

        Args:
            height: of the picture.
            width: likewise.
            halo: how far the synthesis looks, in cells of 16 pixels.
        """
        low = [
            max(0, at - halo * CELL) // ALIGNED * ALIGNED
            for at in (self.top, self.left)
        ]
        ends = (self.top + self.height, self.left + self.width)
        high = [
            min(side, -(-(end + halo * CELL) // ALIGNED) * ALIGNED)
            for end, side in zip(ends, (height, width), strict=True)
        ]
        return Region(low[1], low[0], high[1] - low[1], high[0] - low[0])

    def within(self, other: Region) -> Region:
        """The same rectangle, seen from the corner of another."""
        left, top = self.left - other.left, self.top - other.top
        return Region(left, top, self.width, self.height)

    def of(self, whole: np.ndarray, side: float = 1.0) -> np.ndarray:
        """Its part of an array [H W ...] with a cell for `side` pixels each way."""
        low = int(self.top / side), int(self.left / side)
        ends = self.top + self.height, self.left + self.width
        high = [int(-(-end // side)) for end in ends]
        return whole[low[0] : high[0], low[1] : high[1]]
