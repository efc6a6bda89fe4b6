"""Quantisers: one interface, gradients, usage, revival, and what layers add."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from codax.entropy.clusters import (
    k_means,
    nearest,
    prices,
    prices_by_kind,
    usage,
)
from codax.entropy.quantisers import (
    FiniteScalar,
    Layer,
    ResidualQuantiser,
    Rounding,
    VectorQuantiser,
)
from codax.errors import ConfigError

LAYERS = (
    Layer(tokens=1, codes=16, dimension=4),
    Layer(tokens=2, codes=8, dimension=3),
    Layer(tokens=2, codes=8, dimension=3),
)


def vectors(count, dimension, seed=0):
    random = np.random.default_rng(seed)
    scale = 4.0 / (1.0 + np.arange(dimension))
    return (random.standard_normal((count, dimension)) * scale).astype(np.float32)


def residual(x):
    """A residual quantiser whose layers start at clusters of what is left."""
    quantiser = ResidualQuantiser(x.shape[-1], LAYERS, rngs=nnx.Rngs(0), kinds=2)
    left = jnp.asarray(x)
    for number, layer in enumerate(LAYERS):
        views = quantiser.view(left, number)
        own = getattr(quantiser, f"layer{number}")
        own.start(np.asarray(views).reshape(-1, layer.dimension))
        left = left - quantiser.unview(own.values(own.nearest(views)), number)
    return quantiser


def every_quantiser():
    return [
        Rounding(40, channels=6),
        FiniteScalar((2, 3, 5, 8, 9, 4)),
        VectorQuantiser(32, 6, rngs=nnx.Rngs(0)),
        VectorQuantiser(32, 6, rngs=nnx.Rngs(0), normalised=True),
        residual(vectors(400, 6)),
    ]


@pytest.mark.parametrize("quantiser", every_quantiser(), ids=lambda q: type(q).__name__)
def test_one_interface(quantiser):
    x = jnp.asarray(vectors(3 * 20, 6).reshape(3, 4, 5, 6))
    found = quantiser(x)
    sizes = quantiser.vocabulary
    assert found.tokens.shape == (3, 4, 5, len(sizes))
    assert found.tokens.dtype == jnp.int32
    assert np.all(found.tokens >= 0)
    assert np.all(np.asarray(found.tokens) < np.array(sizes))
    assert found.loss.shape == (3,)
    again = quantiser.values(found.tokens)
    np.testing.assert_allclose(again, found.values, atol=1e-4)
    # Straight through: the gradient of a sum of values is 1 for each component.
    inner = x * 0.03
    gradient = jax.grad(lambda x: quantiser(x).values.sum())(inner)
    np.testing.assert_allclose(gradient, np.ones_like(gradient), atol=1e-5)


def test_finite_scalars_lie_on_their_levels():
    quantiser = FiniteScalar((2, 5))
    x = jnp.asarray([[-9.0, -9.0], [0.2, 0.4], [9.0, 9.0], [-0.1, 0.6]])
    found = quantiser(x)
    assert found.tokens.tolist() == [[0, 0], [1, 2], [1, 4], [0, 3]]
    assert found.values.tolist() == [[-0.5, -2], [0.5, 0], [0.5, 2], [-0.5, 1]]
    # Outside, only gradients that lead back inside pass.
    pull = jax.grad(lambda x: (quantiser(x).values * jnp.asarray([1.0, -1.0])).sum())
    assert pull(x)[2].tolist() == [1.0, 0.0]
    with pytest.raises(ConfigError, match="levels"):
        FiniteScalar((1, 5))


def test_clusters_serve_vectors_better_than_chosen_ones():
    x = vectors(2000, 4)
    codes = k_means(x, 32)
    chosen = x[:32]

    def error(codes):
        return ((x[:, None] - codes[None]) ** 2).sum(-1).min(1).mean()

    assert error(codes) < 0.7 * error(chosen)
    assert k_means(x[:5], 32).shape == (32, 4)


def test_dead_codes_come_back():
    x = vectors(1000, 4)
    quantiser = VectorQuantiser(32, 4, rngs=nnx.Rngs(0))
    quantiser.codes[...] = quantiser.codes[...].at[8:].add(1000.0)
    tokens = np.asarray(quantiser.nearest(jnp.asarray(x)))[:, 0]
    assert usage(tokens, 32)[0] <= 0.25
    assert quantiser.revive(x, tokens) == 24
    tokens = np.asarray(quantiser.nearest(jnp.asarray(x)))[:, 0]
    assert usage(tokens, 32)[0] > 0.75
    assert quantiser.revive(x[:32], np.arange(32)) == 0


def test_prices_make_frequent_codes_more_frequent():
    x = vectors(2000, 4)
    quantiser = VectorQuantiser(32, 4, rngs=nnx.Rngs(0))
    quantiser.start(x)
    plain = np.asarray(quantiser.nearest(jnp.asarray(x)))
    bits = prices(plain, 32)
    assert bits.max() <= 8
    priced = np.asarray(quantiser.nearest(jnp.asarray(x), jnp.asarray(2.0 * bits)))
    assert usage(priced, 32)[1] < usage(plain, 32)[1]


def test_prices_follow_the_kind_of_the_code_before():
    random = np.random.default_rng(0)
    kinds = random.integers(0, 2, 4000)
    tokens = np.where(kinds == 0, 0, random.integers(0, 16, 4000))
    bits = prices_by_kind(tokens, kinds, 3, 16)
    assert bits[0, 0] < 0.2 < 3 < bits[1, 0] < 5
    assert bits[0, 1] > bits[1, 1] + 2
    np.testing.assert_allclose(bits[2], prices(tokens, 16), atol=0.02)
    # The same choice in NumPy and in the network.
    x = vectors(64, 6)
    quantiser = residual(x)
    price = np.abs(vectors(8, 2, 1)).T.copy()
    quantiser.price1[...] = jnp.asarray(price)
    quantiser.kind0[...] = jnp.asarray(np.arange(16) % 2, jnp.float32)
    found = np.asarray(quantiser(jnp.asarray(x)[:, None]).tokens)[:, 0]
    first = quantiser.layer0.values(found[:, :1])
    left = x - quantiser.unview(first[:, None], 0)
    views = np.asarray(quantiser.view(left, 1)).reshape(-1, 3)
    rows = np.repeat(found[:, 0] % 2, 2)
    codes = np.asarray(quantiser.layer1.codes[...])
    assert np.array_equal(nearest(views, codes, price, rows), found[:, 1:3].ravel())


@pytest.mark.parametrize("normalised", [False, True])
def test_training_moves_codes_and_uses_more_than_half(normalised):
    x = vectors(512, 4)
    quantiser = VectorQuantiser(64, 4, rngs=nnx.Rngs(0), normalised=normalised)
    quantiser.start(x[:128])
    graph, state = nnx.split(quantiser)

    @jax.jit
    def step(state):
        def loss(state):
            found = nnx.merge(graph, state)(x[None])
            return found.loss[0] + ((found.values - x[None]) ** 2).mean()

        value, gradient = jax.value_and_grad(loss)(state)
        return jax.tree.map(lambda p, g: p - 1.0 * g, state, gradient), value

    values = []
    for _ in range(100):
        state, value = step(state)
        values.append(float(value))
    assert values[-1] < 0.9 * values[0]
    tokens = np.asarray(nnx.merge(graph, state).nearest(jnp.asarray(x)))
    assert usage(tokens, 64)[0] >= 0.5


def test_every_layer_adds_and_the_first_are_enough():
    x = vectors(600, 6)
    quantiser = residual(x)
    found = quantiser(jnp.asarray(x)[:, None])
    errors = []
    for used in (1, 2, 3):
        layers = jnp.full((600,), used)
        part = quantiser(jnp.asarray(x)[:, None], layers)
        assert np.array_equal(part.tokens, found.tokens)
        errors.append(float(((part.values[:, 0] - x) ** 2).mean()))
        first = found.tokens[..., : quantiser.starts[used]]
        np.testing.assert_allclose(quantiser.values(first), part.values, atol=1e-4)
        np.testing.assert_allclose(
            quantiser.values(found.tokens, layers), part.values, atol=1e-4
        )
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]
    with pytest.raises(ConfigError, match="0 tokens"):
        quantiser.values(found.tokens[..., :0])


def test_a_short_training_uses_more_than_half_of_every_layer():
    x = vectors(512, 6)
    graph, params, rest = nnx.split(residual(x[:128]), nnx.Param, ...)

    @jax.jit
    def step(params, used):
        def loss(params):
            found = nnx.merge(graph, params, rest)(x[:, None], used)
            return found.loss.mean() + ((found.values[:, 0] - x) ** 2).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.2 * g, params, gradient), value

    random = np.random.default_rng(0)
    everything = np.full(512, len(LAYERS))
    first = float(step(params, everything)[1])
    for _ in range(60):
        params, _ = step(params, random.integers(1, len(LAYERS) + 1, 512))
    assert float(step(params, everything)[1]) < first
    tokens = nnx.merge(graph, params, rest)(jnp.asarray(x)[:, None]).tokens
    sizes = [layer.codes for layer in LAYERS for _ in range(layer.tokens)]
    for place, size in enumerate(sizes):
        assert usage(np.asarray(tokens[..., place]), size)[0] >= 0.5
