"""Exact layers against an integer formula written out here, bounds and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from codax.entropy.exact import (
    ExactDense,
    ExactDepthwise,
    check_module,
    half_up,
    inward_clip,
    keep_in_bounds,
    straight_through_round,
)
from codax.entropy.networks import PhaseDense
from codax.entropy.units import EXACT_LIMIT
from codax.errors import ModelError

H, W, IN, OUT = 6, 8, 12, 10


def integers(layer):
    """The stored integers of a layer: weights times 2**8, biases times 2**14."""
    kernel = np.round(np.asarray(layer.kernel[...], np.float64) * 256)
    bias = np.round(np.asarray(layer.bias[...], np.float64) * 16384)
    return np.clip(kernel, -1023, 1023).astype(np.int64), bias.astype(np.int64)


def finish(total, shift, low, high, extent):
    """Shift with rounding, clip, edge rule; all in int64."""
    out = np.clip((total + (1 << (shift - 1))) >> shift, low, high)
    out[:, extent[0] :] = 0
    out[:, :, extent[1] :] = 0
    return out


def filled(layer, kernel_scale, seed):
    """The layer with loud weights and biases that lie off the grid."""
    random = np.random.default_rng(seed)
    for name, scale in (("kernel", kernel_scale), ("bias", 2 * kernel_scale)):
        param = getattr(layer, name)
        value = random.normal(0, scale, param.shape)
        param[...] = jnp.asarray(value, jnp.float32)
    return layer


def activations(seed, channels=IN):
    random = np.random.default_rng(seed)
    return random.integers(-511, 512, (2, H, W, channels))


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("shift", "limit"), [(8, 511), (4, 8191), (1, 511)])
def test_dense_equals_the_integer_formula(relu, shift, limit):
    layer = ExactDense(IN, OUT, rngs=nnx.Rngs(0), relu=relu, shift=shift, limit=limit)
    filled(layer, 0.8 if shift > 1 else 0.01, shift)
    x, (kernel, bias) = activations(1), integers(layer)
    extent = np.array([5, 6], np.int32)
    low = 0 if relu else -limit
    expected = finish(x @ kernel + bias, shift, low, limit, extent)
    got = jax.jit(lambda x: layer(x, extent))(x.astype(np.float32))
    assert np.array_equal(np.asarray(got), expected)
    assert np.unique(expected).size > 20


def test_depthwise_equals_the_integer_formula():
    layer = filled(ExactDepthwise(IN, rngs=nnx.Rngs(0)), 0.5, 3)
    x, (kernel, bias) = activations(2), integers(layer)
    extent = np.array([H, 7], np.int32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = bias + sum(
        padded[:, i : i + H, j : j + W] * kernel[i, j]
        for i in range(3)
        for j in range(3)
    )
    expected = finish(total, 8, -511, 511, extent)
    got = jax.jit(lambda x: layer(x, extent))(x.astype(np.float32))
    assert np.array_equal(np.asarray(got), expected)


def test_phase_layer_equals_the_integer_formula():
    layer = PhaseDense(IN, OUT, rngs=nnx.Rngs(0), shift=4, limit=8191)
    filled(layer, 0.5, 4)
    x, (kernel, bias) = activations(3), integers(layer)
    total = np.empty((2, H, W, OUT), np.int64)
    for i in range(2):
        for j in range(2):
            phase = 2 * i + j
            total[:, i::2, j::2] = x[:, i::2, j::2] @ kernel[phase] + bias[phase]
    expected = finish(total, 4, -8191, 8191, (3, W))
    got = layer(x.astype(np.float32), np.array([3, W], np.int32))
    assert np.array_equal(np.asarray(got), expected)


def test_sums_just_below_the_limit_are_exact():
    layer = ExactDense(64, 1, rngs=nnx.Rngs(0), relu=False, shift=1, limit=2**23)
    weights = np.full((64, 1), 513 / 256, np.float32)  # odd, so the last bit counts
    weights[::2] *= -1
    layer.kernel[...] = jnp.asarray(weights)
    layer.bias[...] = jnp.zeros(1)
    assert check_module("layer", layer) == 64 * 513 * 511 + 1 < EXACT_LIMIT
    x = np.sign(weights[:, 0]) * 511
    x[0] = -510
    total = int(np.round(weights[:, 0] * 256).astype(np.int64) @ x.astype(np.int64))
    got = layer(x.reshape(1, 1, 1, 64).astype(np.float32))
    assert float(got[0, 0, 0, 0]) == (total + 1) >> 1


@pytest.mark.parametrize("kind", ["dense", "depthwise", "phase"])
def test_weights_beyond_the_bound_are_refused(kind):
    if kind == "dense":
        layer = ExactDense(64, 2, rngs=nnx.Rngs(0))
    elif kind == "phase":
        layer = PhaseDense(64, 2, rngs=nnx.Rngs(0), shift=8, limit=511)
    else:
        layer = ExactDepthwise(2, rngs=nnx.Rngs(0))
    check_module("net", layer)
    layer.kernel[...] = jnp.full(layer.kernel.shape, 3.9)
    if kind == "depthwise":
        # Nine taps cannot pass the limit; a bias can.
        layer.bias[...] = jnp.full(layer.bias.shape, 2.0**24 / 2**14)
    with pytest.raises(ModelError, match=r"layer net.*exact below 16777216"):
        check_module("net", layer)
    if kind == "depthwise":
        layer.bias[...] = layer.bias[...] * 0.9
        layer.kernel[...] = layer.kernel[...] * 1000
    keep_in_bounds(layer)
    assert 0.97 * EXACT_LIMIT < check_module("net", layer) < EXACT_LIMIT


def test_weights_within_the_bound_keep_every_bit():
    layer = ExactDense(64, 2, rngs=nnx.Rngs(0))
    before = np.array(layer.kernel[...])
    keep_in_bounds(layer)
    np.testing.assert_array_equal(layer.kernel[...], before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    layer = ExactDense(4, 4, rngs=nnx.Rngs(0))
    layer.kernel[...] = layer.kernel[...].at[1, 2].set(bad)
    with pytest.raises(ModelError, match="not finite"):
        check_module("net", layer)
    layer = ExactDense(4, 4, rngs=nnx.Rngs(0))
    layer.bias[...] = layer.bias[...].at[1].set(bad)
    with pytest.raises(ModelError, match="not finite"):
        check_module("net", layer)


def test_rounding_gradients_are_those_of_the_identity():
    x = jnp.asarray([-1.5, -0.2, 0.5, 2.7])
    for function in (straight_through_round, half_up):
        assert np.array_equal(jax.grad(lambda x, f=function: f(x).sum())(x), [1] * 4)
    assert np.array_equal(half_up(x), [-1, 0, 1, 3])
    assert np.array_equal(straight_through_round(x), [-2, 0, 0, 3])


def test_clip_passes_only_gradients_that_lead_inside():
    x = jnp.asarray([-3.0, -3.0, 0.5, 3.0, 3.0])
    g = jnp.asarray([1.0, -1.0, 1.0, 1.0, -1.0])
    # A step against the gradient moves x up where g < 0, down where g > 0.
    gradient = jax.grad(lambda x: (inward_clip(x, -1.0, 1.0) * g).sum())(x)
    assert np.array_equal(gradient, [0, -1, 1, 1, 0])


def test_exact_layers_have_useful_gradients():
    layer = ExactDense(IN, OUT, rngs=nnx.Rngs(0), relu=False)
    graph, params = nnx.split(layer, nnx.Param)
    x = activations(5).astype(np.float32)

    def loss(params, x):
        return nnx.merge(graph, params)(x).sum()

    grads, by_x = jax.grad(loss, (0, 1))(params, x)
    for value in [*jax.tree.leaves(grads), by_x]:
        assert np.all(np.isfinite(value))
        assert np.any(value != 0)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(-(2**23), 2**23), st.integers(1, 12))
def test_shift_rounds_as_an_arithmetic_shift(total, shift):
    got = half_up(jnp.float32(total) * jnp.float32(2.0**-shift))
    if abs(total) + (1 << (shift - 1)) < EXACT_LIMIT:
        assert int(got) == (total + (1 << (shift - 1))) >> shift
