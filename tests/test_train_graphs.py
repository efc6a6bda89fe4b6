"""Graphs from modules: what they hold, and what is said where one cannot be made."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_codecs import packed_codec, small_codec, synthetic

from codax.coding.samples import SampleCoder
from codax.coding.sessions import Sessions
from codax.errors import ModelError, UnsupportedError
from codax.train.graphs.builder import Builder, Tensor
from codax.train.graphs.networks import add_graphs, graphs_of, probe_sums
from codax.zoo.graphs import GRAPHS_FILE, has_graphs, read_graphs
from codax.zoo.weights import read_checkpoint, write_checkpoint


def test_graphs_of_a_codec_hold_no_weights_and_code():
    codec, (packed, card) = small_codec("quadtree"), packed_codec("quadtree")
    graphs = graphs_of(codec.model, packed)
    assert set(graphs) == {"analysis", "synthesis", "features", "y0", "y1", "y2", "y3"}
    assert sum(len(graph.model) for graph in graphs.values()) < 200_000
    for graph in graphs.values():
        assert set(graph.weights) <= set(packed)
        for path in graph.weights:
            if packed[path].nbytes > 64:
                assert packed[path].tobytes() not in graph.model
    order = codec.coder.order
    runtime = Sessions(graphs, packed, order, probe_sums(codec.model, graphs, packed))
    rgb = synthetic(40, 70)
    one = codec.coder.compress(rgb, 120)
    two = SampleCoder(packed, card, order, runtime).compress(rgb, 120)
    # Floats of an analysis may round a latent otherwise.
    assert abs(len(one) - len(two)) <= 8


def test_a_checkpoint_with_graphs(tmp_path):
    packed, card = packed_codec("factorized")
    write_checkpoint(tmp_path, packed, card)
    add_graphs(tmp_path, small_codec("factorized").model, packed)
    known = read_checkpoint(tmp_path)[1]
    assert has_graphs(known)
    assert set(read_graphs(tmp_path, known)) == {"analysis", "synthesis"}
    path = tmp_path / GRAPHS_FILE
    first = path.read_bytes()
    add_graphs(tmp_path, small_codec("factorized").model, packed)
    assert path.read_bytes() == first
    path.write_bytes(first + b"more")
    with pytest.raises(ModelError, match=r"does not belong to card\.json"):
        read_graphs(tmp_path, known)
    path.unlink()
    with pytest.raises(ModelError, match="no readable graphs"):
        read_graphs(tmp_path, known)
    with pytest.raises(ModelError, match=r"has no graphs .* `runtime=jax`"):
        read_graphs(tmp_path, card)


def test_a_network_beyond_graphs_is_noted(tmp_path, monkeypatch):
    packed, card = packed_codec("factorized")
    write_checkpoint(tmp_path, packed, card)
    model = small_codec("factorized").model
    kind = type(model)

    def analysis(self, x, quality, extent=None):
        return {"y": jnp.sort(x, -1)}

    monkeypatch.setattr(kind, "analysis", analysis)
    with pytest.raises(UnsupportedError, match="the operation sort is unknown"):
        graphs_of(model, packed)
    add_graphs(tmp_path, model, packed)
    known = json.loads((tmp_path / "card.json").read_text())
    assert not has_graphs(known)
    with pytest.raises(ModelError, match="operation sort is unknown"):
        read_graphs(tmp_path, known)

    def fixed(self, x, quality, extent=None):
        return {"y": jnp.asarray(np.zeros(x.shape))}

    monkeypatch.setattr(kind, "analysis", fixed)
    with pytest.raises(UnsupportedError, match="graph analysis: cannot be traced"):
        graphs_of(model, packed)


def test_powers_of_two_move_into_products_and_others_do_not():
    from codax.train.graphs.rules import RULES

    builder = Builder()
    x = Tensor("x", (1, 8), np.dtype(np.float32))
    traced = jax.make_jaxpr(lambda a: a * 0.25 + 1.0)(np.ones((1, 8), np.float32))
    first, second = traced.jaxpr.eqns
    (scaled,) = RULES["mul"](builder, [x, np.asarray(np.float32(0.25))], first)
    (moved,) = RULES["add"](builder, [scaled, np.asarray(np.float32(1))], second)
    assert (moved.scale, moved.offset.tolist()) == (0.25, 1.0)
    assert not builder.nodes
    RULES["mul"](builder, [x, np.asarray(np.float32(0.3))], first)
    assert [node.op_type for node in builder.nodes] == ["Mul"]
