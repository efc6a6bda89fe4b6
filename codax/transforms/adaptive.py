"""Linear transforms that are chosen for each cell of 16x16 pixels.

A cell has one of a few *types*: the leading ones are KLTs of its whole 16x16x3 block,
the others KLTs of its four 8x8x3 quarters. Each is orthonormal and of full rank, fitted
to the blocks that choose it (Lloyd's rounds, by bits at random steps), and fixed
afterwards.

All types give 768 coefficients in one order, by falling variance: coefficient j of
quarter s is channel 4 j + s. Coefficients that are alike in neighbouring quarters, such
as their means, go through a 2x2 Hadamard transform over the four, so that leading
channels mean nearly the same in every type.

Source: choice among transforms by rate and distortion: Effros, Chou and Gray 1999;
among KLTs fitted to what chooses them: Dony and Haykin 1995; the KLT of quarters beside
that of the whole: block partition of video coders.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.autoencoder import (
    PIXEL_HEAD,
    PIXEL_SCALE,
    QUALITY_ANCHORS,
    Blocks,
    LogGain,
    TransformWidths,
    anchor_gains,
    interpolate,
)
from codax.transforms.cell_types import COEFFICIENTS, QUARTER, Fitted, choose, mix
from codax.transforms.layers import Dense, Fixed, pointwise
from codax.transforms.rates import RateRange

__all__ = [
    "AdaptiveAnalysis",
    "AdaptiveSynthesis",
    "Bases",
]


class Bases(nnx.Module):
    """The types' matrices, fixed once they are fitted; see `fit_types`."""

    def __init__(self, large: int, small: int):
        """Makes identities."""
        whole, quarter = np.eye(COEFFICIENTS), np.eye(QUARTER)
        self.mean = Fixed(jnp.full((3,), 128.0))
        self.large = Fixed(jnp.tile(jnp.asarray(whole, jnp.float32), (large, 1, 1)))
        self.small = Fixed(jnp.tile(jnp.asarray(quarter, jnp.float32), (small, 1, 1)))
        self.mixed = Fixed(jnp.zeros((small, QUARTER)))
        self.std = Fixed(jnp.ones((COEFFICIENTS,)))

    def set(self, fitted: Fitted) -> None:
        """Takes what `fit_types` found."""
        for name, value in (
            ("mean", fitted.colour),
            ("large", fitted.large),
            ("small", fitted.small),
            ("mixed", fitted.mixed),
            ("std", fitted.whole),
        ):
            getattr(self, name)[...] = jnp.asarray(value)

    def forward(self, x: jax.Array) -> list[jax.Array]:
        """Coefficients by every type: float32[N H W 3] -> float32[N H/16 W/16 768]."""
        blocks = space_to_depth(space_to_depth(x - self.mean[...], 8), 2)
        found = [pointwise(blocks, basis) for basis in self.large[...]]
        quarters = blocks.reshape(*blocks.shape[:-1], 4, QUARTER)
        for basis, mixed in zip(self.small[...], self.mixed[...], strict=True):
            c = mix(pointwise(quarters, basis), mixed)
            found.append(c.reshape(blocks.shape))
        return found

    def inverse(self, c: jax.Array, types: jax.Array) -> jax.Array:
        """Blocks of coefficients.

        Args:
            c: float32[N h w 768], of each cell's own type.
            types: float32[N h w T], 1 at the cell's type, else 0.

        Returns:
            float32[N h w 768], pixels less the mean in the order of `block_order`.
        """
        blocks = jnp.zeros_like(c)
        count = len(self.large[...])
        for k, basis in enumerate(self.large[...]):
            blocks += pointwise(c * types[..., k, None], basis.T)
        pairs = zip(self.small[...], self.mixed[...], strict=True)
        for k, (basis, mixed) in enumerate(pairs):
            own = c * types[..., count + k, None]
            parts = own.reshape(*c.shape[:-1], QUARTER, 4)
            parts = mix(jnp.moveaxis(parts, -1, -2), mixed)
            quarters = pointwise(jnp.moveaxis(parts, -1, -2), basis.T)
            blocks += quarters.reshape(c.shape)
        return blocks

    def common(self, blocks: jax.Array, count: int) -> jax.Array:
        """Leading coefficients by the first type, over their standard deviations."""
        basis = self.large[...][0, :, :count]
        return pointwise(blocks, basis) / self.std[...][:count]


