"""Building blocks that are fast on CPUs and accelerators: dots and shifted adds.

Everything is NHWC float32. A 1x1 layer is a dot over channels, a depthwise 3x3 is nine
shifted multiply-adds: on XLA's CPU a grouped convolution is thirty times slower.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

__all__ = [
    "Block",
    "Dense",
    "Depthwise",
    "Fixed",
    "Growth",
    "depthwise3x3",
    "grid_mask",
    "hard_wsilu",
    "normal",
    "pointwise",
]

PRECISION = "jax_default_matmul_precision"


class Fixed(nnx.Variable):
    """A stored constant that is not trained (normalisers, shifts, multipliers)."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a variable grows when its network gets more channels.

    Variables say it as `growth`. Those that say nothing have channels in their last
    axis, in one part.

    Attributes:
        reads: whether the axis before the last is what the layer reads.
        parts_in: equal parts of what it reads, such as 4 of a folded 2x2 cell.
        parts_out: equal parts of what it gives.
        kept_in: so many inputs at the end that are not features and do not grow.
    """

    reads: bool = True
    parts_in: int = 1
    parts_out: int = 1
    kept_in: int = 0


def normal(key: jax.Array, shape: tuple[int, ...], scale: float = 1.0) -> jax.Array:
    """Normals to start weights from, drawn by NumPy.

    JAX's own are compiled anew for every shape, ten seconds for a codec.

    Args:
        key: such as `rngs.params()`.
        shape: of the array.
        scale: their standard deviation.

    Returns:
        float32; zeros where only shapes are asked for, as under `jax.eval_shape`.
    """
    if isinstance(key, jax.core.Tracer):
        return jnp.zeros(shape)
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    return jnp.asarray(random.standard_normal(shape, np.float32) * np.float32(scale))


def pointwise(x: jax.Array, kernel: jax.Array, *, rounded: bool = False) -> jax.Array:
    """A 1x1 layer's products: one dot over channels, all positions as its rows.

    As a dot of two axes: on XLA's CPU the gradient by the kernel of the same dot over
    four axes takes twice the time.

    Under `jax.default_matmul_precision("bfloat16")`, for training, products of two
    arrays rounded to bfloat16, summed in float32, take the place of the layer's own if
    it is `rounded`, and always of the gradient by x: three times as fast on a CPU with
    AMX. So exact layers stay exact there.

    Args:
        x: float32[... in].
        kernel: float32[in out].
        rounded: whether the layer bears such products.

    Returns:
        float32[... out].
    """
    rows = x.reshape(-1, x.shape[-1])
    if getattr(jax.config, PRECISION) == "bfloat16":
        rows = _mixed_products(rows, kernel, rounded)
    else:
        rows = jnp.dot(rows, kernel, precision="highest")
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _mixed_products(rows: jax.Array, kernel: jax.Array, rounded: bool) -> jax.Array:
    if rounded:
        return _bfloat16_dot(rows, kernel, 0)
    return jnp.dot(rows, kernel, precision="highest")


def _bfloat16_dot(left: jax.Array, right: jax.Array, axis: int) -> jax.Array:
    """The dot of left's last axis and an axis of right."""
    pair = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
    axes = (((1,), (axis,)), ((), ()))
    return jax.lax.dot_general(*pair, axes, preferred_element_type=jnp.float32)


def _mixed_forward(rows, kernel, rounded):
    return _mixed_products(rows, kernel, rounded), (rows, kernel)


def _mixed_backward(rounded, saved, g):
    rows, kernel = saved
    # XLA's CPU has no fast product of bfloat16 with a transposed left side: there the
    # preset, unlike rounded arrays, stays in float32. A single column it does not know.
    precision = "BF16_BF16_F32" if g.shape[-1] > 1 else "highest"
    by_kernel = jnp.dot(rows.T, g, precision=precision)
    return _bfloat16_dot(g, kernel, 1), by_kernel


_mixed_products.defvjp(_mixed_forward, _mixed_backward)


def grid_mask(x: jax.Array, extent: jax.Array | None) -> jax.Array:
    """Sets positions outside the picture's own grid to zero.

    Args:
        x: float32[N h w C].
        extent: int32[2], how many rows and columns of this array, from its top left
            corner, belong to the picture; None when all do.

    Returns:
        float32[N h w C].
    """
    if extent is None:
        return x
    rows = jnp.arange(x.shape[1])[:, None] < extent[0]
    columns = jnp.arange(x.shape[2])[None, :] < extent[1]
    return jnp.where((rows & columns)[None, :, :, None], x, 0.0)


