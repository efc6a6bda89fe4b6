"""One coding order, three interpreters that agree; clips, orders and batches."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_codecs import photo, small_codec

from codax.codecs.families import FAMILIES
from codax.coding.interpreters import decode, encode
from codax.coding.rate import rate
from codax.coding.reversible import to_bands
from codax.entropy.coder import CostMeter, SymbolDecoder, SymbolEncoder
from codax.entropy.training import DigitSource, GridSource, IndexSource
from codax.entropy.units import GRID_LIMIT, LATENT_LIMIT

GRID = (8, 8)


def random_latents(codec, seed, count=1):
    random = np.random.default_rng(seed)
    prior = codec.model.prior
    if codec.coder.lossless:
        # Those of pictures: others are mostly escapes, which cost less than training
        # says.
        rows, columns = (16 * side for side in GRID)
        tops = 10 * random.integers(0, 40, count)
        crops = np.stack([photo()[top : top + rows, 230:][:, :columns] for top in tops])
        bands = to_bands(crops, prior.levels, 128)
        return {name: value.astype(np.float32) for name, value in bands.items()}
    latents = {}
    for name in prior.sources:
        c = prior.channels[name]
        h, w = (int(side * prior.strides[name]) for side in GRID)
        std = 30.0 / (1 + np.arange(c))
        latents[name] = random.normal(0, std, (count, h, w, c)).astype(np.float32)
        if isinstance(prior.sources[name], IndexSource):
            most = min(count for count, _ in prior.sources[name].sizes)
            found = random.integers(0, most, latents[name].shape)
            latents[name] = found.astype(np.float32)
        if isinstance(prior.sources[name], GridSource):
            latents[name] = np.round(latents[name])
        if prior.sources[name].kind == "binary":
            found = random.integers(0, 2, latents[name].shape)
            latents[name] = found.astype(np.float32)
    return latents


@cache
def compiled(codec):
    """All steps whose inputs are at hand, on whole arrays, in one program."""
    prior = codec.model.prior

    @jax.jit
    def call(reads, quality):
        return {
            step.name: step.network(
                prior, *(reads[n] for n in step.reads), quality, None
            )
            for step in prior.steps
            if step.network and all(name in reads for name in step.reads)
        }

    return call


def evaluator(codec, quality):
    """Evaluates steps for `encode` and `decode`."""
    q = np.array([quality], np.int32)

    def run(step, state, where):
        found = [np.asarray(a) for a in compiled(codec)(dict(state), q)[step.name]]
        if where is None:
            return tuple(found)
        rows, columns = where.shape
        return tuple(a[0, :rows, :columns][where] for a in found)

    return run


def through(codec, latents, quality, extents=None, *, search=False):
    prior = codec.model.prior
    run = evaluator(codec, quality)
    extents = extents or {n: v.shape[1:3] for n, v in latents.items()}
    tables = codec.coder.tables(quality)
    coders = [SymbolEncoder() for _ in range(codec.coder.layers)]
    encode(prior, run, latents, extents, tables, coders, search=search)
    streams = [coder.finish() for coder in coders]
    shapes = {name: value.shape for name, value in latents.items()}
    readers = [SymbolDecoder(stream) for stream in streams]
    decoded = decode(prior, run, shapes, extents, tables, readers)
    return b"".join(streams), decoded


@pytest.mark.parametrize("name", FAMILIES)
def test_every_latent_is_coded_once(name):
    """`take` and `put` of the steps cover every latent exactly once."""
    prior = small_codec(name).model.prior
    for target in prior.sources:
        shape = (1, 4, 4, prior.channels[target])
        numbers = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
        steps = [s for s in prior.steps if s.coded and s.target == target]

        def own(step, numbers=numbers):
            """What a step codes, zero at positions that it leaves out."""
            found = step.take(numbers)
            where = step.where(*found.shape[1:3])
            return found if where is None else found * where[..., None]

        seen = np.concatenate([own(step).ravel() for step in steps])
        assert np.array_equal(np.sort(seen[seen > 0]), numbers.ravel())
        for xp in (np, jnp):
            known = xp.zeros(shape, np.float32)
            for step in steps:
                before = np.asarray(known)
                known = step.put(known, xp.asarray(own(step)))
                changed = np.asarray(known) != before
                assert changed.sum() == np.count_nonzero(own(step))
            assert np.array_equal(np.asarray(known), numbers)


@pytest.mark.parametrize("name", FAMILIES)
def test_rate_and_files_give_the_same_latents(name):
    codec = small_codec(name)
    latents = random_latents(codec, 2)
    quality = 200 if codec.coder.layers > 1 else 110
    stream, decoded = through(codec, latents, quality, search=True)
    q = np.array([quality], np.int32)
    bits, hat = jax.jit(lambda v: rate(codec.model.prior, v, q, None))(latents)
    for key, value in hat.items():
        unit = codec.model.prior.sources[key].unit
        same = np.asarray(value) * unit == decoded[key]
        # Where the bits of a choice by table and by density lie about the price.
        assert same.mean() > (0.98 if unit == 16 else 0.9999), key
    expected = sum(float(b[0]) for b in bits.values()) / 8
    assert abs(len(stream) - expected) < 0.01 * len(stream) + 64


@pytest.mark.parametrize("name", FAMILIES)
def test_costs_by_table_add_up_to_the_stream(name):
    codec = small_codec(name)
    prior = codec.model.prior
    latents = random_latents(codec, 2)
    for key, value in latents.items():
        if codec.coder.layers == 1 and prior.sources[key].kind != "binary":
            value[0, 1, 1] = 900.0  # Escapes cost too.
    stream, _ = through(codec, latents, 110)
    meters = [CostMeter() for _ in range(codec.coder.layers)]
    extents = {name: value.shape[1:3] for name, value in latents.items()}
    run = evaluator(codec, 110)
    encode(prior, run, latents, extents, codec.coder.tables(110), meters)
    every = [cost for meter in meters for cost in meter.bits]
    assert len(every) == len([step for step in prior.steps if step.coded])
    bits = sum(cost.sum() for cost in every)
    assert abs(bits / 8 - len(stream)) < 8 * codec.coder.layers + 0.002 * len(stream)


@pytest.mark.parametrize("name", FAMILIES)
def test_batch_of_eight_equals_eight_batches_of_one(name):
    codec = small_codec(name)
    prior = codec.model.prior
    latents = random_latents(codec, 3, count=8)
    qualities = np.array([0, 15, 16, 77, 100, 130, 199, 200], np.int32)
    whole = jax.jit(lambda v, q: rate(prior, v, q, None)[1])
    together = whole(latents, qualities)
    for i in range(8):
        alone = whole(
            {k: v[i : i + 1] for k, v in latents.items()}, qualities[i : i + 1]
        )
        for key, value in alone.items():
            assert np.array_equal(np.asarray(value)[0], np.asarray(together[key])[i])


@pytest.mark.parametrize("name", FAMILIES)
def test_latents_beyond_the_limit_are_drawn_back(name):
    """Encoder and decoder agree even on latents that no weights should give."""
    codec = small_codec(name)
    sources = codec.model.prior.sources
    if any(isinstance(source, IndexSource) for source in sources.values()):
        pytest.skip("tokens have no limit but their vocabulary's")
    latents = random_latents(codec, 4)
    decisions = [key for key in latents if sources[key].kind == "binary"]
    for key, value in latents.items():
        value[0, 0, 0] = 1e5
        value[0, 1, 1] = -1e5
        if key in decisions:
            value[:] = 1.0  # All that may be coded is.
    _, decoded = through(codec, latents, 60)
    for key, value in latents.items():
        source = sources[key]
        unit = source.unit
        if source.kind not in ("static", "scale", "binary"):
            limit = GRID_LIMIT if isinstance(source, GridSource) else LATENT_LIMIT
            if isinstance(source, DigitSource):
                limit = 16 * codec.model.quantiser.half
            assert np.all(np.abs(decoded[key]) <= limit)
            assert np.all(decoded[key][0, 0, 0] > limit - unit)
            assert np.all(decoded[key][0, 1, 1] < unit - limit)
        ordinary = np.abs(value) < 1e4
        error = np.abs(decoded[key] / unit - value)[ordinary]
        assert error.max() <= 0.5 + 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_latents_outside_the_picture_are_not_coded(name):
    codec = small_codec(name)
    strides = codec.model.prior.strides
    extents = {
        key: (int(np.ceil(5 * strides[key])), int(np.ceil(6 * strides[key])))
        for key in codec.model.prior.sources
    }
    latents = random_latents(codec, 5)
    stream, decoded = through(codec, latents, 100, extents)
    for key, (rows, columns) in extents.items():
        assert not np.any(decoded[key][:, rows:])
        assert not np.any(decoded[key][:, :, columns:])
        latents[key][:, rows:] = 1e3
    assert through(codec, latents, 100, extents)[0] == stream
