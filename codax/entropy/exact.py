"""Exact layers: integer arithmetic carried by float32.

float32 holds every integer up to 2**24. A dot whose terms sum to less than that in
absolute value is exact in any order, with or without fused multiply-add, on any
device. All values here are integers stored as float32, so `jit`, `vmap` and `grad`
work as usual and the layer that trains is, bit for bit, the layer that codes.

An exact layer computes

    clip((sum_taps x_tap . w_tap + b + 2**(s-1)) >> s, lo, hi)

with an arithmetic shift. Weights are kept as real-valued shadows; the forward pass
rounds them to multiples of 2**-s (so that the integer weight is w * 2**s), with
straight-through gradients. After every layer, positions outside the picture's own
grid are set to zero (the edge rule), because otherwise what a bias leaves there
would depend on the bucket or tile that the picture is computed in.

Dots only, never convolutions: a convolution library may pick Winograd or FFT
algorithms, which are not exact on integers, and TF32 would round.

Source: Ballé, Johnston and Minnen 2019 (integer networks); the float32 carrier and
the edge rule are this project's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.entropy.units import (
    BIAS_SCALE,
    EXACT_LIMIT,
    KERNEL_SCALE,
    SIGNED,
    WEIGHT_BITS,
    WEIGHT_LIMIT,
)
from codax.errors import ModelError
from codax.transforms.layers import (
    Growth,
    depthwise3x3,
    grid_mask,
    normal,
    pointwise,
)

__all__ = [
    "ExactDense",
    "ExactDepthwise",
    "check_module",
    "finish_exact",
    "half_up",
    "integer_weights",
    "inward_clip",
    "keep_in_bounds",
    "straight_through_round",
]

MARGIN = 0.98
"""Share of what sums may reach that training uses; rounding weights takes the rest."""


@jax.custom_jvp
def straight_through_round(x: jax.Array) -> jax.Array:
    """Rounds to the nearest integer; the gradient is that of the identity."""
    return jnp.round(x)


@straight_through_round.defjvp
def _round_jvp(primals, tangents):
    return jnp.round(primals[0]), tangents[0]


@jax.custom_jvp
def half_up(x: jax.Array) -> jax.Array:
    """floor(x + 1/2), as an arithmetic shift rounds; straight-through gradient."""
    return jnp.floor(x + 0.5)


@half_up.defjvp
def _half_up_jvp(primals, tangents):
    return jnp.floor(primals[0] + 0.5), tangents[0]


@jax.custom_vjp
def inward_clip(x: jax.Array, lo: float, hi: float) -> jax.Array:
    """Clips; outside the range only gradients that lead back inside pass."""
    return jnp.clip(x, lo, hi)


def _inward_fwd(x, lo, hi):
    return jnp.clip(x, lo, hi), (x, lo, hi)


def _inward_bwd(saved, g):
    x, lo, hi = saved
    keep = ((x >= lo) | (g < 0)) & ((x <= hi) | (g > 0))
    return jnp.where(keep, g, 0.0), None, None


inward_clip.defvjp(_inward_fwd, _inward_bwd)


def integer_weights(shadow: jax.Array, exact: bool) -> jax.Array:
    """The integer weights of a shadow: round(shadow * 2**8), within +-1023."""
    scaled = shadow * KERNEL_SCALE
    if not exact:
        return scaled
    return inward_clip(straight_through_round(scaled), -WEIGHT_LIMIT, WEIGHT_LIMIT)


def finish_exact(
    total: jax.Array,
    bias: jax.Array,
    shift: int,
    limits: tuple[int, int],
    exact: bool,
    extent: jax.Array | None,
) -> jax.Array:
    """Adds the bias, shifts with rounding, clips, applies the edge rule.

    Args:
        total: sums of products, integers.
        bias: real-valued shadow; the integer bias is round(bias * 2**14).
        shift: right shift s.
        limits: (lo, hi); a rectifier has lo = 0.
        exact: round, or give the float twin.
        extent: see `grid_mask`.

    Returns:
        Integers in lo..hi, as float32.
    """
    bias = bias * BIAS_SCALE
    total = (total + (straight_through_round(bias) if exact else bias)) * 2.0**-shift
    if exact:
        total = half_up(total)
    lo, hi = limits
    clip = jnp.clip if lo == 0 else inward_clip
    return grid_mask(clip(total, lo, hi), extent)


class ExactDense(nnx.Module):
    """A 1x1 layer on integers.

    The parameters are `kernel`, float32[in out] (integer weight = kernel * 2**8,
    within +-1023), and `bias`, float32[out] in real units (integer bias =
    bias * 2**14).
    """

    tap_axes = (0,)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rngs: nnx.Rngs,
        relu: bool = True,
        shift: int = WEIGHT_BITS,
        limit: int = SIGNED,
        gain: float = 1.0,
        parts_out: int = 1,
        kept_in: int = 0,
    ):
        """Makes the layer.

        Args:
            inputs: channels in.
            outputs: channels out.
            rngs: random streams, `params` is used.
            relu: clip to 0..limit instead of -limit..limit.
            shift: right shift s, 1 or more.
            limit: largest absolute output.
            gain: factor on the usual He or LeCun initial scale.
            parts_out: equal parts of the outputs, see `Growth`.
            kept_in: inputs at the end that do not grow, such as latents.
        """
        scale = gain * np.sqrt((2.0 if relu else 1.0) / inputs)
        kernel = normal(rngs.params(), (inputs, outputs), scale)
        growth = Growth(parts_out=parts_out, kept_in=kept_in)
        self.kernel = nnx.Param(kernel, stored="kernel", growth=growth)
        self.bias = nnx.Param(
            jnp.zeros((outputs,)), stored="bias", growth=replace(growth, reads=False)
        )
        self.relu, self.shift, self.limit = relu, shift, limit

    def __call__(
        self, x: jax.Array, extent: jax.Array | None = None, *, exact: bool = True
    ) -> jax.Array:
        """Maps float32[N h w in] to float32[N h w out], integers to integers."""
        kernel = integer_weights(self.kernel[...], exact)
        total = pointwise(x, kernel)
        limits = (0 if self.relu else -self.limit, self.limit)
        return finish_exact(total, self.bias[...], self.shift, limits, exact, extent)


class ExactDepthwise(nnx.Module):
    """A depthwise 3x3 layer on integers: nine shifted multiply-adds.

    The parameters are `kernel`, float32[3 3 C], and `bias`, float32[C].
    """

    tap_axes = (0, 1)
    shift = WEIGHT_BITS

    def __init__(self, channels: int, *, rngs: nnx.Rngs, limit: int = SIGNED):
        """Makes the layer as the identity plus a little noise."""
        kernel = normal(rngs.params(), (3, 3, channels), 0.1)
        self.kernel = nnx.Param(kernel.at[1, 1].add(1.0), stored="kernel")
        self.bias = nnx.Param(jnp.zeros((channels,)), stored="bias")
        self.limit = limit

    def __call__(
        self, x: jax.Array, extent: jax.Array | None = None, *, exact: bool = True
    ) -> jax.Array:
        """Maps float32[N h w C] to the same shape, integers to integers."""
        kernel = integer_weights(self.kernel[...], exact)
        total = depthwise3x3(x, kernel)
        limits = (-self.limit, self.limit)
        return finish_exact(total, self.bias[...], WEIGHT_BITS, limits, exact, extent)


def keep_in_bounds(module: nnx.Module) -> None:
    """Scales down what feeds an output of an exact layer that breaks `check_module`.

    Args:
        module: layers with `kernel`, `bias` and `shift` are changed in place; a layer
            whose sums stay within 98 % of the bound keeps every bit.
    """
    layer: Any
    for _, layer in nnx.iter_modules(module):
        if not hasattr(layer, "shift"):
            continue
        kernel, most = layer.kernel[...], WEIGHT_LIMIT / KERNEL_SCALE
        used = jnp.clip(kernel, -most, most)
        products, rest = _sums(layer, used * KERNEL_SCALE, layer.bias[...] * BIAS_SCALE)
        room = MARGIN * EXACT_LIMIT - rest
        share = jnp.clip(room / jnp.maximum(products, 1.0), 0.0, 1.0)
        share = jnp.expand_dims(share, layer.tap_axes)
        # Not `[...] =`, which asks a traced array for its sharding: in a large trace
        # the answer, an error that names the array's origin, takes 0.15 seconds.
        layer.kernel.set_value(jnp.where(share < 1.0, used * share, kernel))


def _sums(layer: Any, kernel: Any, bias: Any) -> tuple[Any, Any]:
    """What the products of each output may sum to, and what bias and rounding add.

    Args:
        layer: an exact layer.
        kernel: its integer weights, of NumPy or JAX.
        bias: its integer biases.
    """
    products = abs(kernel).sum(layer.tap_axes) * SIGNED
    return products, abs(bias) + 2.0 ** (layer.shift - 1)


def check_module(name: str, module: nnx.Module) -> int:
    """Checks every exact layer of a module: sum |w| max|x| + |b| + 2**(s-1) < 2**24.

    Args:
        name: of the module, for the message.
        module: layers with `kernel`, `bias` and `shift` are checked, all inputs taken
            as +-511.

    Returns:
        The largest sum that can occur.

    Raises:
        ModelError: the bound does not hold somewhere, or a weight is not finite.
    """
    largest = 0
    layer: Any
    for path, layer in nnx.iter_modules(module):
        if not hasattr(layer, "shift"):
            continue
        where = "/".join([name, *map(str, path)])
        # In NumPy: JAX would compile these few operations for every shape of kernel.
        kernel = np.round(np.asarray(layer.kernel[...], np.float64) * KERNEL_SCALE)
        bias = np.round(np.asarray(layer.bias[...], np.float64) * BIAS_SCALE)
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise ModelError(f"layer {where}: a weight is not finite")
        kernel = np.clip(kernel, -WEIGHT_LIMIT, WEIGHT_LIMIT)
        products, rest = _sums(layer, kernel, bias)
        largest = max(largest, int((products + rest).max()))
        if largest >= EXACT_LIMIT:
            raise ModelError(
                f"layer {where}: sums reach {largest}, float32 is exact below "
                f"{EXACT_LIMIT}; the weights are too large for the exact path"
            )
    return largest
