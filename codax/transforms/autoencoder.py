"""The pair of transforms of the autoencoder family, and the hyper-analysis.

Both are a linear transform (KLT of 16x16x3 blocks, or small ones of the octaves of
wavelet packets, see `codax.transforms.fronts`) with a network beside it that works
at 1/8 and 1/16 of the picture's size:

    analysis   x -s2d8-> 1x1 -> blocks(1/8) -s2d2-> 1x1 -> blocks(1/16) -> 1x1 -+-> y
               x -s2d16-> KLT -> * gain(q) -------------------------------------+

    synthesis  y / gain(q) -> KLT^T -d2s2-> picture at 1/8 -> 1x1 -+       +--> + -> x
               y -> 1x1 -> blocks(1/16) -> 1x1 -d2s2---------------+-> blocks(1/8)

The networks' last layers start at zero, so the first step codes like a plain transform
coder. The linear reconstruction is fed to the synthesis's blocks, which makes
deblocking a local matter. Vectors per quality scale features and latents: one set of
weights covers all qualities.

Source: block design of DCVC-RT/UF (Jia et al. 2025, 2026); gain vectors: Cui et al.
2021; linear path beside the network: AuxT (Li et al. 2025). The transform-coder start
is this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.errors import ConfigError
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.fronts import FRONTS, REACH, join_coarse, join_fine, split
from codax.transforms.layers import Block, Dense, Fixed, hard_wsilu, pointwise
from codax.transforms.rates import RateRange

__all__ = [
    "PIXEL_HEAD",
    "PIXEL_SCALE",
    "QUALITY_ANCHORS",
    "Analysis",
    "Blocks",
    "HyperAnalysis",
    "LogGain",
    "Synthesis",
    "TransformWidths",
    "anchor_gains",
    "interpolate",
]

QUALITY_ANCHORS = 14
QUALITY_SPACING = 16
PIXEL_SCALE = 1.0 / 64.0
LATENT_HEAD, PIXEL_HEAD = 0.25, 2.0
"""Latent steps and pixel levels in a unit of the last layers. A step of the optimiser
moves a weight by some 0.003; in larger units it would move the output by more than it
is worth, and the networks learn to switch themselves off."""
ALONE_HEAD = 16.0
"""Pixel levels in a unit without linear transforms: a start of a picture's spread."""


def interpolate(table: jax.Array, quality: jax.Array) -> jax.Array:
    """Linear interpolation between quality anchors: [14 C], int[N] -> [N 1 1 C]."""
    row = quality // QUALITY_SPACING
    rest = (quality - row * QUALITY_SPACING).astype(jnp.float32) / QUALITY_SPACING
    low, high = jnp.take(table, row, 0), jnp.take(table, row + 1, 0)
    mixed = low * (1.0 - rest[:, None]) + high * rest[:, None]
    return mixed[:, None, None, :]


def anchor_gains(rates: RateRange) -> np.ndarray:
    """Gains at the quality anchors in units of the middle's, float64[14]."""
    return rates.relative_gain(
        QUALITY_SPACING * np.arange(QUALITY_ANCHORS, dtype=float)
    )


@dataclass(frozen=True, kw_only=True)
class TransformWidths:
    """Widths and depths of the transforms."""

    latents: int = 320
    """Channels of y, at 1/16."""
    fine: int = 96
    """Channels at 1/8."""
    coarse: int = 192
    """Channels at 1/16."""
    analysis_fine: int = 3
    """Blocks of the analysis at 1/8."""
    analysis_coarse: int = 1
    """Blocks of the analysis at 1/16."""
    synthesis_coarse: int = 1
    """Blocks of the synthesis at 1/16."""
    synthesis_fine: int = 4
    """Blocks of the synthesis at 1/8."""
    front: str = "space-to-depth"
    """How pictures become channels at 1/8 and 1/16: `space-to-depth` or `wavelet`."""
    linear_heads: bool = True
    """The last layers read the features as they are, in the units above. False, as in
    weights before `quadtree-tiny-v3`: behind an activation, in which they died."""
    lmbda_low: float = 0.0008
    """Lambda at quality 0, for MSE on the 0..255 scale."""
    lmbda_high: float = 0.25
    """Lambda at quality 100."""
    side_path: bool = True
    """The linear transforms beside the networks. False, to measure what they are worth:
    networks alone, from a random start."""

    def __post_init__(self) -> None:
        """Checks the front."""
        if self.front not in FRONTS:
            known = " or ".join(FRONTS)
            raise ConfigError(f"front: got {self.front!r}, expected {known}")
        _ = self.rates  # checks them

    @property
    def rates(self) -> RateRange:
        """What the qualities stand for."""
        return RateRange(low=self.lmbda_low, high=self.lmbda_high)

    @property
    def head_gain(self) -> float:
        """At which the last layers start: nothing beside the linear transforms."""
        return 0.0 if self.side_path else 1.0

    @property
    def _reach(self) -> int:
        return REACH if self.front == "wavelet" else 0

    @property
    def analysis_halo(self) -> int:
        """How far, in cells of 1/16 (a multiple of 4), a latent looks."""
        blocks = self.analysis_coarse + (self.analysis_fine + 1) // 2
        return _multiple_of_4(blocks) + self._reach

    @property
    def synthesis_halo(self) -> int:
        """How far, in cells of 1/16, a pixel looks."""
        return self.synthesis_coarse + (self.synthesis_fine + 1) // 2 + self._reach


