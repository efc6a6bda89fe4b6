"""What every codec must keep: families with small random weights, and shipped ones."""

from functools import cache, partial

import jax
import numpy as np
import pytest
from flax import nnx
from small_codecs import packed_codec, photo, small_codec, synthetic

from codax.codecs.enhancement import enhance
from codax.codecs.families import FAMILIES, family
from codax.coding import order, samples
from codax.coding.enhancement import ERRORS, FLAGS
from codax.coding.layers import beyond_symbols
from codax.entropy.coder import SymbolDecoder, SymbolEncoder
from codax.entropy.sources import ResidualSymbols
from codax.errors import CodaxError, ConfigError, FormatError
from codax.face.codec import Codec
from codax.files.regions import Region
from codax.train.loss import rate_distortion
from codax.zoo.cards import list_cards

CARDS = list_cards()
SIZES = [(1, 1), (1, 7), (17, 33), (64, 64), (70, 200)]
BUCKET_LISTS = [(8, 16, 32, 48, 64), (28,), (8, 28, 40)]
"""The default, and two that cut the tall picture below into tiles."""
TALL = (500, 130)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiles in a third of the time what runs only once."""


@cache
def shipped(name):
    (folder,) = [card.folder for card in CARDS if card.name == name]
    return Codec.from_folder(folder)


def every_codec(name):
    return small_codec(name) if name in FAMILIES else shipped(name)


NAMES = [*FAMILIES, *(card.name for card in CARDS)]
FEW = [*FAMILIES, *(card.name for card in CARDS[:1])]
"""The families and the default codec, where every size compiles all networks."""
SOME = ["quadtree", *(card.name for card in CARDS)]
"""What ships, on ONNX Runtime, and one on JAX."""


class Log:
    """Records the symbols that pass the range coder."""

    def __init__(self, monkeypatch):
        self.written, self.read = [], []
        written, read = self.written, self.read

        class Encoder(SymbolEncoder):
            def put(self, symbols, index, tables):
                # A decoder asks for the rounds of a step one by one.
                rounds = zip(np.atleast_2d(symbols), np.atleast_2d(index), strict=True)
                written.extend((row.copy(), own.copy()) for row, own in rounds)
                super().put(symbols, index, tables)

        class Decoder(SymbolDecoder):
            def get(self, index, tables):
                symbols = super().get(index, tables)
                read.append((symbols.copy(), index.copy()))
                return symbols

        monkeypatch.setattr(samples, "SymbolEncoder", Encoder)
        monkeypatch.setattr(samples, "SymbolDecoder", Decoder)


def rounds(codec, step, quality, latents):
    """How many times the range coder is called for a step of latents [h w C]."""
    order = codec.coder.order
    state = {name: value[None] for name, value in latents.items()}
    for other in codec.model.prior.steps:
        if not other.coded and other.target == step.within:
            known = [state[name].astype(np.float32) for name in other.reads]
            given = (codec.model.prior, *known, np.array([quality]), None)
            state[step.within] = np.asarray(other.function(*given)[0])
    where = step.positions(state, *latents[step.target].shape[:2])
    if where is not None and not where.any():
        return 0
    residual = isinstance(order.sources[step.target], ResidualSymbols)
    if not residual or not codec.coder.dependent(quality):
        return 1
    return step.take(np.zeros((1, 2, 2, order.channels[step.target]))).shape[-1]


def same_latents(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", FEW)
def test_symbols_survive_at_every_size(name, monkeypatch):
    codec = every_codec(name)
    for number, (height, width) in enumerate(SIZES):
        quality = (0, 63, 120, 171, 200)[number]
        rgb = photo()[40 : 40 + height, 90 : 90 + width]
        log = Log(monkeypatch)
        stream = codec.coder.compress(rgb, quality)
        assert codec.coder.compress(rgb, quality) == stream, (
            "bytes are not deterministic"
        )
        latents = codec.coder.decode_latents(stream, height, width, quality)
        steps = len(log.read)
        layers = order.layers_at(quality, codec.coder.layers)
        coded = [s for s in codec.model.prior.steps if s.coded and s.layer < layers]
        expected = sum(rounds(codec, step, quality, latents) for step in coded)
        assert steps == expected
        for (symbols, index), (again, same) in zip(
            log.written[:steps], log.read, strict=True
        ):
            assert np.array_equal(symbols, again)
            assert np.array_equal(index, same)
        for target, value in latents.items():
            cells = 16 / codec.model.prior.strides[target]
            sides = tuple(int(-(-side // cells)) for side in (height, width))
            assert value.shape[:2] == sides
            assert value.dtype == np.int32
        picture = codec.coder.decompress(stream, height, width, quality)
        assert picture.shape == rgb.shape
        assert picture.dtype == np.uint8
        assert np.array_equal(picture, rgb) or not codec.coder.lossless


@pytest.mark.parametrize("name", FEW)
def test_latents_do_not_depend_on_buckets_or_tiles(name):
    if name in FAMILIES:
        packed, card = packed_codec(name)
        codecs = [Codec(packed, card, buckets=b) for b in BUCKET_LISTS]
    else:
        folder = shipped(name).card["name"]
        (card,) = [card for card in CARDS if card.name == folder]
        codecs = [Codec.from_folder(card.folder, buckets=b) for b in BUCKET_LISTS]
    rgb = synthetic(*TALL)
    stream = codecs[0].coder.compress(rgb, 130)
    found = [codec.coder.decode_latents(stream, *TALL, 130) for codec in codecs]
    coded = [value for name, value in found[0].items() if name not in (FLAGS, ERRORS)]
    assert all(np.any(value) for value in coded)
    for other in found[1:]:
        assert same_latents(found[0], other)
    # Pixels are float arithmetic: a level may differ, seams may not show.
    whole, cut = (
        c.coder.decompress(stream, *TALL, 130).astype(int) for c in codecs[:2]
    )
    assert np.abs(whole - cut).max() <= 1
    # A file written in tiles decodes whole.
    tiled = codecs[1].coder.compress(rgb, 130)
    assert same_latents(
        codecs[0].coder.decode_latents(tiled, *TALL, 130),
        codecs[1].coder.decode_latents(tiled, *TALL, 130),
    )


@pytest.mark.parametrize("name", SOME)
def test_a_region_is_the_part_of_the_whole(name):
    codec = every_codec(name)
    rgb = photo()[:300, :420]
    quality = min(2 * codec.coder.qualities[1], 190)
    stream = codec.coder.compress(rgb, quality)
    whole = codec.coder.decompress(stream, 300, 420, quality).astype(int)
    for region in (
        Region(0, 0, 420, 300),
        Region(250, 130, 41, 70),
        Region(419, 0, 1, 1),
    ):
        part = codec.coder.decompress(stream, 300, 420, quality, region=region)
        assert part.shape == (region.height, region.width, 3)
        assert np.abs(part - region.of(whole)).max() <= 1


@pytest.mark.parametrize("name", SOME)
def test_a_stream_is_verified_to_its_end(name):
    codec = every_codec(name)
    rgb = photo()[:90, :70]
    low, high = codec.coder.qualities
    for quality in (2 * low, 2 * high):
        stream = codec.coder.compress(rgb, quality)
        codec.coder.decode_latents(stream, 90, 70, quality, checked=True)
        if codec.coder.layers == 1:
            for wrong in (stream + bytes(4), stream[:-4]):
                with pytest.raises(FormatError):
                    codec.coder.decode_latents(wrong, 90, 70, quality, checked=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_estimate_of_training_is_the_size_of_files(name):
    codec = every_codec(name)
    rgb = photo()[:128, 200:392]

    @jax.jit
    def estimate(x, quality):
        bits, decoded = codec.rate(codec.analysis(x, quality), quality, None)
        if codec.coder.enhancement is not None:
            trellis, told = codec.coder.trellis, (2 * quality).astype(int)
            told = told if trellis is None else trellis.told(told)
            base, model = codec.synthesis(decoded, quality), codec.model
            given = (model.prior, model.g_e, x, base, decoded, told, None)
            bits |= enhance(*given, trellis=trellis)[0]
        return sum(b[0] for b in bits.values()) / 8

    for quality in (20, 110, 190):
        x, q = rgb[None].astype(np.float32), np.array([quality / 2], np.float32)
        size = len(codec.coder.compress(rgb, quality))
        beyond = beyond_symbols(quality, codec.coder.layers)
        assert abs(float(estimate(x, q)) - size) < 0.01 * size + beyond


@pytest.mark.parametrize("name", NAMES)
def test_damage_gives_another_picture_or_a_format_error(name):
    codec = every_codec(name)
    random = np.random.default_rng(0)
    rgb = photo()[:60, :90]
    stream = codec.coder.compress(rgb, 100)
    trials = [b"", stream[:4], stream + b"\0" * 8, random.bytes(len(stream) // 4 * 4)]
    for _ in range(24):
        damaged = bytearray(stream)
        damaged[int(random.integers(len(stream)))] ^= 1 << int(random.integers(8))
        trials.append(bytes(damaged))
        trials.append(stream[: 4 * int(random.integers(len(stream) // 4))])
    for data in trials:
        try:
            picture = codec.coder.decompress(data, 60, 90, 100)
        except FormatError:
            continue
        assert picture.shape == rgb.shape
    for length in (1, 2, 3):
        with pytest.raises(FormatError):
            codec.coder.decode_latents(stream[:length], 60, 90, 100)
    with pytest.raises(FormatError, match=r"quality 100\.5"):
        codec.coder.decode_latents(stream, 60, 90, 201)


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_round_trip(name):
    codec = every_codec(name)
    rgb = photo()[100:150, 100:177]
    quality = max(60, codec.coder.qualities[0])
    data = codec.encode(rgb, quality=quality, fallback=False)
    assert data == codec.encode(rgb, quality=quality, fallback=False)
    back = np.asarray(codec.decode(data))
    assert back.shape == rgb.shape
    broken = bytearray(data)
    broken[len(data) // 2] ^= 4
    with pytest.raises(CodaxError):
        codec.decode(bytes(broken))


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_finite(name):
    codec = small_codec(name)
    graph, params, rest = nnx.split(codec.model, nnx.Param, ...)
    x = np.stack([synthetic(64, 64, seed) for seed in range(3)]).astype(np.float32)
    x[2] = 255.0
    quality = np.array([0, 100, 200], np.int32)

    @partial(jax.jit, compiler_options=QUICK)
    def gradient(params):
        def loss(params):
            model = nnx.merge(graph, params, rest)
            return rate_distortion(model, x, quality, jax.random.key(0))[0].sum()

        return jax.grad(loss)(params)

    leaves = jax.tree.leaves(gradient(params))
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
    moved = sum(bool(np.any(leaf != 0)) for leaf in leaves)
    assert moved > 0.7 * len(leaves)


@pytest.mark.parametrize("name", [card.name for card in CARDS])
def test_size_and_psnr_rise_with_quality(name):
    codec = shipped(name)
    rgb = photo()[:256, :256]
    sizes, errors = [], []
    low, high = codec.coder.qualities
    for quality in np.linspace(2 * low, 2 * high, 11).astype(int).tolist():
        stream = codec.coder.compress(rgb, quality)
        picture = codec.coder.decompress(stream, 256, 256, quality)
        sizes.append(len(stream))
        errors.append(np.mean((picture.astype(float) - rgb) ** 2))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_names_its_source(name):
    import sys

    module = sys.modules[family(name).config.__module__]
    assert "Source:" in module.__doc__


def test_family_numbers_are_unique_and_names_are_checked():
    numbers = [kind.codec_id for kind in FAMILIES.values()]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number <= 255 for number in numbers)
    with pytest.raises(ConfigError, match="codec 'quadtre' is unknown"):
        family("quadtre")
