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


def pays(value: Array, kept: Array, bits: Mapping[str, Array]) -> Array:
    """Which cells are worth coding, bool[N h w].

    Args:
        value: float32[N h w 768], coefficients in steps.
        kept: the same shape, as they would be decoded.
        bits: by step of the layer, [N h w], what they and a flag of 1 would cost.
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

    def analyse(self, rgb: np.ndarray, base: np.ndarray, quality: int) -> np.ndarray:
        """Coefficients of an error, float32[1 h w 768] in steps.

        Args:
            rgb: uint8[H W 3].
            base: the same shape, what is decoded without the layer.
            quality: half steps 0..200, as networks are told.
        """
        missing = [(0, -side % CELL) for side in rgb.shape[:2]]
        error = np.pad(rgb.astype(np.float32) - base, (*missing, (0, 0)))
        return space_to_depth(error[None], CELL) @ (self.matrix / self.steps[quality])

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
        height, width = base.shape[:2]
        own = latents[ERRORS][rows, columns].astype(np.float32)
        found = np.zeros((1, *latents[ERRORS].shape), np.float32)
        found[0, rows, columns] = own @ (self.matrix.T * (self.steps[quality] / 16.0))
        error = depth_to_space(found, CELL)[0, :height, :width]
        return np.clip(np.round(base + error), 0, 255).astype(np.uint8)

    @staticmethod
    def candidates(value: np.ndarray) -> np.ndarray:
        """Cells that may be worth their bits, float32[1 h w 1] of 0 and 1."""
        worth = np.maximum(SLOPE * value**2 - EACH, 0.0).sum(-1, keepdims=True)
        return (worth > LEAST).astype(np.float32)
