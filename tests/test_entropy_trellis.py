"""Dependent quantisation: the machine, the path search, what a decoder keeps."""

from itertools import product

import jax
import numpy as np
import pytest

from codax.entropy.coder import SymbolDecoder, SymbolEncoder
from codax.entropy.tables import scale_tables
from codax.entropy.trellis import NEXT, Trellis, points
from codax.entropy.units import LATENT_LIMIT
from codax.errors import FormatError, ModelError

HALVES = scale_tables(0.15, 2.5) * 2


def trellis(step=12, weight=192, halves=HALVES):
    return Trellis.load(
        Trellis.pack(halves, step=step, start=0, shift=0, weight=weight)
    )


def residuals(random, channels, positions):
    """Latents about means, with the scales that they were drawn with."""
    scales = random.integers(0, 45, (channels, positions))
    mean = random.integers(-900, 900, scales.shape)
    sigma = 0.11 * (256 / 0.11) ** (scales / 63)
    value = mean / 16 + random.normal(0, sigma)
    return value.astype(np.float32), mean, scales


def rows_of(symbols):
    """Symbols [k n] that are known, as `walk` asks for them."""
    rows = iter(symbols)
    return lambda _: next(rows)


def price(found, symbols, value, mean, scales):
    """Bits and weighted squared error of symbols [k n], summed over channels."""
    symbols, index = found.walk(scales, rows_of(symbols))
    error = found.kept(symbols, index, mean) / 16 - value
    bits = found.tables.bits(symbols, index)
    return (bits + found.weight / 16 * error**2).sum(0)


