"""Exact networks over the sub-bands of one level: what they see, means and scales.

Coefficients are integers, often 0 and sometimes 1000. Networks see each of them twice:
straight, 4 units a level, for means; and companded, steep near 0 and flat far off, for
scales. Low bands are seen as differences from a position's neighbours, so that their
own size does not matter.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.entropy.exact import ExactDense, half_up, inward_clip
from codax.entropy.networks import ExactBlock, PhaseDense
from codax.entropy.tables import GRID_LOG_MIN, GRID_LOG_STEP, GRID_SCALES
from codax.entropy.units import HEAD_LIMIT, SIGNED, UNIT
from codax.transforms.layers import grid_mask

__all__ = [
    "CROSS",
    "SQUARE",
    "STAR",
    "BandHeads",
    "BandNetwork",
    "differences",
    "neighbourhood",
    "scale_index",
]

CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
SQUARE = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
STAR = (*SQUARE, (-2, 0), (2, 0), (0, -2), (0, 2))
"""Places around a position: rows and columns off it."""
STRAIGHT = 4.0
COMPANDED = ((24.0, 96.0), (6.0, 96.0), (2.0, 318.0))
"""Slopes and limits of the clipped lines that add up to the companding."""
MEAN_SHIFT = 2
"""Bits between a mean head and eighths."""
DEVIATION = float(np.pi / np.sqrt(3))
"""Standard deviation of a logistic of scale 1."""


def _places(x: jax.Array, offsets: tuple[tuple[int, int], ...]) -> list[jax.Array]:
    """The array moved by each offset, zeros beyond its ends."""
    reach = max(abs(part) for offset in offsets for part in offset)
    h, w = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    return [
        padded[:, reach + i : reach + i + h, reach + j : reach + j + w]
        for i, j in offsets
    ]


def neighbourhood(x: jax.Array, offsets=CROSS) -> jax.Array:
    """Coefficients around each position: [N h w C] -> [N h w k*C]."""
    return jnp.concatenate(_places(x, offsets), -1)


def differences(x: jax.Array, extent: jax.Array | None, offsets) -> jax.Array:
    """Neighbours less a position's own value; 0 for those outside the picture.

    Args:
        x: float32[N h w C], integers.
        extent: rows and columns of the grid that belong to the picture, or None.
        offsets: which neighbours, k of them.

    Returns:
        float32[N h w k*C].
    """
    inside = grid_mask(jnp.ones((1, *x.shape[1:3], 1), jnp.float32), extent)
    own = _places(inside, offsets)
    parts = [(p - x) * m for p, m in zip(_places(x, offsets), own, strict=True)]
    return jnp.concatenate(parts, -1)


def _seen(x: jax.Array) -> jax.Array:
    """Coefficients as layers take them: straight and companded, in +-511."""
    companded = sum(jnp.clip(x * slope, -top, top) for slope, top in COMPANDED)
    return jnp.concatenate([jnp.clip(x * STRAIGHT, -SIGNED, SIGNED), companded], -1)


def scale_index(std: np.ndarray) -> np.ndarray:
    """The index, 0..31 with fractions, of the scale for standard deviations."""
    scale = np.maximum(std, 1e-3) / DEVIATION
    return np.clip((np.log(scale) - GRID_LOG_MIN) / GRID_LOG_STEP, 0, GRID_SCALES - 1)


class BandNetwork(nnx.Module):
    """Features and coefficients to features: 1x1, then a block."""

    reach = 1
    """Positions that an output looks beyond its inputs."""

    def __init__(
        self, features: int, seen: int, channels: int, hidden: int, *, rngs: nnx.Rngs
    ):
        """Makes the network.

        Args:
            features: channels that come in, 0 for none.
            seen: coefficients a position, each of which gives two channels.
            channels: channels that go out.
            hidden: those inside the block.
            rngs: random streams.
        """
        inputs = features + 2 * seen
        self.enter = ExactDense(inputs, channels, rngs=rngs, relu=False)
        self.block = ExactBlock(channels, hidden, rngs=rngs)

    def __call__(self, features, seen, extent=None, *, exact: bool = True):
        """Maps features [N h w F] (or None) and coefficients [N h w k] to [N h w C]."""
        x = _seen(seen)
        if features is not None:
            x = jnp.concatenate([features, x], -1)
        return self.block(self.enter(x, extent, exact=exact), extent, exact=exact)


class BandHeads(nnx.Module):
    """Features to the heads of a `GridSource`: means in eighths, and scale indices.

    With phases, weights differ by the position in a 2x2 cell.
    """

    def __init__(self, inputs: int, outputs: int, *, phases: bool, rngs: nnx.Rngs):
        """Makes the heads of so many symbols a position."""
        make = PhaseDense if phases else _plain
        # They start small, since what random ones foretell is far off.
        both = partial(make, inputs, outputs, rngs=rngs, limit=HEAD_LIMIT, gain=0.02)
        self.mean, self.scale = both(shift=4), both(shift=8)

    def set_index(self, index: np.ndarray) -> None:
        """Starts at scale indices float32[outputs], or [4 outputs] with phases."""
        self.scale.bias[...] = jnp.asarray(index * (16.0 / UNIT), jnp.float32)

    def __call__(self, x, extent=None, *, exact: bool = True):
        """Maps [N h w F] to the means and indices of the symbols, [N h w k] each."""
        mean = self.mean(x, extent, exact=exact) * 2.0**-MEAN_SHIFT
        index = self.scale(x, extent, exact=exact) * 2.0**-4
        if exact:
            mean, index = half_up(mean), half_up(index)
        return mean, inward_clip(index, 0.0, GRID_SCALES - 1.0)


_plain = partial(ExactDense, relu=False)
"""Makes a head without phases."""
