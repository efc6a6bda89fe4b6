"""The NumPy oracle and compiled XLA agree bit for bit, step by step."""

from pathlib import Path

import jax
import numpy as np
import pytest
from onnx import TensorProto, helper
from small_codecs import packed_codec, photo, small_codec

from codax.codecs.families import FAMILIES
from codax.coding.oracle import Oracle, Program
from codax.coding.sessions import Graph
from codax.entropy.units import LATENT_LIMIT
from codax.errors import ModelError, UnsupportedError
from codax.face.codec import Codec
from codax.zoo.cards import list_cards
from codax.zoo.graphs import read_graphs
from codax.zoo.weights import read_checkpoint

GOLDEN = Path(__file__).parent / "golden"
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
    prior, oracle = codec.model.prior, codec.coder.oracle()
    compared = 0
    for number, (step, own) in enumerate(
        zip(prior.steps, oracle.order.steps, strict=True)
    ):
        if step.network is None or step.whole:
            continue
        reads = random_state(codec, step, number)

        def network(q, *arrays, step=step):
            return step.network(prior, *arrays, q, EXTENT)

        compiled = jax.jit(network)
        for quality in (0, 77, 200):
            q = np.array([quality], np.int32)
            ours = oracle.network(own, quality)[0](*reads, EXTENT)
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
    # Of the tiles of `prefix` a picture has few.
    assert compared > 60 or not has_networks


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


def graph_of(kind, *shapes, **attributes):
    """A graph of one node."""
    names = [f"x{k}" for k in range(len(shapes))]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node(kind, names, ["y"], **attributes)
    model = helper.make_model(helper.make_graph([node], "g", values, [out]))
    return Program.read(Graph(model.SerializeToString(), ()), {})


def test_operations_beyond_exact_networks_are_refused():
    with pytest.raises(UnsupportedError, match="operation Exp is not part"):
        graph_of("Exp", (3,))(np.ones(3, np.float32))
    whole = graph_of("Conv", (1, 2, 4, 4), (2, 2, 3, 3), pads=[1, 1, 1, 1])
    with pytest.raises(UnsupportedError, match="only depthwise 3x3"):
        whole(np.ones((1, 2, 4, 4)), np.ones((2, 2, 3, 3)))


def test_graphs_that_are_missing():
    codec = Codec.from_folder(GOLDEN / "hyperprior")
    packed, order = read_checkpoint(GOLDEN / "hyperprior")[0], codec.coder.order
    (step,) = (step for step in order.steps if step.name == "y")
    with pytest.raises(ModelError, match="there is none of 'y'"):
        Oracle({}, packed, order).network(step, 0)
    graphs = read_graphs(GOLDEN / "hyperprior", codec.card)
    with pytest.raises(ModelError, match=r"weights: .* is missing"):
        Oracle(graphs, {}, order).network(step, 0)
    bare = Codec(*packed_codec("factorized"))
    stream = bare.coder.compress(photo()[:64, :64], 100)
    with pytest.raises(UnsupportedError, match="has no graphs, which the oracle takes"):
        bare.coder.decode_latents(stream, 64, 64, 100, oracle=True)
