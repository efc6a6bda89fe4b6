"""The NumPy oracle and compiled XLA agree bit for bit, step by step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_codecs import photo, small_codec

from codax.codecs.families import FAMILIES
from codax.entropy.oracle import evaluate
from codax.entropy.units import LATENT_LIMIT
from codax.errors import UnsupportedError
from codax.face.codec import Codec
from codax.zoo.cards import list_cards

GRID = (8, 12)
EXTENT = np.array([7, 10], np.int32)


def random_state(codec, step, seed):
    """Inputs of a step: integers over the whole range that the format allows."""
    random = np.random.default_rng(seed)
    prior = codec.model.prior
    arrays = []
    for name in step.reads:
        stride = prior.strides[name]
        limit = 511 if name.endswith("features") else LATENT_LIMIT
        limit = 60 if name == "z" else limit
        sides = [int(side * stride) for side in GRID]
        shape = (1, *sides, prior.channels[name])
        value = random.integers(-limit, limit + 1, shape).astype(np.float32)
        if limit == LATENT_LIMIT:  # most latents are small
            value = np.round(value * random.random(shape) ** 8)
        if codec.coder.layers > 1:  # latents are tokens
            value = value % np.asarray(codec.vocabulary)
        if name != "z":
            value[:, int(EXTENT[0] * stride) :] = 0
            value[:, :, int(EXTENT[1] * stride) :] = 0
        arrays.append(value)
    return arrays


def assert_oracle_agrees(codec):
    prior = codec.model.prior
    compared = 0
    for number, step in enumerate(prior.steps):
        if step.network is None or step.whole:
            continue
        reads = random_state(codec, step, number)

        def network(q, *arrays, step=step):
            return step.network(prior, *arrays, q, EXTENT)

        compiled = jax.jit(network)
        for quality in (0, 77, 200):
            q = np.array([quality], np.int32)
            ours = evaluate(functools.partial(network, q), *reads)
            for expected, got in zip(ours, compiled(q, *reads), strict=True):
                assert expected.dtype == np.float32
                assert np.array_equal(expected, np.asarray(got)), step.name
                assert np.array_equal(expected, np.round(expected)), step.name
                compared += expected.size
    return compared


@pytest.mark.parametrize("name", FAMILIES)
def test_random_weights(name):
    codec = small_codec(name)
    compared = assert_oracle_agrees(codec)
    has_networks = any(step.network for step in codec.model.prior.steps)
    assert compared > 1000 or not has_networks


@pytest.mark.parametrize("card", list_cards(), ids=lambda card: card.name)
def test_trained_weights(card):
    assert_oracle_agrees(Codec.from_folder(card.folder, runtime="jax"))


@pytest.mark.parametrize("name", FAMILIES)
def test_files_decode_equally_by_oracle(name):
    codec = small_codec(name)
    rgb = photo()[:100, 230:380]
    stream = codec.coder.compress(rgb, 120)
    usual = codec.coder.decode_latents(stream, 100, 150, 120)
    oracle = codec.coder.decode_latents(stream, 100, 150, 120, oracle=True)
    assert usual.keys() == oracle.keys()
    for key in usual:
        assert np.array_equal(usual[key], oracle[key])
        assert np.any(usual[key])


def test_operations_beyond_exact_networks_are_refused():
    with pytest.raises(UnsupportedError, match="operation exp"):
        evaluate(lambda x: (jnp.exp(x),), np.ones(3, np.float32))


def test_dots_of_a_batch_of_batches_are_refused():
    x = np.ones((2, 2, 3, 3), np.float32)
    with pytest.raises(UnsupportedError, match="only batches of matrices"):
        evaluate(lambda x: (jnp.matmul(x, x),), x)
