"""Files with an enhancement layer: any picture, any quality; what training pays."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_codecs import (
    packed_codec,
    photo,
    small_networks,
    synthetic,
    traced,
    with_trellis,
)

from codax.codecs.enhancement import fit_errors
from codax.coding.enhancement import ERRORS, FLAGS, Enhancement
from codax.errors import ConfigError, FormatError, ModelError
from codax.evaluation.metrics import psnr
from codax.files import container
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.rates import FineRates

NAME = "quadtree-enhanced"
START = 100
"""Half steps, from which the codec quantises dependently."""


@functools.cache
def codec():
    """A small codec with one shape of tiles, so that little is compiled."""
    return traced(*with_trellis(*packed_codec(NAME), start=START), buckets=(24,))


def drawn(kind: str) -> np.ndarray:
    """What the codec's own transform of 16 components cannot hold, uint8[80 96 3]."""
    rows, columns = np.mgrid[:80, :96]
    if kind == "stripes":
        plane = 255 * ((columns % 2) ^ (rows % 3 == 0))
        return np.repeat(plane[..., None], 3, 2).astype(np.uint8)
    if kind == "noise":
        return np.random.default_rng(0).integers(0, 256, (80, 96, 3), np.uint8)
    red_on_blue = np.zeros((80, 96, 3), np.uint8)
    red_on_blue[..., 2] = 255
    red_on_blue[20:60:4, 10:80] = (255, 0, 0)
    return red_on_blue


@pytest.mark.parametrize("kind", ["stripes", "noise", "colour"])
def test_quality_100_is_at_46_dB_whatever_the_picture(kind):
    rgb = drawn(kind)
    sizes, levels = [], []
    for quality in (0, 30, 60, 90, 100):
        data = codec().encode(rgb, quality=quality, fallback=False)
        sizes.append(len(data))
        levels.append(psnr(rgb, np.asarray(codec().decode(data))))
    assert levels[-1] > 46
    assert sizes == sorted(sizes)
    assert levels == sorted(levels)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (70, 500)])
@pytest.mark.parametrize("quality", [20, 80, 100])
def test_files_decode_alike_by_the_oracle_at_any_size(size, quality):
    rgb = synthetic(*size, seed=3)
    data = codec().encode(rgb, quality=quality, fallback=False)
    file = container.read(data)
    whole, oracle = (
        codec().coder.decode_latents(
            file.stream, *size, 2 * quality, trellis=file.trellis, oracle=oracle
        )
        for oracle in (False, True)
    )
    assert whole.keys() == {"y", "z", FLAGS, ERRORS}
    assert all(np.array_equal(whole[name], oracle[name]) for name in whole)
    assert not whole[ERRORS][whole[FLAGS][..., 0] == 0].any()
    assert np.asarray(codec().decode(data)).shape == rgb.shape


def test_estimate_costs_and_file_agree():
    rgb = photo()[:128, 200:328]
    model, trellis = codec().model, codec().coder.trellis
    model.trellis = trellis  # As training has it.

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def estimate(x, quality):
        told = trellis.told(quality)[None]
        bits, out, _ = model.forward(x, told, None, exact=True)
        return {name: value[0] / 8 for name, value in bits.items()}, out

    for quality in (START - 10, 190):
        stream = codec().coder.compress(rgb, quality, passes=1)
        bits, out = estimate(rgb[None].astype(np.float32), np.int32(quality))
        expected = float(sum(bits.values()))
        assert abs(expected - len(stream)) < 0.01 * len(stream) + 64
        assert float(bits["e0"]) > 0
        decoded = codec().coder.decompress(stream, 128, 128, quality)
        out = np.clip(np.round(out[0]), 0, 255).astype(np.uint8)
        assert psnr(decoded, out) > 45
        costs = codec().coder.costs(rgb, quality, passes=1)
        assert [*costs] == [
            step.name for step in codec().coder.order.steps if step.coded
        ]
        total = sum(part.sum() for part in costs.values()) / 8
        assert abs(total - len(stream)) < 8


