"""Densities that training learns, and that become tables at export.

See `codax.entropy.tables` for the tables themselves.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.entropy.tables import (
    ANCHOR_SPACING,
    ANCHORS,
    GRID_LOG_MIN,
    GRID_LOG_STEP,
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
)

__all__ = ["GridShape", "ScaleShape", "StaticDensity", "at_quality"]

GRID_FLOOR = 2.0**-32
"""About what an escape costs."""
BITS_FLOOR = 2.0**-40


def _single(value: Any) -> nnx.Param:
    """A parameter of a density: stored in full, since tables follow from it."""
    return nnx.Param(jnp.asarray(value, jnp.float32), stored="float32")


def at_quality(table: jax.Array, quality: jax.Array) -> jax.Array:
    """Interpolates rows of a table between quality anchors, linearly.

    With integer rows the result is a multiple of 1/16 and exact.

    Args:
        table: float32[14 ...], a row for each anchor.
        quality: int32[N], half steps 0..200.

    Returns:
        float32[N ...].
    """
    row = quality // ANCHOR_SPACING
    rest = (quality - row * ANCHOR_SPACING).astype(jnp.float32) / ANCHOR_SPACING
    rest = rest.reshape(rest.shape + (1,) * (table.ndim - 1))
    low, high = jnp.take(table, row, 0), jnp.take(table, row + 1, 0)
    return low * (1.0 - rest) + high * rest


def _phi(x):
    return 0.5 * jax.lax.erfc(-x * np.float32(np.sqrt(0.5)))


class ScaleShape(nnx.Module):
    """The common shape of the scale tables: (1 - w) N(0, s) + w N(0, r s)."""

    def __init__(self, weight: float = 0.15, spread: float = 2.5):
        """Starts at the given share and spread of the wider Gaussian."""
        self.weight = _single(np.log(weight / (1 - weight)))
        self.spread = _single(np.log(spread))

    def parameters(self) -> tuple[jax.Array, jax.Array]:
        """Returns w in 0..1 and r > 0."""
        return jax.nn.sigmoid(self.weight[...]), jnp.exp(self.spread[...])

    def floats(self) -> tuple[float, float]:
        """The weight and the spread, in float64 as tables are made of them."""
        logit = float(self.weight[...])
        return 1 / (1 + np.exp(-logit)), float(np.exp(np.asarray(self.spread[...])))

    def bits(self, residual: jax.Array, index: jax.Array) -> jax.Array:
        """Bits of residuals under the tables that the indices choose.

        Args:
            residual: float32, latent minus mean, in latent steps; noisy or integer.
            index: float32, same shape, 0..63 (integers with straight-through
                gradients).

        Returns:
            float32, same shape, bits.
        """
        weight, spread = self.parameters()
        scale = jnp.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * index)
        size = jnp.abs(residual)
        narrow = _phi((0.5 - size) / scale) - _phi((-0.5 - size) / scale)
        wide_scale = scale * spread
        wide = _phi((0.5 - size) / wide_scale) - _phi((-0.5 - size) / wide_scale)
        mass = (1.0 - weight) * narrow + weight * wide
        return -jnp.log2(jnp.maximum(mass, BITS_FLOOR))


class GridShape(nnx.Module):
    """The common shape of the grid tables: (1 - w) L(m, s) + w L(m, r s), logistics."""

    def __init__(self, weight: float = 0.1, spread: float = 2.5):
        """Starts at the given share and spread of the wider logistic."""
        self.weight = _single(np.log(weight / (1 - weight)))
        self.spread = _single(np.log(spread))

    def floats(self) -> tuple[float, float]:
        """The weight and the spread, in float64 as tables are made of them."""
        logit = float(self.weight[...])
        return 1 / (1 + np.exp(-logit)), float(np.exp(np.asarray(self.spread[...])))

    def bits(self, residual: jax.Array, index: jax.Array) -> jax.Array:
        """Bits of integers under the tables that the scales' indices choose.

        Args:
            residual: float32, integer less mean.
            index: float32, same shape, 0..31 (integers with straight-through
                gradients).

        Returns:
            float32, same shape, bits.
        """
        weight = jax.nn.sigmoid(self.weight[...])
        scale = jnp.exp(GRID_LOG_MIN + GRID_LOG_STEP * index)
        size = jnp.abs(residual)

        def mass(scale):
            low, high = (-0.5 - size) / scale, (0.5 - size) / scale
            return jax.nn.sigmoid(high) - jax.nn.sigmoid(low)

        wide = mass(scale * jnp.exp(self.spread[...]))
        mixed = (1.0 - weight) * mass(scale) + weight * wide
        return -jnp.log2(jnp.maximum(mixed, GRID_FLOOR))


class StaticDensity(nnx.Module):
    """A learned density per channel and quality anchor: mixture of three logistics."""

    def __init__(self, channels: int, scale: np.ndarray | float = 1.0):
        """Makes the densities.

        Args:
            channels: number of channels C.
            scale: initial standard deviation, a number or float32[14 C].
        """
        shape = (ANCHORS, channels, 3)
        self.logits = _single(np.zeros(shape))
        self.loc = _single(np.zeros(shape))
        self.log_scale = _single(np.zeros(shape))
        self.set_scale(np.broadcast_to(scale, shape[:2]))

    def set_scale(self, scale: np.ndarray) -> None:
        """Sets the components' scales for standard deviations float32[14 C]."""
        spread = np.array([-1.2, -0.4, 0.5])
        log_scale = np.log(scale)[..., None] - 0.6 + spread
        self.log_scale[...] = jnp.asarray(log_scale, jnp.float32)

    def bits(self, value: jax.Array, quality: jax.Array) -> jax.Array:
        """Bits of float32[N h w C] at int32[N] qualities (nearest anchor)."""
        row = (quality + ANCHOR_SPACING // 2) // ANCHOR_SPACING
        pick = lambda p: jnp.take(p[...], row, 0)[:, None, None]  # noqa: E731
        weight = jax.nn.softmax(pick(self.logits), -1)
        scale = jnp.exp(jnp.maximum(pick(self.log_scale), -4.0))
        centred = value[..., None] - pick(self.loc)
        size = jnp.abs(centred)
        mass = jax.nn.sigmoid((0.5 - size) / scale) - jax.nn.sigmoid(
            (-0.5 - size) / scale
        )
        return -jnp.log2(jnp.maximum((weight * mass).sum(-1), BITS_FLOOR))
