"""Layers: what bfloat16 changes in training, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from codax.entropy.exact import ExactDense
from codax.transforms.layers import Dense, pointwise


def halves(x):
    return np.asarray(jnp.asarray(x).astype(jnp.bfloat16).astype(jnp.float32))


@pytest.fixture
def factors():
    random = np.random.default_rng(0)
    x, kernel, g = (random.normal(size=s) for s in ((2, 3, 5, 24), (24, 8), (30, 8)))
    return x.astype(np.float32), kernel.astype(np.float32), g.astype(np.float32)


@pytest.mark.parametrize("rounded", [False, True])
def test_products_are_whole_unless_asked_for(factors, rounded):
    x, kernel, _ = factors
    found = pointwise(x, kernel, rounded=rounded)
    assert np.allclose(found, x @ kernel, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rounded", [False, True])
def test_products_of_bfloat16(factors, rounded):
    x, kernel, g = factors
    with jax.default_matmul_precision("bfloat16"):
        found, slope = jax.vjp(lambda *a: pointwise(*a, rounded=rounded), x, kernel)
        by_x, by_kernel = slope(jnp.asarray(g.reshape(found.shape)))
    expected = halves(x) @ halves(kernel) if rounded else x @ kernel
    assert np.allclose(found, expected, rtol=0, atol=1e-5)
    assert found.dtype == by_x.dtype == by_kernel.dtype == jnp.float32
    back = (halves(g) @ halves(kernel).T).reshape(x.shape)
    assert np.allclose(by_x, back, rtol=0, atol=1e-5)
    assert not np.allclose(by_x.reshape(-1, 24), g @ kernel.T, rtol=0, atol=1e-4)
    # On an accelerator its factors are rounded, too.
    assert np.allclose(by_kernel, x.reshape(-1, 24).T @ g, rtol=0, atol=0.2)


def test_exact_layers_stay_exact():
    x = np.random.default_rng(0).integers(-511, 512, (1, 4, 4, 64)).astype(np.float32)
    exact = ExactDense(64, 16, rngs=nnx.Rngs(0), relu=False, shift=1, limit=2**20)
    rounded = Dense(64, 16, rngs=nnx.Rngs(0))
    before = exact(x), rounded(x)
    with jax.default_matmul_precision("bfloat16"):
        after = exact(x), rounded(x)
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1], after[1])