def _multiple_of_4(n: int) -> int:
    return -(-n // 4) * 4


class Blocks(nnx.Module):
    """A run of blocks."""

    def __init__(self, count: int, channels: int, *, rngs: nnx.Rngs):
        self.count = count
        for i in range(count):
            setattr(self, f"block{i}", Block(channels, rngs=rngs))

    def __call__(self, x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
        """Maps float32[N h w C] to the same shape."""
        for i in range(self.count):
            x = getattr(self, f"block{i}")(x, extent)
        return x


class LogGain(nnx.Module):
    """Gains of the latents per quality: exp of an interpolated log, [14 M].

    The parameter holds the deviation from `RateRange.gain`, zero at the start.
    """

    def __init__(self, latents: int, rates: RateRange):
        """Starts at the base gain for every channel."""
        self.rates = rates
        self.deviation = nnx.Param(jnp.zeros((QUALITY_ANCHORS, latents)))

    def __call__(self, quality: jax.Array) -> jax.Array:
        """Returns float32[N 1 1 M], latent steps per unit of the linear transform."""
        base = self.rates.gain(quality.astype(jnp.float32))[:, None, None, None]
        return base * jnp.exp(interpolate(self.deviation[...], quality))


class Analysis(nnx.Module):
    """Picture to latents: float32[N H W 3] 0..255 -> y: float32[N H/16 W/16 M]."""

    def __init__(self, widths: TransformWidths, *, rngs: nnx.Rngs):
        """Makes the transform with a random KLT; see `fit_klt`."""
        self.klt = nnx.Param(jnp.zeros((768, widths.latents)))
        self.mean = Fixed(jnp.full((3,), 128.0))
        self.gain = LogGain(widths.latents, widths.rates)
        self.enter = Dense(192, widths.fine, rngs=rngs)
        self.fine = Blocks(widths.analysis_fine, widths.fine, rngs=rngs)
        self.fine_quality = nnx.Param(jnp.ones((QUALITY_ANCHORS, widths.fine)))
        self.down = Dense(4 * widths.fine, widths.coarse, rngs=rngs, parts_in=4)
        self.coarse = Blocks(widths.analysis_coarse, widths.coarse, rngs=rngs)
        ratio = anchor_gains(widths.rates)
        self.coarse_quality = nnx.Param(
            jnp.asarray(np.repeat(ratio[:, None] ** 0.5, widths.coarse, 1), jnp.float32)
        )
        gain = widths.head_gain
        self.leave = Dense(widths.coarse, widths.latents, rngs=rngs, gain=gain)
        self.front, self.linear_heads = widths.front, widths.linear_heads
        self.side_path = widths.side_path

    def __call__(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Applies the transform.

        Args:
            x: float32[N H W 3], 0..255, H and W multiples of 16.
            quality: int32[N], half steps 0..200.
            extent: int32[2], rows and columns at 1/16 that belong to the picture, or
                None: the networks see zeros beyond, as at the borders of the array.

        Returns:
            y: float32[N H/16 W/16 M], in latent steps.
        """
        centred = x - self.mean[...]
        fine, coarse = split(centred, self.front, extent)
        linear = pointwise(coarse, self.klt[...])
        f = self.enter(fine * PIXEL_SCALE)
        fine_extent = None if extent is None else 2 * extent
        f = self.fine(f, fine_extent) * interpolate(self.fine_quality[...], quality)
        f = self.coarse(self.down(space_to_depth(f, 2)), extent)
        f = f if self.linear_heads else hard_wsilu(f)
        change = self.leave(f * interpolate(self.coarse_quality[...], quality))
        if not self.side_path:
            return change / PIXEL_SCALE * self.gain(quality)
        unit = LATENT_HEAD if self.linear_heads else 1.0
        return linear * self.gain(quality) + change * unit


class Synthesis(nnx.Module):
    """Latents to picture: y: float32[N h w M] -> float32[N 16h 16w 3], about 0..255."""

    def __init__(self, widths: TransformWidths, *, rngs: nnx.Rngs):
        """Makes the transform with a random KLT; see `fit_klt`."""
        self.klt = nnx.Param(jnp.zeros((widths.latents, 768)))
        self.mean = Fixed(jnp.full((3,), 128.0))
        self.gain = LogGain(widths.latents, widths.rates)
        self.std = Fixed(jnp.ones((widths.latents,)))
        self.enter = Dense(widths.latents, widths.coarse, rngs=rngs)
        self.coarse = Blocks(widths.synthesis_coarse, widths.coarse, rngs=rngs)
        self.coarse_quality = nnx.Param(jnp.ones((QUALITY_ANCHORS, widths.coarse)))
        self.up = Dense(widths.coarse, 4 * widths.fine, rngs=rngs, parts_out=4)
        self.feed = Dense(192, widths.fine, rngs=rngs)
        self.fine = Blocks(widths.synthesis_fine, widths.fine, rngs=rngs)
        ratio = 1.0 / anchor_gains(widths.rates)
        self.fine_quality = nnx.Param(
            jnp.asarray(np.repeat(ratio[:, None] ** 0.7, widths.fine, 1), jnp.float32)
        )
        self.leave = Dense(widths.fine, 192, rngs=rngs, gain=widths.head_gain)
        self.front, self.linear_heads = widths.front, widths.linear_heads
        self.side_path = widths.side_path

    def __call__(
        self, y: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Applies the transform.

        Args:
            y: float32[N h w M], in latent steps.
            quality: int32[N], half steps 0..200.
            extent: as for `Analysis`.

        Returns:
            x: float32[N 16h 16w 3], about 0..255.
        """
        unscaled = y / self.gain(quality)
        linear = pointwise(unscaled, self.klt[...])
        linear = join_coarse(linear, self.front, extent)
        if not self.side_path:
            linear = jnp.zeros_like(linear)
        f = self.enter(unscaled / self.std[...])
        f = self.coarse(f, extent) * interpolate(self.coarse_quality[...], quality)
        f = depth_to_space(self.up(f), 2) + self.feed(linear * PIXEL_SCALE)
        f = self.fine(f, None if extent is None else 2 * extent)
        f = f if self.linear_heads else hard_wsilu(f)
        change = self.leave(f * interpolate(self.fine_quality[...], quality))
        unit = PIXEL_HEAD if self.linear_heads else 1.0 / PIXEL_SCALE
        if not self.side_path:
            unit = ALONE_HEAD
        picture = join_fine(linear + change * unit, self.front, extent)
        return picture + self.mean[...]


class HyperAnalysis(nnx.Module):
    """Latents to side information: y at 1/16 -> z: float32[N h/4 w/4 Cz] at 1/64."""

    def __init__(
        self, widths: TransformWidths, channels: int, side: int, *, rngs: nnx.Rngs
    ):
        """Makes the transform; `std` is set when the KLT is fitted."""
        latents, self.rates = widths.latents, widths.rates
        self.std = Fixed(jnp.ones((latents,)))
        self.enter = Dense(latents, channels, rngs=rngs)
        self.down1 = Dense(4 * channels, channels, rngs=rngs, parts_in=4)
        self.block = Block(channels, rngs=rngs)
        self.down2 = Dense(4 * channels, side, rngs=rngs, parts_in=4)
        self.scale = nnx.Param(jnp.ones((QUALITY_ANCHORS, side)))

    def __call__(self, y: jax.Array, quality: jax.Array) -> jax.Array:
        """Applies the transform; h and w are multiples of 4."""
        base = self.rates.gain(quality.astype(jnp.float32))[:, None, None, None]
        f = jnp.clip(y / (base * self.std[...]), -8.0, 8.0)
        f = hard_wsilu(self.enter(f))
        f = self.block(self.down1(space_to_depth(f, 2)))
        f = self.down2(space_to_depth(hard_wsilu(f), 2))
        return f * interpolate(self.scale[...], quality)


class ResidualPrediction(nnx.Module):
    """Predicts what rounding took: y + tanh(net(y)) / 2, in latent steps.

    Float, after decoding; it must not feed the context.

    Source: latent residual prediction of Minnen and Singh 2020; there a network per
    slice inside the context, here one on all latents behind it.
    """

    def __init__(self, widths: TransformWidths, hidden: int, *, rngs: nnx.Rngs):
        """Makes the network; it starts as zero."""
        latents, self.rates = widths.latents, widths.rates
        self.std = Fixed(jnp.ones((latents,)))
        self.enter = Dense(latents, hidden, rngs=rngs)
        self.leave = Dense(hidden, latents, rngs=rngs, gain=0.0)

    def __call__(self, y: jax.Array, quality: jax.Array) -> jax.Array:
        """Maps float32[N h w M] at int32[N] qualities to the same shape."""
        base = self.rates.gain(quality.astype(jnp.float32))[:, None, None, None]
        f = jnp.clip(y / (base * self.std[...]), -8.0, 8.0)
        return y + 0.5 * jnp.tanh(self.leave(hard_wsilu(self.enter(f))))