def test_each_state_has_two_ways_in_and_points_are_symmetric():
    assert np.array_equal(np.sort(NEXT.ravel()), np.arange(16) // 2)
    assert NEXT[0, 0] == 0  # Zeros stay where they are cheapest.
    symbols = np.arange(-4, 5)
    assert points(symbols, 0).tolist() == [-8, -6, -4, -2, 0, 2, 4, 6, 8]
    assert points(symbols, 1).tolist() == [-7, -5, -3, -1, 0, 1, 3, 5, 7]


def test_no_path_is_cheaper_than_the_one_that_is_found():
    found = trellis()
    random = np.random.default_rng(0)
    value, mean, scales = residuals(random, 4, 25)
    scales = scales % 20
    value = (mean / 16 + random.normal(0, 1.2, mean.shape)).astype(np.float32)
    best = price(found, found.choose(value, mean, scales)[0], value, mean, scales)
    for path in product(range(-3, 4), repeat=4):
        symbols = np.repeat(np.array(path, np.int32)[:, None], 25, 1)
        other = price(found, symbols, value, mean, scales)
        assert np.all(best < other + 1e-3), path


def test_paths_lie_denser_than_a_plain_grid():
    """At equal points for each symbol, 1.1 dB less error: eight states can no more."""
    random = np.random.default_rng(1)
    value = random.uniform(-20, 20, (150, 200)).astype(np.float32)
    mean = scales = np.zeros(value.shape, np.int64)
    found = trellis(step=8, weight=2**30)  # Error alone counts.
    symbols, index = found.choose(value, mean, scales)
    error = np.mean((found.kept(symbols, index, mean) / 16 - value) ** 2)
    assert 1.0 < 10 * np.log10(1 / 12 / error) < 1.15


def test_jax_finds_the_same_paths_and_bits():
    found = trellis()
    value, mean, scales = residuals(np.random.default_rng(2), 12, 300)
    search = jax.jit(lambda *arrays: found.search(*arrays, scan=jax.lax.scan))
    symbols, index = search(value, mean.astype(np.float32), scales)
    chosen, tables = found.choose(value, mean, scales)
    # Sums in another order may decide ties otherwise.
    assert np.mean(np.asarray(symbols) == chosen) > 0.999
    walked = found.walk(scales, rows_of(np.asarray(symbols)))[1]
    assert np.array_equal(index, walked)
    expected = found.tables.bits(chosen, tables)
    np.testing.assert_allclose(found.bits(chosen, tables), expected, rtol=1e-5)
    kept = found.kept(symbols, index, mean.astype(np.float32))
    assert np.array_equal(kept, found.kept(np.asarray(symbols), walked, mean))


@pytest.mark.parametrize("step", [4, 12, 64])
def test_a_decoder_keeps_what_the_encoder_keeps(step):
    found = trellis(step=step)
    value, mean, scales = residuals(np.random.default_rng(3), 9, 40)
    value[2, :20] = 1e6 * (-1.0) ** np.arange(20)  # Beyond what can be held.
    value[5, ::2] = 500.0
    mean[7, :10], value[7, :10] = 32767, -3000.0
    symbols, index = found.choose(value, mean, scales)
    kept = found.kept(symbols, index, mean)
    assert np.abs(kept).max() == LATENT_LIMIT
    inside = np.abs(value) < 2000
    assert np.abs(kept / 16 - value)[inside].max() < 3 * step / 16 + 2
    encoder = SymbolEncoder()
    encoder.put(symbols, index, found.tables)
    decoder = SymbolDecoder(encoder.finish())
    again, same = found.walk(scales, lambda i: decoder.get(i, found.tables))
    assert np.array_equal(again, symbols)
    assert np.array_equal(same, index)


@pytest.mark.parametrize("positions", [0, 1, 4097])
def test_any_number_of_positions_is_searched(positions):
    found = trellis()
    value, mean, scales = residuals(np.random.default_rng(5), 2, positions)
    symbols, index = found.choose(value, mean, scales)
    assert symbols.shape == index.shape == (2, positions)
    if positions:
        alone = found.choose(value[:, -1:], mean[:, -1:], scales[:, -1:])
        assert np.array_equal(alone[0], symbols[:, -1:])


def test_damaged_streams_give_latents_within_limits_or_a_format_error():
    found = trellis()
    _, mean, scales = residuals(np.random.default_rng(4), 30, 50)
    outcomes = set()
    for seed in range(40):
        stream = np.random.default_rng(seed).bytes(4 * (seed % 9))
        decoder = SymbolDecoder(stream)
        try:
            pair = found.walk(scales, lambda i, d=decoder: d.get(i, found.tables))
        except FormatError:
            outcomes.add("refused")
        else:
            outcomes.add("decoded")
            assert np.abs(found.kept(*pair, mean)).max() <= LATENT_LIMIT
    assert "decoded" in outcomes


def test_weights_without_it_have_none_and_wrong_ones_are_refused():
    assert Trellis.load({}) is None
    with pytest.raises(ModelError, match="no tables of dependent quantisation"):
        Trellis.read({})
    good = {"step": 12, "start": 100, "shift": 9, "weight": 192}
    with pytest.raises(ModelError, match="trellis of 127 tables"):
        Trellis.load(Trellis.pack(HALVES[1:], **good))
    for wrong in (
        {"step": 0},
        {"step": 65},
        {"start": -1},
        {"start": 192},
        {"shift": -1},
    ):
        with pytest.raises(ModelError, match="trellis of step"):
            Trellis.load(Trellis.pack(HALVES, **good | wrong))
    packed = Trellis.pack(HALVES, **good)
    packed["tables/trellis/frequencies"][5] += 1
    with pytest.raises(ModelError, match="frequencies must be"):
        Trellis.load(packed)
    del packed["tables/trellis/lengths"]
    with pytest.raises(ModelError, match="tables of trellis are missing"):
        Trellis.load(packed)


def test_networks_are_told_a_higher_quality_that_never_falls():
    packed = Trellis.pack(HALVES, step=12, start=100, shift=15, weight=192)
    told = Trellis.load(packed).told
    assert [told(q) for q in (0, 99, 100, 200)] == [0, 99, 115, 200]
    every = np.arange(201)
    assert np.array_equal(told(every), [told(q) for q in every.tolist()])
    assert np.all(np.diff(told(every)) >= 0)
    last = Trellis.pack(HALVES, step=12, start=200, shift=0, weight=192)
    assert Trellis.load(last).told(200) == 200
