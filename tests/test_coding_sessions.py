"""ONNX Runtime against JAX and the NumPy oracle: whole numbers equal, pixels close."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_codecs import packed_codec, photo, synthetic

from codax.coding.oracle import Oracle
from codax.coding.order import extent
from codax.coding.samples import SampleCoder
from codax.coding.sessions import Sessions, probe
from codax.errors import ConfigError, ModelError, UnsupportedError
from codax.face.building import build_networks
from codax.files import container
from codax.zoo.graphs import read_graphs
from codax.zoo.weights import read_checkpoint, read_order

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(path.parent for path in GOLDEN.glob("*/golden.json"))
NAMES = [folder.name for folder in FOLDERS]
SIZES = [(1, 1), (64, 64), (17, 33), (121, 75)]
"""Of one bucket, since JAX compiles for each."""
TILED = (500, 130)
QUALITIES = (0, 200, 73, 111)


@functools.cache
def parts(name):
    """Graphs, stored arrays, order and tests of a golden codec."""
    packed, card = read_checkpoint(GOLDEN / name)
    graphs = read_graphs(GOLDEN / name, card)
    return graphs, packed, read_order(GOLDEN / name), card["graphs"]["tests"]


def coder(name, runtime):
    """Samples to streams with a runtime."""
    packed, card = read_checkpoint(GOLDEN / name)
    return SampleCoder(packed, card, runtime.order, runtime)


@functools.cache
def on_jax(name):
    """The golden codec on JAX."""
    return coder(name, build_networks(*read_checkpoint(GOLDEN / name)))


@functools.cache
def on_onnx(name, **options):
    """The golden codec on ONNX Runtime."""
    return coder(name, Sessions(*parts(name), **options))


def random_state(order, size, random):
    """Whole numbers of every array of an order, on the grids of a picture."""
    state = {}
    for name in order.channels:
        shape = (1, *order.padded(*size, name), order.channels[name])
        value = random.integers(-600, 600, shape)
        sizes = getattr(order.sources.get(name), "sizes", None)
        if sizes:
            value %= min(n for n, _ in sizes)
        rows, columns = extent(*size, order.strides[name])
        value[:, rows:], value[:, :, columns:] = 0, 0
        state[name] = value.astype(np.float32)
    return state


@pytest.mark.parametrize("name", NAMES)
def test_exact_networks_give_the_integers_of_jax_and_of_the_oracle(name):
    random = np.random.default_rng(0)
    runtime, networks = on_onnx(name).runtime, on_jax(name).runtime
    oracle = Oracle(*parts(name)[:3])
    for size, quality in zip(SIZES, QUALITIES, strict=True):
        state = random_state(runtime.order, size, random)
        here = runtime.steps(*size, quality)
        others = [networks.steps(*size, quality)]
        if size == SIZES[-1]:
            others.append(oracle.steps(*size, quality))
        for step in runtime.order.steps:
            if step.network is None or step.whole:
                continue
            found = here(step, state, None)
            for other in others:
                for one, two in zip(found, other(step, state, None), strict=True):
                    np.testing.assert_array_equal(one, two, err_msg=step.name)


def same_decoding(codecs, stream, size, quality, trellis):
    """Checks that latents are equal and pixels within one level; returns latents."""
    arguments = (stream, *size, quality)
    found = [c.decode_latents(*arguments, trellis=trellis) for c in codecs]
    assert found[0].keys() == found[1].keys()
    for target in found[0]:
        np.testing.assert_array_equal(found[0][target], found[1][target])
    pixels = [c.decompress(*arguments, trellis=trellis) for c in codecs]
    apart = np.abs(np.subtract(*pixels, dtype=np.int32))
    assert apart.max() <= 1
    assert np.mean(apart > 0) < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_files_decode_equally_in_both_runtimes(name):
    codecs = on_jax(name), on_onnx(name)
    for path in sorted((GOLDEN / name).glob("*.codax")):
        file = container.read(path.read_bytes())
        size = file.height, file.width
        same_decoding(codecs, file.stream, size, file.quality, file.trellis)
    low, high = (2 * quality for quality in codecs[0].qualities)
    for size, quality in zip(SIZES[2:], (low, (low + high) // 2), strict=True):
        stream = codecs[1].compress(synthetic(*size), quality)
        same_decoding(codecs, stream, size, quality, None)


@pytest.mark.parametrize("name", ["quadtree", "wavelet", "wavelet-lossless"])
def test_tiles_change_nothing_that_is_decoded(name):
    whole, tiled = on_onnx(name), on_onnx(name, buckets=(28,))
    low, high = whole.qualities
    rgb, quality = synthetic(*TILED), low + high
    stream = whole.compress(rgb, quality)
    one, two = (c.decode_latents(stream, *TILED, quality) for c in (whole, tiled))
    for target in one:
        np.testing.assert_array_equal(one[target], two[target])


def test_sides_are_free():
    session = on_onnx("quadtree").runtime._session("synthesis")
    assert session.get_inputs()[0].shape == [1, "4*rows", "4*columns", 16]
    assert session.get_outputs()[0].shape == [1, "64*rows", "64*columns", 3]


# What is refused, in one line.


def refused(error, act):
    with pytest.raises(error) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_processor_that_fails_the_test_is_refused():
    graphs, packed, order, tests = parts("hyperprior")
    runtime = Sessions(graphs, packed, order, tests | {"y": "00000000"})
    (step,) = (step for step in order.steps if step.name == "y")
    state = random_state(order, (64, 64), np.random.default_rng(0))
    run = runtime.steps
    words = refused(UnsupportedError, lambda: run(64, 64, 100)(step, state, None))
    assert "step y" in words
    assert "runtime=jax" in words


def test_a_graph_that_is_missing_or_of_other_weights():
    graphs, packed, order, tests = parts("hyperprior")
    fewer = {name: graph for name, graph in graphs.items() if name != "y"}
    words = refused(ModelError, lambda: Sessions(fewer, packed, order, tests))
    assert "step y" in words
    others = packed_codec("quadtree")[0]
    cut = {path: value[:1] if value.ndim else value for path, value in packed.items()}
    for arrays in (others | {"g_a/klt": others["g_a/klt"][:1]}, cut, {}):
        runtime = Sessions(graphs, arrays, order, tests)
        words = refused(ModelError, lambda r=runtime: r.analyse(photo()[:64, :64], 100))
        assert "graph analysis does not fit the weights" in words


def test_an_old_runtime_or_none(monkeypatch):
    arguments = parts("hyperprior")
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "__version__", "1.9.0")
    words = refused(UnsupportedError, lambda: Sessions(*arguments))
    assert "is 1.9.0, expected 1.19 or newer" in words
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    words = refused(UnsupportedError, lambda: Sessions(*arguments))
    assert "pip install" in words


def test_buckets_that_hold_no_picture():
    arguments = parts("hyperprior")
    words = refused(ConfigError, lambda: Sessions(*arguments, buckets=(8, 16)))
    assert "tiles overlap" in words


def test_the_probe_reaches_far_and_stays_what_it_is():
    order = parts("quadtree")[2]
    (step,) = (step for step in order.steps if step.name == "y1")
    *reads, own = probe(order, step)
    assert [r.shape for r in reads] == [(1, 8, 8, 16), (1, 8, 8, 16)]
    assert own.tolist() == [7, 6]
    assert reads[0].min() < -500
    assert reads[0].max() > 500
    assert reads[0].ravel()[:4].tolist() == [-512.0, 120.0, -271.0, 362.0]


FORKS = """
import multiprocessing, sys
sys.path.insert(0, sys.argv[1])
from test_coding_sessions import on_onnx, synthetic

rgb, codec = synthetic(70, 200), on_onnx("quadtree")
here = codec.compress(rgb, 100)


def there(_):
    return codec.compress(rgb, 100)


with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(there, range(4), chunksize=1) == [here] * 4
assert there(0) == here
"""


def test_a_process_that_forks_after_use_goes_on():
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, str(Path(__file__).parent)],
        check=True,
        timeout=120,
    )