def test_gradients_reach_the_layer_and_what_stands_before_it():
    model, _ = small_networks(NAME)
    graph, params, fixed = nnx.split(model, nnx.Param, ...)
    x = jnp.asarray(photo()[None, :64, 230:294], jnp.float32)

    def loss(params):
        found = nnx.merge(graph, params, fixed)
        key = jax.random.key(0)
        bits, out, _ = found.forward(x, np.array([180]), key, exact=True)
        return sum(b.sum() for b in bits.values()) / 4096 + ((x - out) ** 2).mean()

    grads = jax.jit(
        jax.grad(loss), compiler_options={"xla_backend_optimization_level": 0}
    )(params)
    for part in (grads["prior"]["enhancement"]["enter"], grads["g_a"]["leave"]):
        value = np.asarray(part["kernel"][...])
        assert np.isfinite(value).all()
        assert np.abs(value).max() > 0


def test_damage_gives_another_picture_or_a_format_error():
    rgb = photo()[:60, :90]
    stream = codec().coder.compress(rgb, 190)
    random = np.random.default_rng(0)
    for _ in range(15):
        damaged = bytearray(stream)
        for place in random.integers(0, len(stream), 3):
            damaged[place] ^= int(random.integers(1, 256))
        cut = random.integers(0, len(stream) + 1) if random.random() < 0.3 else None
        try:
            found = codec().coder.decompress(bytes(damaged[:cut]), 60, 90, 190)
        except FormatError:
            continue
        assert found.shape == rgb.shape


def test_a_picture_without_flags_is_that_of_the_codec_alone():
    rgb = np.full((70, 50, 3), 131, np.uint8)
    latents = codec().coder.decode_latents(codec().coder.compress(rgb, 10), 70, 50, 10)
    assert not latents[FLAGS].any()
    base = codec().coder.runtime.synthesise(latents, 70, 50, 10)
    layer = codec().coder.enhancement
    assert layer.synthesise(base, latents, 10) is base


def test_the_layer_is_refined_around():
    rgb = photo()[:64, 230:294]
    plain = codec().coder.compress(rgb, 120, search=False)
    refined = codec().coder.compress(rgb, 120, refine=3)
    assert refined != plain
    assert codec().coder.decompress(refined, 64, 64, 120, trellis=False).shape == (
        64,
        64,
        3,
    )


def test_cells_are_blocks_of_pixels_and_back():
    x = np.arange(2 * 32 * 48 * 3).reshape(2, 32, 48, 3)
    assert np.array_equal(space_to_depth(x, 16)[1, 1, 2], x[1, 16:32, 32:48].ravel())
    assert np.array_equal(depth_to_space(space_to_depth(x, 16), 16), x)


def test_the_transform_is_fitted_to_the_worst_errors():
    random = np.random.default_rng(0)
    shape = random.normal(0, 1, (16, 16, 3)).astype(np.float32)
    weight = np.repeat(random.normal(0, 9, (8, 4, 4, 1)), 1, 3)
    error = np.kron(weight, np.ones((1, 16, 16, 1))) * np.tile(shape, (1, 4, 4, 1))
    matrix, std = fit_errors(error.astype(np.float32), np.full(8, 2.0, np.float32))
    assert np.allclose(matrix.T @ matrix, np.eye(768), atol=1e-4)
    assert abs(matrix[:, 0] @ shape.ravel()) == pytest.approx(
        np.linalg.norm(shape), rel=1e-3
    )
    assert std[0] > 100 * std[1]


def test_stored_arrays_of_other_shapes_are_refused():
    packed, _ = packed_codec(NAME)
    assert Enhancement.load({}) is None
    with pytest.raises(ModelError, match="expected \\[768, 768\\] and \\[201\\]"):
        Enhancement.load(packed | {"g_e/step": np.zeros(200)})


def test_rates_get_finer_from_quality_90_on():
    rates = FineRates(low=0.0008, high=0.25, finest=2.75)
    assert 1 / rates.gain(200.0) == pytest.approx(2.75)
    quality = np.arange(201.0)
    steps = 1 / rates.gain(quality)
    assert (np.diff(steps) < 0).all()
    assert np.allclose(1 / steps[:181], super(FineRates, rates).gain(quality[:181]))
    with pytest.raises(ConfigError, match="finest: got 20"):
        FineRates(low=0.0008, high=0.25, finest=20.0)
