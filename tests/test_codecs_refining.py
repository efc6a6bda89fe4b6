"""Latents that are refined for one picture: cheaper files, decoded as any other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from small_codecs import packed_codec, photo, small_codec, synthetic, traced

from codax.coding.effort import EFFORTS, Effort
from codax.coding.rate import rate
from codax.coding.refining import refine
from codax.entropy.quantisers import drawn
from codax.evaluation.candidate import learned
from codax.evaluation.metrics import psnr

STEPS = 50


@pytest.fixture
def short(monkeypatch):
    """Effort 7 with so many steps."""
    monkeypatch.setitem(EFFORTS, 7, Effort(refine=STEPS))


@functools.cache
def codec_of(name):
    """A small codec with one shape of tiles, so that little is compiled."""
    return traced(*packed_codec(name), buckets=(24,))


def price_of_file(codec, rgb, quality, **options):
    """Bits plus lambda times distortion of a real file's stream."""
    stream = codec.coder.compress(rgb, quality, **options)
    decoded = codec.coder.decompress(stream, *rgb.shape[:2], quality)
    error = ((decoded.astype(np.float64) - rgb) ** 2).sum() / 3
    return 8 * len(stream) + float(codec.model.rates.lmbda(quality)) * error


def test_drawn_values_lie_between_the_neighbours_and_freeze_at_the_nearer():
    x = np.random.default_rng(0).uniform(-3, 3, 4000).astype(np.float32)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 4000).astype(np.float32)
    warm = np.asarray(drawn(x, noise, 0.5))
    assert np.all((warm >= np.floor(x)) & (warm <= np.floor(x) + 1))
    cold = np.asarray(drawn(x, noise, 0.02))
    clear = np.abs(x - np.floor(x) - 0.5) > 0.1
    np.testing.assert_allclose(cold[clear], np.round(x)[clear], atol=1e-2)
    near = np.full(4000, 0.25, np.float32)
    assert np.mean(np.asarray(drawn(near, noise, 0.5)) > 0.5) < 0.4
    gradient = jax.grad(lambda v: drawn(v, noise, 0.5).sum())(jnp.asarray(x))
    assert np.all(np.isfinite(gradient))
    assert np.mean(np.asarray(gradient) > 0) > 0.9


@pytest.mark.parametrize("name", ["quadtree", "factorized"])
def test_a_refined_file_costs_less_and_decodes_as_any_other(name, short):
    codec = codec_of(name)
    rgb = photo()[100:196, 200:312]
    before = price_of_file(codec, rgb, 100)
    after = price_of_file(codec, rgb, 100, refine=STEPS)
    assert after < before
    data = codec.encode(rgb, quality=50, effort=7, fallback=False)
    again = codec.encode(rgb, quality=50, effort=7, fallback=False)
    assert data == again
    assert psnr(rgb, np.asarray(codec.decode(data))) > 15
    oracle = np.asarray(codec.decode(data, oracle=True))
    np.testing.assert_array_equal(oracle, np.asarray(codec.decode(data)))


def test_latents_beyond_the_picture_cost_nothing():
    codec = small_codec("quadtree")
    rgb = synthetic(72, 104)
    inside = codec.coder.runtime.analyse(rgb, 100)
    loud = {name: value.copy() for name, value in inside.items()}
    for name, (rows, columns) in codec.coder.order.extents(72, 104).items():
        loud[name][:, rows:], loud[name][:, :, columns:] = 50.0, 50.0
    q, cells = np.array([100], np.int32), np.array([5, 7], np.int32)
    prior = codec.model.prior
    price = jax.jit(lambda latents: rate(prior, latents, q, None, extent=cells))
    (bits, decoded), (same, kept) = price(inside), price(loud)
    assert sum(same.values()) == pytest.approx(float(sum(bits.values())[0]))
    np.testing.assert_array_equal(kept["y"], decoded["y"])
    stream = codec.coder.compress(rgb, 100)
    expected = pytest.approx(8 * len(stream), rel=0.01, abs=512)
    assert float(sum(bits.values())[0]) == expected


def test_tiles_are_refined_one_by_one():
    codec = codec_of("quadtree")
    rgb = synthetic(400, 200)
    latents = codec.coder.runtime.analyse(rgb, 100)
    found = refine(codec.coder.runtime, rgb, latents, 100, 2)
    assert {k: v.shape for k, v in found.items()} == {
        k: v.shape for k, v in latents.items()
    }
    rows, columns = codec.coder.order.extents(400, 200)["y"]
    changed = np.any(found["y"] != latents["y"], (0, 3))[:rows, :columns]
    # The first 24 rows of cells are one tile, the last one another.
    assert changed[:4].any()
    assert changed[-1].any()
    options = {"search": False}
    before, after = (
        price_of_file(codec, rgb, 100, refine=n, **options) for n in (0, 4)
    )
    assert after < before


def test_codecs_of_tokens_and_without_loss_take_any_effort():
    picture = Image.fromarray(photo()[:64, :64])
    for name in ("fsq", "wavelet-lossless"):
        codec = small_codec(name)
        assert not codec.coder.refines
        files = {codec.encode(picture, effort=n, fallback=False) for n in (1, 4, 9)}
        assert len(files) == 1


def test_the_bench_refines_under_a_name_of_its_own(short):
    codec = codec_of("factorized")
    candidate = learned(codec, effort=7)
    assert candidate.name == "factorized-small-v1@e7"
    assert candidate.settings != learned(codec).settings
    picture = Image.fromarray(photo()[:64, :64])
    data = candidate.encode(picture, 50)
    assert data == codec.encode(picture, quality=50, effort=7, fallback=False)
    assert candidate.decode(data).size == (64, 64)


@pytest.mark.parametrize("aim", ["target_size", "target_psnr"])
def test_a_target_is_met_with_effort(short, aim):
    codec = codec_of("quadtree")
    rgb = photo()[100:196, 200:312]
    plain = codec.encode(rgb, quality=50, effort=1, fallback=False)
    limit = {
        "target_size": len(plain),
        "target_psnr": psnr(rgb, np.asarray(codec.decode(plain))),
    }[aim]
    told = []
    data = codec.encode(
        rgb, **{aim: limit}, effort=7, fallback=False, progress=told.append
    )
    if aim == "target_size":
        assert len(data) <= limit
    else:
        assert psnr(rgb, np.asarray(codec.decode(data))) >= limit
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
