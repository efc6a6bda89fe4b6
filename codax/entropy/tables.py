"""Probability tables: densities for training, stored integers for the files.

Three kinds of source:

* **Scale tables**: 64 zero-mean tables whose scales are spaced evenly in the
  logarithm from 0.11 to 256. Their shape is a scale mixture of two Gaussians with
  learned weight and spread, since what a prior leaves is heavier-tailed than one.
* **Grid tables**, for integers that must stay what they are: 32 scales times the mean's
  fraction in eighths. Their shape is a mixture of two logistics, likewise learned.
* **Static tables**: one table per channel at each of 14 quality anchors, learned as a
  mixture of three logistics.

At export both become integer frequencies; those integers are the format, and no float
is ever evaluated again to get a probability.

Source: 64 log-spaced scales: Ballé et al. 2018, Minnen et al. 2018.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

__all__ = [
    "ANCHORS",
    "ANCHOR_SPACING",
    "BINARY_COUNT",
    "BINARY_STEP",
    "FRACTIONS",
    "GRID_LOG_MIN",
    "GRID_LOG_STEP",
    "GRID_SCALES",
    "LOG_SCALE_MIN",
    "LOG_SCALE_STEP",
    "SCALE_COUNT",
    "TABLE_TOTAL",
    "GridShape",
    "ScaleShape",
    "StaticDensity",
    "at_quality",
    "gaussian_mixture_pmf",
    "grid_pmf",
    "integer_table",
    "logistic_mixture_pmf",
]

SCALE_COUNT = 64
BINARY_COUNT = 64
BINARY_STEP = 0.32
"""Tables of two symbols: logits of the 1, a step apart, even about 0 (1/2)."""
LOG_SCALE_MIN = float(np.log(0.11))
LOG_SCALE_STEP = float((np.log(256.0) - np.log(0.11)) / (SCALE_COUNT - 1))
GRID_SCALES = 32
GRID_LOG_MIN = float(np.log(0.06))
GRID_LOG_STEP = float((np.log(30.0) - np.log(0.06)) / (GRID_SCALES - 1))
FRACTIONS = 8
"""Parts of 1 in which a grid table's mean is given; table = scale * 8 + fraction."""
GRID_TAIL = 10.0
GRID_FLOOR = 2.0**-32
"""About what an escape costs."""
GRID_MAX_HALF = 255
ANCHOR_SPACING = 16
ANCHORS = 14
"""Quality anchors at half steps 0, 16, ..., 208; qualities are 0..200 half steps."""
TABLE_TOTAL = 2**24
TAIL_SIGMAS = 8.0
MAX_HALF_WIDTH = 1023
BITS_FLOOR = 2.0**-40


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
        self.weight = nnx.Param(jnp.asarray(np.log(weight / (1 - weight)), jnp.float32))
        self.spread = nnx.Param(jnp.asarray(np.log(spread), jnp.float32))

    def parameters(self) -> tuple[jax.Array, jax.Array]:
        """Returns w in 0..1 and r > 0."""
        return jax.nn.sigmoid(self.weight[...]), jnp.exp(self.spread[...])

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
        self.weight = nnx.Param(jnp.asarray(np.log(weight / (1 - weight)), jnp.float32))
        self.spread = nnx.Param(jnp.asarray(np.log(spread), jnp.float32))

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
        self.logits = nnx.Param(jnp.zeros(shape))
        self.loc = nnx.Param(jnp.zeros(shape))
        self.log_scale = nnx.Param(jnp.zeros(shape))
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


def _erfc(x: np.ndarray) -> np.ndarray:
    from math import erfc

    return np.vectorize(erfc, otypes=[np.float64])(x)


def gaussian_mixture_pmf(scale: float, weight: float, spread: float) -> np.ndarray:
    """Masses of the integers 0..half-width of one scale table (it is symmetric)."""
    half = int(min(MAX_HALF_WIDTH, np.ceil(TAIL_SIGMAS * scale * spread) + 1))
    edges = np.arange(half + 2) - 0.5

    def mass(s):
        upper = 0.5 * _erfc(edges / (s * np.sqrt(2.0)))
        return upper[:-1] - upper[1:]

    return (1 - weight) * mass(scale) + weight * mass(scale * spread)


def grid_pmf(scale: float, mean: float, weight: float, spread: float) -> np.ndarray:
    """Masses of the integers -half..half of one grid table, mean in 0..1."""
    reach = np.ceil(GRID_TAIL * scale * max(1.0, spread)) + 1
    half = int(min(GRID_MAX_HALF, reach))
    size = np.abs(np.arange(-half, half + 1) - mean)
    return (1 - weight) * _logistic_mass(size, scale) + weight * _logistic_mass(
        size, scale * spread
    )


def _logistic_mass(size: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Mass within 1/2 of a distance from the centre of a logistic."""
    sigmoid = lambda x: 0.5 * (1 + np.tanh(0.5 * x))  # noqa: E731
    return sigmoid((0.5 - size) / scale) - sigmoid((-0.5 - size) / scale)


def logistic_mixture_pmf(
    logits: np.ndarray, loc: np.ndarray, log_scale: np.ndarray, half: int
) -> np.ndarray:
    """Masses of -half..half under a mixture of logistics, float64[2 half + 1]."""
    weight = np.exp(logits - logits.max())
    weight = weight / weight.sum()
    scale = np.exp(np.maximum(log_scale, -4.0)).astype(np.float64)
    size = np.abs(np.arange(-half, half + 1)[:, None] - loc[None].astype(np.float64))
    return (_logistic_mass(size, scale) * weight).sum(-1)


def integer_table(
    pmf: np.ndarray, rest: int | None = None, escape: float = 2.0**-20
) -> np.ndarray:
    """Turns masses into the stored form of a table.

    Args:
        pmf: float64[n], masses of the n symbols of the table, sum at most 1.
        rest: the symbol that gets what rounding leaves, so that a symmetric table
            stays so; the likeliest if None.
        escape: least mass of the escape symbol.

    Returns:
        int64[n + 1], frequencies of the n symbols and, last, of the escape; each at
        least 1, sum 2**24.
    """
    mass = np.append(pmf, max(escape, 1.0 - pmf.sum()))
    mass = mass / mass.sum()
    count = mass.size
    freq = np.floor(mass * (TABLE_TOTAL - count)).astype(np.int64) + 1
    taker = int(np.argmax(freq)) if rest is None else rest
    freq[taker] += TABLE_TOTAL - int(freq.sum())
    return freq