class TypeGain(nnx.Module):
    """Gains of the coefficients by type and quality, see `LogGain`."""

    def __init__(self, types: int, rates: RateRange):
        """Starts at the base gain."""
        self.types = types
        self.log = LogGain(types * COEFFICIENTS, rates)

    def __call__(self, quality: jax.Array) -> jax.Array:
        """Returns float32[T N 1 1 768], steps per unit of a coefficient."""
        gain = self.log(quality)
        gain = gain.reshape(len(quality), 1, 1, self.types, COEFFICIENTS)
        return jnp.moveaxis(gain, 3, 0)


class AdaptiveAnalysis(nnx.Module):
    """Picture to types, flags and latents; there is no network."""

    def __init__(self, widths: TransformWidths, large: int, small: int):
        """Takes the first `widths.latents` coefficients as those of every cell."""
        self.latents, self.large = widths.latents, large
        self.gain = TypeGain(large + small, widths.rates)

    def __call__(
        self, bases: Bases, x: jax.Array, quality: jax.Array
    ) -> dict[str, jax.Array]:
        """Applies the transform.

        Args:
            bases: the types.
            x: float32[N H W 3], 0..255, sides multiples of 16.
            quality: int32[N], half steps 0..200.

        Returns:
            float32[N H/16 W/16 ...]: `y` and `tail`, latents in steps; `kind`, `which`
            and `flag` of one channel, 0 or 1; `common`, leading coefficients by the
            first type in pixel levels.
        """
        found = bases.forward(x)
        gains = self.gain(quality)
        steps = [c * gain for c, gain in zip(found, gains, strict=True)]
        fixed = [jax.lax.stop_gradient(s) for s in steps]
        chosen, flag = choose(fixed, self.latents, self.large)
        chosen, flag = chosen[..., None], flag[..., None]
        y = steps[0]
        for k, values in enumerate(steps[1:]):
            y = jnp.where(chosen == k + 1, values, y)
        kind = chosen >= self.large
        which = jnp.where(kind, chosen - self.large, chosen)
        flags = {"kind": kind, "which": which, "flag": flag}
        return {
            "y": y[..., : self.latents],
            "tail": y[..., self.latents :],
            "common": found[0][..., : self.latents],
            **{name: value.astype(jnp.float32) for name, value in flags.items()},
        }


class AdaptiveSynthesis(nnx.Module):
    """Latents to picture: the chosen transforms' inverses, a network beside them."""

    def __init__(
        self, widths: TransformWidths, large: int, small: int, *, rngs: nnx.Rngs
    ):
        """Makes the transform; its bases are to be fitted."""
        self.latents = widths.latents
        self.bases = Bases(large, small)
        self.gain = TypeGain(large + small, widths.rates)
        inputs = widths.latents + large + small
        self.enter = Dense(inputs, widths.coarse, rngs=rngs)
        self.coarse = Blocks(widths.synthesis_coarse, widths.coarse, rngs=rngs)
        self.coarse_quality = nnx.Param(jnp.ones((QUALITY_ANCHORS, widths.coarse)))
        self.up = Dense(widths.coarse, 4 * widths.fine, rngs=rngs)
        self.feed = Dense(192, widths.fine, rngs=rngs)
        self.fine = Blocks(widths.synthesis_fine, widths.fine, rngs=rngs)
        ratio = 1.0 / anchor_gains(widths.rates)
        self.fine_quality = nnx.Param(
            jnp.asarray(np.repeat(ratio[:, None] ** 0.7, widths.fine, 1), jnp.float32)
        )
        self.leave = Dense(widths.fine, 192, rngs=rngs, gain=0.0)

    def __call__(
        self,
        y: jax.Array,
        types: jax.Array,
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Applies the transform.

        Args:
            y: float32[N h w 768], in latent steps.
            types: float32[N h w T], 1 at each cell's type.
            quality: int32[N], half steps 0..200.
            extent: as for `Analysis`.

        Returns:
            x: float32[N 16h 16w 3], about 0..255.
        """
        gain = sum(
            types[..., k, None] * own for k, own in enumerate(self.gain(quality))
        )
        blocks = self.bases.inverse(y / gain, types)
        linear = depth_to_space(blocks, 2)
        seen = self.bases.common(blocks, self.latents)
        f = self.enter(jnp.concatenate([seen, types], -1))
        f = self.coarse(f, extent) * interpolate(self.coarse_quality[...], quality)
        f = depth_to_space(self.up(f), 2) + self.feed(linear * PIXEL_SCALE)
        f = self.fine(f, None if extent is None else 2 * extent)
        change = self.leave(f * interpolate(self.fine_quality[...], quality))
        return depth_to_space(linear + change * PIXEL_HEAD, 8) + self.bases.mean[...]
