"""Stored tables: whole, symmetric, and what the range coder makes of them."""

import constriction
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from codax.entropy.coder import TableSet
from codax.entropy.densities import GridShape, ScaleShape, StaticDensity, at_quality
from codax.entropy.sources import ResidualSymbols, StaticSymbols
from codax.entropy.tables import (
    ANCHORS,
    FRACTIONS,
    GRID_LOG_MIN,
    GRID_LOG_STEP,
    GRID_SCALES,
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    SCALE_COUNT,
    TABLE_TOTAL,
    count_table,
    grid_tables,
    integer_table,
    pack_tables,
    scale_tables,
    static_tables,
)
from codax.entropy.training import GridSource
from codax.errors import ConfigError, ModelError
from codax.zoo.cards import list_cards
from codax.zoo.weights import read_checkpoint


def whole_tables(parts):
    """Whole tables of stored halves: symbols -half..half, then the escape."""
    return [np.concatenate([p[1:-1][::-1], p]) for p in parts]


def check_coder_uses(frequencies):
    """Shows that constriction's decoder splits its range exactly as stored.

    A fresh decoder divides its range of 2**64 - 1 into 2**24 parts; a stream of two
    words is a point in it, so each part can be asked which symbol it belongs to.
    """
    model = TableSet([frequencies], [0]).model(0)
    part = (2**64 - 1) >> 24

    def symbol_at(place):
        point = place * part + part // 2
        words = np.array([point >> 32, point & 0xFFFFFFFF], np.uint32)
        return int(constriction.stream.queue.RangeDecoder(words).decode(model))

    begin = 0
    for symbol, count in enumerate(frequencies.tolist()):
        assert symbol_at(begin) == symbol
        assert symbol_at(begin + count - 1) == symbol
        begin += count