def hard_wsilu(x: jax.Array) -> jax.Array:
    """X * clip(x + 1/2, 0, 1): WSiLU, x * sigmoid(4 x), without the exponential.

    Source: WSiLU is the activation of DCVC-RT (Jia et al. 2025).
    """
    return x * jnp.clip(x + 0.5, 0.0, 1.0)


@jax.custom_vjp
def depthwise3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Depthwise 3x3 correlation with zero borders: nine shifted multiply-adds.

    The gradients are written out because XLA's own, nine paddings, take twice the time.

    Args:
        x: float32[N h w C].
        kernel: float32[3 3 C].

    Returns:
        float32[N h w C].
    """
    h, w = x.shape[1], x.shape[2]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = padded[:, 0:h, 0:w] * kernel[0, 0]
    for i in range(3):
        for j in range(3):
            if i or j:
                total = total + padded[:, i : i + h, j : j + w] * kernel[i, j]
    return total


def _depthwise_forward(x, kernel):
    return depthwise3x3(x, kernel), (x, kernel)


def _depthwise_backward(saved, g):
    x, kernel = saved
    h, w = x.shape[1], x.shape[2]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    products = [padded[:, i : i + h, j : j + w] * g for i in range(3) for j in range(3)]
    # The nine sums in one reduction read g once.
    sums = jax.lax.reduce(products, [0.0] * 9, _add_all, (0, 1, 2))
    return depthwise3x3(g, kernel[::-1, ::-1]), jnp.stack(sums).reshape(kernel.shape)


def _add_all(left, right):
    return [a + b for a, b in zip(left, right, strict=True)]


depthwise3x3.defvjp(_depthwise_forward, _depthwise_backward)


class Dense(nnx.Module):
    """A 1x1 layer: float32[... in] -> float32[... out]."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rngs: nnx.Rngs,
        gain: float = 1.0,
        parts_in: int = 1,
        parts_out: int = 1,
    ):
        """Makes the layer with normal weights of scale gain / sqrt(in), zero bias.

        Args:
            inputs: channels in.
            outputs: channels out.
            rngs: random streams, `params` is used.
            gain: factor on the initial scale.
            parts_in: equal parts of the inputs, see `Growth`.
            parts_out: the same of the outputs.
        """
        scale = gain / np.sqrt(inputs)
        kernel = normal(rngs.params(), (inputs, outputs), scale)
        growth = Growth(parts_in=parts_in, parts_out=parts_out)
        self.kernel = nnx.Param(kernel, growth=growth)
        self.bias = nnx.Param(
            jnp.zeros((outputs,)), growth=replace(growth, reads=False)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        return pointwise(x, self.kernel[...], rounded=True) + self.bias[...]


class Depthwise(nnx.Module):
    """A depthwise 3x3 layer with zero borders, float32[N h w C] to the same shape."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        """Makes the layer as the identity plus noise."""
        kernel = normal(rngs.params(), (3, 3, channels), 0.15)
        self.kernel = nnx.Param(kernel.at[1, 1].add(1.0))
        self.bias = nnx.Param(jnp.zeros((channels,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layer."""
        return depthwise3x3(x, self.kernel[...]) + self.bias[...]


class Block(nnx.Module):
    """Depthwise part, then gated widening and folding, both residual.

    x += 1x1(dw3x3(act(1x1 x))); x += 1x1(fold4(act(1x1_{C->4C} x))), where fold4 sums
    the four quarters. 7 C^2 + 9 C multiply-adds per position.

    Source: DepthConvBlock of DCVC-RT and DCVC-UF (Jia et al. 2025, 2026).
    """

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        """Makes a block; both branches start small."""
        self.enter = Dense(channels, channels, rngs=rngs)
        self.spatial = Depthwise(channels, rngs=rngs)
        self.leave = Dense(channels, channels, rngs=rngs, gain=0.3)
        self.widen = Dense(channels, 4 * channels, rngs=rngs, parts_out=4)
        self.narrow = Dense(channels, channels, rngs=rngs, gain=0.3)

    def __call__(self, x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
        """Maps float32[N h w C] to the same shape; see `grid_mask` for the extent."""
        inner = grid_mask(hard_wsilu(self.enter(x)), extent)
        x = x + self.leave(self.spatial(inner))
        # Slices, not a reshaped sum: XLA fuses them, which takes a third of the memory
        # and a quarter less time forward on a CPU, and costs nothing in the gradient.
        first, second, third, fourth = jnp.split(hard_wsilu(self.widen(x)), 4, -1)
        return x + self.narrow(first + second + third + fourth)
