"""Analysis by synthesis, and residuals chosen by bits and error: cheaper files."""

import functools

import jax
import numpy as np
import pytest
from small_codecs import packed_codec, photo, small_codec, with_trellis

from codax.coding.effort import EFFORTS
from codax.entropy.coder import TableSet
from codax.entropy.sources import RESIDUAL_PRICE, ResidualSymbols
from codax.face.codec import Codec
from codax.zoo.cards import default_card

RGB = photo()[100:196, 200:312]


@functools.cache
def codec_of(name):
    """A small codec with one shape of tiles, so that little is compiled."""
    return Codec(*packed_codec(name), buckets=(24,))


@functools.cache
def default_codec():
    return Codec.from_folder(default_card().folder)


def price_of_file(codec, quality, **options):
    """Bits plus lambda times distortion of a real file's stream."""
    coder = codec.coder
    stream = coder.compress(RGB, quality, **options)
    trellis = coder.dependent(quality, search=options.get("search", True))
    decoded = coder.decompress(stream, *RGB.shape[:2], quality, trellis=trellis)
    error = ((decoded.astype(np.float64) - RGB) ** 2).sum() / 3
    return 8 * len(stream) + float(codec.model.rates.lmbda(quality)) * error


@pytest.mark.parametrize("quality", [40, 100, 160])
def test_looking_pays_with_the_default_weights(quality):
    codec = default_codec()
    rounded = price_of_file(codec, quality, search=False)
    searched = price_of_file(codec, quality)
    looked = price_of_file(codec, quality, passes=1)
    assert looked < 0.995 * searched < 0.995 * rounded


def test_files_of_every_family_that_can_be_looked_at_decode():
    for name in ("quadtree", "factorized", "channelwise", "wavelet"):
        codec = small_codec(name)
        stream = codec.coder.compress(RGB, 90, passes=2)
        assert stream != codec.coder.compress(RGB, 90)
        assert codec.coder.decompress(stream, *RGB.shape[:2], 90).shape == RGB.shape


def test_files_and_training_add_the_difference_that_shows(monkeypatch):
    codec = codec_of("quadtree")
    coder, rgb = codec.coder, RGB[:64, :64]
    own = coder.runtime.analyse(rgb, 90)
    stream = coder.compress(rgb, 90)
    kept = coder.decode_latents(stream, 64, 64, 90)["y"] / 16
    seen = coder.runtime.analyse(coder.decompress(stream, 64, 64, 90), 90)
    expected = kept + (own["y"] - seen["y"])[0, :4, :4]
    assert np.abs(expected - own["y"][0, :4, :4]).max() > 0.1

    found = []
    symbols = ResidualSymbols.symbols

    def noted(self, value, heads):
        found.append(value)
        return symbols(self, value, heads)

    monkeypatch.setattr(ResidualSymbols, "symbols", noted)
    coder.compress(rgb, 90, passes=1)
    step = next(s for s in coder.order.steps if s.name == "y0")
    # Of the four steps of y, tried once and then coded.
    coded = step.take(expected[None])[0]
    np.testing.assert_allclose(found[4], coded, atol=1e-3)

    x, q = rgb[None].astype(np.float32), np.array([90], np.int32)
    latents = codec.model.analysis(x, q)
    trained = jax.jit(codec.model._closed)(x, latents, q)["y"][0]
    # Programs of other shapes differ by float rounding, few latents by a step.
    assert np.mean(np.abs(trained - expected) < 1e-2) > 0.9


def test_efforts_are_in_order():
    every = [EFFORTS[level] for level in sorted(EFFORTS)]
    work = [(e.refine, e.passes, e.search) for e in every]
    assert all(e.passes for e in every if e.refine)
    assert work == sorted(work)
    assert not EFFORTS[1].search
    assert EFFORTS[4].passes == 1


def test_cheaper_symbols_are_the_best_of_two():
    source = ResidualSymbols()
    random = np.random.default_rng(0)
    tables = source.load(packed_codec("quadtree")[0])[0]
    assert isinstance(tables, TableSet)
    mean = random.integers(-40, 40, 500).astype(np.float32)
    heads = [mean, random.integers(0, 64, 500).astype(np.float32)]
    value = (mean / 16 + random.normal(0, 2, 500)).astype(np.float32)
    nearest = source.symbols(value, heads)
    found = source.cheaper(nearest, value, heads, tables)
    index = source.index(heads, value.shape)

    def price(symbols):
        error = (value - mean / 16 - symbols) ** 2
        return tables.bits(symbols, index) + RESIDUAL_PRICE * error

    lower = nearest - np.sign(nearest)
    assert np.array_equal(
        found, np.where(price(lower) < price(nearest), lower, nearest)
    )
    assert 0 < np.mean(found != nearest) < 0.5


def test_a_dependent_file_is_looked_at_too():
    packed, card = packed_codec("quadtree")
    codec = Codec(*with_trellis(packed, card, 100), buckets=(24,))
    plain, looked = (price_of_file(codec, 120, passes=n) for n in (0, 2))
    assert looked != plain