def test_scale_tables_are_whole_and_symmetric():
    parts = scale_tables(0.15, 2.5)
    assert len(parts) == SCALE_COUNT
    previous = TABLE_TOTAL
    for table in whole_tables(parts):
        assert table.sum() == TABLE_TOTAL
        assert table.min() >= 1
        body = table[:-1]
        assert body.size % 2 == 1
        assert np.array_equal(body, body[::-1])
        assert body[body.size // 2] == body.max()
        assert body.max() < previous  # wider tables have lower peaks
        previous = body.max()


def test_grid_tables_are_whole_and_their_means_where_they_say():
    tables = grid_tables(0.1, 2.5)
    assert len(tables) == GRID_SCALES * FRACTIONS
    for number, table in enumerate(tables):
        assert table.sum() == TABLE_TOTAL
        assert table.min() >= 1
        assert table.size % 2 == 0  # -half..half and the escape
        symbols = np.arange(table.size - 1) - (table.size - 2) // 2
        mean = (symbols * table[:-1]).sum() / table[:-1].sum()
        fraction = number % FRACTIONS / FRACTIONS
        scale = np.exp(GRID_LOG_MIN + GRID_LOG_STEP * (number // FRACTIONS))
        if scale > 0.4:  # narrower ones lie on two integers, or on one
            assert mean == pytest.approx(fraction, abs=0.02 * scale)
    for number in (0, 100, 255):
        check_coder_uses(tables[number])


def test_the_grid_density_of_training_is_that_of_the_tables():
    shape = GridShape(0.1, 2.5)
    parts = pack_tables("grid", grid_tables(0.1, 2.5))
    source = GridSource(density=shape)
    (stored,) = source.load(parts)
    values = np.tile(np.arange(-20, 21, dtype=np.float32), (1, 64, 1))
    mean = np.repeat(np.arange(-32.0, 32.0, dtype=np.float32), 41).reshape(1, 64, 41)
    index = np.full_like(mean, 20.0)
    heads = (mean, index)
    bits, kept = source.train(values, heads, None, None)
    symbols, table = source.symbols(values, heads), source.index(heads, mean.shape)
    paid = stored.bits(symbols.ravel(), table.ravel())
    assert np.allclose(np.asarray(bits).ravel(), paid, atol=0.05, rtol=0.005)
    assert np.array_equal(source.kept(symbols, heads), values)
    assert np.array_equal(kept, values)


def test_static_tables_are_whole():
    random = np.random.default_rng(0)
    shape = (ANCHORS, 3, 3)
    tables = static_tables(
        random.normal(0, 1, shape),
        random.normal(0, 3, shape),
        random.normal(0, 1, shape),
    )
    assert len(tables) == 3 * ANCHORS
    for table in tables:
        assert table.sum() == TABLE_TOTAL
        assert table.min() >= 1
        assert table.size % 2 == 0  # -half..half and the escape


def test_constriction_uses_the_stored_integers():
    for table in whole_tables(scale_tables(0.15, 2.5)):
        check_coder_uses(table)


@pytest.mark.parametrize("card", list_cards(), ids=lambda card: card.name)
def test_shipped_tables(card):
    packed, _ = read_checkpoint(card.folder)
    sources = {path.split("/")[1] for path in packed if path.startswith("tables/")}
    for source in sources:
        flat = packed[f"tables/{source}/frequencies"].astype(np.int64)
        lengths = packed[f"tables/{source}/lengths"]
        parts = np.split(flat, np.cumsum(lengths)[:-1])
        tables = whole_tables(parts) if source in ("scales", "trellis") else parts
        for number, table in enumerate(tables):
            assert table.sum() == TABLE_TOTAL, (source, number)
            assert table.min() >= 1
        for table in tables[:: max(1, len(tables) // 24)]:
            check_coder_uses(table)


def test_tables_survive_packing():
    parts = scale_tables(0.1, 3.0)
    (tables,) = ResidualSymbols().load(pack_tables("scales", parts))
    assert tables.count.tolist() == [2 * (p.size - 2) + 1 for p in parts]
    assert tables.lowest.tolist() == [-(p.size - 2) for p in parts]
    with pytest.raises(ModelError, match="tables of z are missing"):
        StaticSymbols(tables="z").load({})


@pytest.mark.parametrize(
    "table",
    [[0, TABLE_TOTAL], [1, 1], [TABLE_TOTAL], [-5, TABLE_TOTAL + 5]],
    ids=["zero", "sum", "no symbol", "negative"],
)
def test_broken_tables_are_refused(table):
    with pytest.raises(ModelError, match="table 1: frequencies"):
        TableSet([np.array([1, TABLE_TOTAL - 1]), np.array(table)], [0, 0])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_any_masses_become_a_whole_table(masses):
    pmf = np.array(masses) / max(1.0, sum(masses))
    table = integer_table(pmf)
    assert table.sum() == TABLE_TOTAL
    assert table.min() >= 1
    assert table.size == pmf.size + 1


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.integers(0, 2**30), min_size=1, max_size=300), st.integers(0, 9))
def test_any_counts_become_a_whole_table(counts, escape):
    if not sum(counts) + escape:
        counts[0] = 1
    table = count_table(np.array(counts), escape)
    assert (table.dtype, table.sum(), table.min() >= 1) == (np.int64, TABLE_TOTAL, True)
    share = np.append(counts, escape) / (sum(counts) + escape)
    assert np.abs(table / TABLE_TOTAL - share).max() < 2e-5 * (len(counts) + 1)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([0.5], r"counts are float64\[1\]; expected integers"),
        ([[1]], r"counts are int64\[1, 1\]"),
        ([0, 0], "sum to 0; expected"),
        ([3, -1], "counts are -1 or more"),
        ([2**40], "sum to 1099511627776; expected"),
    ],
)
def test_counts_that_give_no_table(counts, message):
    with pytest.raises(ConfigError, match=message):
        count_table(np.array(counts))


def test_tables_and_first_symbols_of_other_kinds_are_refused():
    with pytest.raises(ModelError, match="1 tables with 2 first symbols"):
        TableSet([np.array([1, TABLE_TOTAL - 1])], [0, 0])
    with pytest.raises(ModelError, match=r"table 0: frequencies are float64\[2\]"):
        TableSet([np.array([1.0, TABLE_TOTAL - 1.0])], [0])


def test_scale_bits_are_those_of_the_tables():
    shape = ScaleShape(0.15, 2.5)
    tables = whole_tables(scale_tables(0.15, 2.5))
    for number in (0, 10, 30, 50):
        table = tables[number]
        half = table.size // 2 - 1
        symbols = np.arange(-min(half, 60), min(half, 60) + 1)
        stored = -np.log2(table[symbols + half] / TABLE_TOTAL)
        index = np.full(symbols.shape, number, np.float32)
        bits = np.asarray(shape.bits(symbols.astype(np.float32), index))
        likely = stored < 12
        assert np.allclose(bits[likely], stored[likely], atol=0.02)


def test_static_bits_are_those_of_the_tables():
    density = StaticDensity(2, 3.0)
    arrays = [
        np.asarray(p[...]) for p in (density.logits, density.loc, density.log_scale)
    ]
    tables = static_tables(*arrays)
    quality = jnp.asarray([130])  # the nearest anchor is 8
    symbols = np.arange(-8, 9)
    value = np.repeat(symbols[None, :, None, None], 2, -1).astype(np.float32)
    expected = 0.0
    for channel in range(2):
        table = tables[8 * 2 + channel]
        middle = (table.size - 2) // 2
        expected = expected - np.log2(table[symbols + middle] / TABLE_TOTAL)
    bits = np.asarray(density.bits(jnp.asarray(value), quality))[0, :, 0]
    assert bits.sum() == pytest.approx(expected.sum(), rel=1e-3)


def test_gradients_of_bits_are_finite_everywhere():
    shape = ScaleShape()
    graph, params = nnx.split(shape, nnx.Param)
    residual = jnp.asarray([0.0, 0.5, -3.0, 40.0, -2000.0, 5e4])
    index = jnp.asarray([0.0, 63.0, 5.0, 0.0, 30.0, 0.0])

    def loss(params, residual, index):
        return nnx.merge(graph, params).bits(residual, index).sum()

    for value in jax.tree.leaves(jax.grad(loss, (0, 1, 2))(params, residual, index)):
        assert np.all(np.isfinite(value))


def test_integer_rows_are_interpolated_exactly():
    random = np.random.default_rng(0)
    table = random.integers(-30000, 30000, (ANCHORS, 5))
    for quality in range(201):
        row, rest = divmod(quality, 16)
        expected = table[row] * (16 - rest) + table[row + 1] * rest
        got = at_quality(np.float32(table), np.array([quality], np.int32))
        assert np.array_equal(np.asarray(got)[0] * 16, expected)


def test_scales_are_evenly_spaced():
    assert np.exp(LOG_SCALE_MIN) == pytest.approx(0.11)
    assert np.exp(LOG_SCALE_MIN + 63 * LOG_SCALE_STEP) == pytest.approx(256)
