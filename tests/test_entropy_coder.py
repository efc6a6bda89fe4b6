"""The range coder: round trips, escapes far outside, damage, speed of sorting aside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codax.entropy.coder import (
    REACH,
    CostMeter,
    SymbolDecoder,
    SymbolEncoder,
    TableSet,
)
from codax.entropy.sources import ResidualSymbols
from codax.entropy.tables import TABLE_TOTAL, pack_tables, scale_tables
from codax.errors import ConfigError, FormatError

FARTHEST = REACH
"""From 0: the narrowest table ends at -1 and 1."""


@pytest.fixture(scope="module")
def scales():
    (tables,) = ResidualSymbols().load(pack_tables("scales", scale_tables(0.15, 2.5)))
    return tables


def coded(steps, tables):
    encoder = SymbolEncoder()
    for symbols, index in steps:
        encoder.put(symbols, index, tables)
    return encoder.finish()


def assert_round_trip(steps, tables):
    stream = coded(steps, tables)
    decoder = SymbolDecoder(stream)
    for symbols, index in steps:
        assert np.array_equal(decoder.get(index, tables), symbols)
    return stream


def drawn(random, count, spread=1.0):
    """Symbols that fit their tables: normal, of the table's scale."""
    index = random.integers(0, 64, count)
    sigma = 0.11 * (256 / 0.11) ** (index / 63)
    return np.round(random.normal(0, spread * sigma)).astype(np.int32), index


def test_round_trip_and_size(scales):
    random = np.random.default_rng(0)
    steps = [drawn(random, 20000), drawn(random, 1), drawn(random, 5000)]
    stream = assert_round_trip(steps, scales)
    half = -scales.lowest
    tables = [np.concatenate([p[1:-1][::-1], p]) for p in scale_tables(0.15, 2.5)]
    bits = sum(
        -np.log2(tables[i][s + half[i]] / TABLE_TOTAL)
        for symbols, index in steps
        for s, i in zip(symbols, index, strict=True)
        if abs(s) <= half[i]
    )
    assert 0 <= 8 * len(stream) - bits < 200


def test_escapes_far_outside(scales):
    symbols = [0, 12, -12, 1000, -1000, 4096, -4096, FARTHEST, -FARTHEST]
    index = np.zeros(len(symbols), np.int64)  # the narrowest table
    assert_round_trip([(np.array(symbols, np.int32), index)], scales)
    index = np.full(len(symbols), 63)
    assert_round_trip([(np.array(symbols, np.int32), index)], scales)


def test_just_at_and_beyond_the_ends(scales):
    first = scales.lowest
    last = first + scales.count - 1
    symbols = np.concatenate([first, last, first - 1, last + 1]).astype(np.int32)
    assert_round_trip([(symbols, np.tile(np.arange(64), 4))], scales)


def test_empty_and_single_steps(scales):
    nothing = (np.zeros(0, np.int32), np.zeros(0, np.int64))
    stream = assert_round_trip([nothing], scales)
    assert len(stream) == 0
    one = (np.array([7], np.int32), np.array([30]))
    assert_round_trip([nothing, one, nothing, one], scales)


@pytest.mark.parametrize("count", [700, 66_000])
def test_more_than_256_tables(count):
    random = np.random.default_rng(1)
    table = np.array([TABLE_TOTAL - 3, 1, 1, 1])
    tables = TableSet([table] * count, [5] * count)
    index = random.integers(count - 700, count, 5000)
    symbols = (5 + (random.random(5000) > 0.9)).astype(np.int32)
    assert_round_trip([(symbols, index)], tables)


def test_any_integer_type_of_index_gives_the_same_bytes(scales):
    symbols, index = drawn(np.random.default_rng(2), 3000)
    streams = {
        coded([(symbols, index.astype(kind))], scales)
        for kind in (np.uint8, np.int32, np.int64)
    }
    assert len(streams) == 1


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64])
def test_the_last_symbols_within_reach_and_the_first_beyond(kind):
    tables = TableSet([np.array([TABLE_TOTAL - 3, 1, 1, 1])], [-1])  # -1, 0 and 1
    index = np.zeros(1, np.int64)
    for edge, step in ((1, 1), (-1, -1)):
        far = edge + step * REACH
        if not np.can_cast(np.min_scalar_type(far), kind):
            continue
        assert_round_trip([(np.array([far], kind), index)], tables)
        symbols = np.array([far + step], np.int32)
        with pytest.raises(ConfigError, match=f"symbol {far + step} lies 32768 beyond"):
            SymbolEncoder().put(symbols, index, tables)
    lost = np.array([2**31 - 1, -(2**31)], np.int32)
    with pytest.raises(ConfigError, match="beyond its table"):
        SymbolEncoder().put(lost, np.zeros(2, np.int64), tables)


@pytest.mark.parametrize(
    ("symbols", "index", "message"),
    [
        ([0.0], [0], r"symbols: got float64\[1\], expected integers"),
        ([0], [0.0], r"index: got float64\[1\], expected integers"),
        ([[0]], [0], r"symbols: got int64\[1, 1\]"),
        ([0, 1], [0], "2 symbols with 1 indices"),
        ([0], [64], "index: got 64 to 64, expected numbers of tables, 0 to 63"),
        ([0], [-1], "index: got -1 to -1"),
    ],
)
def test_wrong_steps_are_refused_by_all(scales, symbols, index, message):
    symbols, index = np.array(symbols), np.array(index)
    for sink in (SymbolEncoder(), CostMeter()):
        with pytest.raises(ConfigError, match=message):
            sink.put(symbols, index, scales)
    if message.startswith("index"):
        with pytest.raises(ConfigError, match=message):
            SymbolDecoder(bytes(64)).get(index, scales)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(-FARTHEST, FARTHEST), st.integers(0, 63)), max_size=30
        ),
        max_size=4,
    )
)
def test_round_trip_of_anything(scales, steps):
    arrays = [
        (
            np.array([s for s, _ in step], np.int32),
            np.array([i for _, i in step], np.int64),
        )
        for step in steps
    ]
    assert_round_trip(arrays, scales)


def test_hostile_streams_give_symbols_or_format_errors(scales):
    random = np.random.default_rng(3)
    symbols, index = drawn(random, 4000, spread=2.0)
    good = coded([(symbols, index)], scales)
    refused = 0
    for trial in range(300):
        if trial % 3 == 0:
            data = random.bytes(4 * int(random.integers(0, 200)))
        elif trial % 3 == 1:
            data = good[: 4 * int(random.integers(0, len(good) // 4))]
        else:
            damaged = bytearray(good)
            damaged[int(random.integers(len(good)))] ^= 1 << int(random.integers(8))
            data = bytes(damaged)
        try:
            found = SymbolDecoder(data).get(index, scales)
        except FormatError:
            refused += 1
        else:
            assert found.shape == symbols.shape
            assert np.abs(found).max() < 2**16
    assert refused < 300


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_streams_are_whole_words(length):
    with pytest.raises(FormatError, match=f"stream of {length} bytes"):
        SymbolDecoder(b"\0" * length)


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x80])
def test_constant_streams_end(scales, fill):
    index = np.tile(np.arange(64), 400)
    try:
        found = SymbolDecoder(bytes([fill]) * 4000).get(index, scales)
    except FormatError:
        return
    assert found.size == index.size
