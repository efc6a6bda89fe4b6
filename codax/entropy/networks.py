"""Exact networks that several priors share: blocks, hyper-synthesis, phase heads."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from codax.entropy.densities import at_quality
from codax.entropy.exact import (
    ExactDense,
    ExactDepthwise,
    finish_exact,
    half_up,
    integer_weights,
    inward_clip,
    straight_through_round,
)
from codax.entropy.tables import ANCHORS
from codax.entropy.units import SIGNED, UNIT
from codax.transforms.arrays import depth_to_space
from codax.transforms.layers import Growth, grid_mask, normal, pointwise

__all__ = ["ExactBlock", "ExactTrunk", "HyperSynthesis", "PhaseDense", "coarser"]


def coarser(extent: jax.Array | None, factor: int) -> jax.Array | None:
    """The picture's extent on a grid that is coarser by a factor."""
    return None if extent is None else -(-extent // factor)


class ExactBlock(nnx.Module):
    """x + 1x1(relu(1x1(dw3x3 x))), clipped to +-511."""

    def __init__(self, channels: int, hidden: int, *, rngs: nnx.Rngs):
        """Makes a block whose branch starts small."""
        self.spatial = ExactDepthwise(channels, rngs=rngs)
        self.widen = ExactDense(channels, hidden, rngs=rngs)
        self.narrow = ExactDense(hidden, channels, rngs=rngs, relu=False, gain=0.3)

    def __call__(self, x, extent=None, *, exact: bool = True):
        """Maps float32[N h w C] integers to the same shape."""
        inner = self.spatial(x, extent, exact=exact)
        inner = self.widen(inner, extent, exact=exact)
        inner = self.narrow(inner, extent, exact=exact)
        return inward_clip(x + inner, -SIGNED, SIGNED)


class ExactTrunk(nnx.Module):
    """A run of exact blocks."""

    def __init__(self, count: int, channels: int, hidden: int, *, rngs: nnx.Rngs):
        """Makes `count` blocks."""
        self.count = count
        for i in range(count):
            setattr(self, f"block{i}", ExactBlock(channels, hidden, rngs=rngs))

    def __call__(self, x, extent=None, *, exact: bool = True):
        """Maps float32[N h w C] integers to the same shape."""
        for i in range(self.count):
            x = getattr(self, f"block{i}")(x, extent, exact=exact)
        return x


class PhaseDense(nnx.Module):
    """A 1x1 layer with weights of its own for each position of a 2x2 cell.

    The parameters are `kernel`, float32[4 in out], and `bias`, float32[4 out], in the
    order (0,0), (0,1), (1,0), (1,1); units as in `ExactDense`.
    """

    tap_axes = (1,)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rngs: nnx.Rngs,
        shift: int,
        limit: int,
        gain: float = 0.1,
    ):
        """Makes the layer; outputs lie in +-limit."""
        scale = gain / inputs**0.5
        kernel = normal(rngs.params(), (4, inputs, outputs), scale)
        self.kernel = nnx.Param(kernel, stored="kernel", growth=Growth())
        self.bias = nnx.Param(jnp.zeros((4, outputs)), stored="bias")
        self.shift, self.limit = shift, limit

    def __call__(self, x, extent=None, *, exact: bool = True):
        """Maps float32[N h w in] to float32[N h w out]; h and w are even."""
        kernel = integer_weights(self.kernel[...], exact)
        n, h, w, c = x.shape
        # The four places first: one dot of four, where four dots of their own would
        # have a compiled gradient each.
        places = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 4, 0, 1, 3, 5)
        places = places.reshape(4, n, h // 2, w // 2, c)
        total = jax.vmap(pointwise)(places, kernel)
        bias = self.bias[...][:, None, None, None]
        limits = (-self.limit, self.limit)
        out = finish_exact(total, bias, self.shift, limits, exact, None)
        out = out.reshape(2, 2, n, h // 2, w // 2, -1).transpose(2, 3, 0, 4, 1, 5)
        return grid_mask(out.reshape(n, h, w, -1), extent)


class HyperSynthesis(nnx.Module):
    """Side information to features: z at 1/64 -> float32[N 4h 4w F] at 1/16.

    z -> 1x1, d2s2 -> block -> 1x1, d2s2 -> block -> + embedding(quality), where the
    quality's embedding is an integer table interpolated in integers.
    """

    halo = 8
    """How far, in cells of 1/16, an output looks."""

    def __init__(self, side: int, middle: int, features: int, *, rngs: nnx.Rngs):
        """Makes the network: `side` channels of z, `middle` at 1/32, F at 1/16."""
        self.up1 = ExactDense(side, 4 * middle, rngs=rngs, parts_out=4)
        self.block1 = ExactBlock(middle, middle, rngs=rngs)
        self.up2 = ExactDense(middle, 4 * features, rngs=rngs, relu=False, parts_out=4)
        self.block2 = ExactBlock(features, features, rngs=rngs)
        noise = normal(rngs.params(), (ANCHORS, features), 0.3)
        slope = jnp.linspace(-1, 1, ANCHORS)[:, None]
        direction = normal(rngs.params(), (1, features))
        self.quality = nnx.Param(slope * direction + noise * 0.3, stored="unit")

    def __call__(self, z, quality, extent=None, *, exact: bool = True):
        """Applies the network.

        Args:
            z: float32[N h w Cz], decoded side information, integers.
            quality: int32[N], half steps.
            extent: the picture's extent on the grid at 1/16, or None.
            exact: integers, or the float twin.
        """
        x = inward_clip(z * 16.0, -SIGNED, SIGNED)
        middle = coarser(extent, 2)
        x = self.up1(x, coarser(extent, 4), exact=exact)
        x = self.block1(grid_mask(depth_to_space(x, 2), middle), middle, exact=exact)
        x = self.up2(x, middle, exact=exact)
        x = self.block2(grid_mask(depth_to_space(x, 2), extent), extent, exact=exact)
        table = self.quality[...] * UNIT
        if exact:
            table = straight_through_round(table)
        shift = at_quality(table, quality)[:, None, None, :]
        x = x + (half_up(shift) if exact else shift)
        return grid_mask(inward_clip(x, -SIGNED, SIGNED), extent)
