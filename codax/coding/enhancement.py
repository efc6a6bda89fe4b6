"""The enhancement layer: a transform coder of the error that a codec leaves. No JAX.

A lossy codec's decoder gives a picture, whatever was lost. Behind it the *error* of
that picture is coded, too, by a linear transform of full rank, in the cells of 16x16
pixels where that is worth its bits:

    x - x_hat -> blocks of 16x16x3 -> orthonormal transform -> / step(q) -> e

So any picture can be coded to any quality, also what the codec's own transform
cannot hold. At low qualities nearly no cell has it. The flags and the coefficients are
coded by steps of `stage` 1 of the coding order, from what a decoder knows by then.

Source: quality scalability as in SHVC (Boyce et al. 2016), where the error of a base
layer is coded; the choice by cell and the learned prior are this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codax.coding.order import CELL
from codax.errors import ModelError
from codax.transforms.arrays import (
    Array,
    array_module,
    depth_to_space,
    space_to_depth,
)
from codax.transforms.threads import side_by_side

__all__ = ["COEFFICIENTS", "ERRORS", "FLAGS", "Enhancement", "pays"]

ERRORS, FLAGS = "e", "flag"
"""The arrays of the coding order: coefficients in sixteenths of a step, and 1 in cells
that have any."""
COEFFICIENTS = 3 * CELL * CELL
MATRIX, STEPS = "g_e/klt", "g_e/step"
"""Of what is stored with the weights."""
SLOPE = 6.0 / np.log(2.0)
"""Bits that a squared step of error is worth: lambda / 3 times the step squared."""
LEAST_FLAG = 1e-3
"""Bits that a flag costs at least when it is weighed against its opposite."""
LEAST, EACH = 8.0, 2.0
"""Bits that a cell and each of its coefficients cost at least, about: what gains less
is not worth looking at."""


STRIP = 16
"""Rows of cells whose errors are looked at together: a part of a large picture."""


def strips(rows: int) -> list[slice]:
    """Rows of cells in strips from the top."""
    return [slice(at, min(at + STRIP, rows)) for at in range(0, rows, STRIP)]


def pays(value: Array, kept: Array, bits: Mapping[str, Array]) -> Array:
    """Which cells are worth coding, bool[...].

    Args:
        value: float32[... 768], coefficients in steps.
        kept: the same shape, as they would be decoded.
        bits: by step of the layer, [...], what they and a flag of 1 would cost.
    """
    xp = array_module(value)
    silent = -xp.log2(1.0 - 2.0 ** -xp.maximum(bits[FLAGS], LEAST_FLAG))
    gain = SLOPE * ((value**2).sum(-1) - ((value - kept) ** 2).sum(-1))
    return gain > sum(bits.values()) - silent


@dataclass(frozen=True)
class Enhancement:
    """The transform of an enhancement layer.

    Attributes:
        matrix: float32[768 768], orthonormal columns by falling variance; rows are a
            block's pixels (row, column, channel).
        steps: float32[201], the step of the quantiser in pixel levels, by quality in
            half steps.
    """

    matrix: np.ndarray
    steps: np.ndarray

    @classmethod
    def load(cls, packed: Mapping[str, np.ndarray]) -> Enhancement | None:
        """The layer among stored arrays, or None where there is none.

        Raises:
            ModelError: its arrays have other shapes.
        """
        if MATRIX not in packed:
            return None
        matrix, steps = packed[MATRIX], packed.get(STEPS, np.zeros(0))
        expected = (COEFFICIENTS, COEFFICIENTS), (201,)
        if (matrix.shape, steps.shape) != expected:
            raise ModelError(
                f"weights: enhancement of {list(matrix.shape)} and "
                f"{list(steps.shape)}, expected {list(expected[0])} and [201]"
            )
        return cls(matrix.astype(np.float32), steps.astype(np.float32))

    def analyse(
        self, rgb: np.ndarray, base: np.ndarray, quality: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The cells of an error that may be worth their bits.

        Args:
            rgb: uint8[H W 3].
            base: the same shape, what is decoded without the layer.
            quality: half steps 0..200, as networks are told.

        Returns:
            Which they are, bool[h w], and their coefficients, float32[n 768] in steps.
        """
        matrix = self.matrix / self.steps[quality]

        def find(rows: slice) -> tuple[np.ndarray, np.ndarray]:
            pixels = slice(CELL * rows.start, CELL * rows.stop)
            error = rgb[pixels].astype(np.float32) - base[pixels]
            missing = [(0, -side % CELL) for side in error.shape[:2]]
            error = np.pad(error, (*missing, (0, 0)))
            value = space_to_depth(error[None], CELL)[0] @ matrix
            worth = np.maximum(SLOPE * value**2 - EACH, 0.0).sum(-1)
            return worth > LEAST, value[worth > LEAST]

        every = side_by_side(find, strips(-(-len(rgb) // CELL)))
        where, found = zip(*every, strict=True)
        return np.concatenate(where), np.concatenate(found)

    def synthesise(
        self, base: np.ndarray, latents: Mapping[str, Any], quality: int
    ) -> np.ndarray:
        """The picture with the layer, uint8[H W 3].

        Args:
            base: uint8[H W 3], what is decoded without it.
            latents: `e` int32[h w 768] in sixteenths of a step, `flag` [h w 1].
            quality: half steps 0..200, as networks are told.
        """
        rows, columns = np.nonzero(latents[FLAGS][..., 0])
        if not rows.size:
            return base
        matrix = self.matrix.T * (self.steps[quality] / 16.0)
        picture = base.copy()
        for strip in strips(len(latents[FLAGS])):
            own = (rows >= strip.start) & (rows < strip.stop)
            places = rows[own] - strip.start, columns[own]
            values = latents[ERRORS][strip][places].astype(np.float32)
            found = np.zeros((1, *latents[ERRORS][strip].shape), np.float32)
            found[0][places] = values @ matrix
            part = picture[CELL * strip.start : CELL * strip.stop]
            error = depth_to_space(found, CELL)[0, : part.shape[0], : part.shape[1]]
            part[:] = np.clip(np.round(part + error), 0, 255)
        return picture
