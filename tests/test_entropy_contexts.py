"""Contexts of tokens: the tables are those that docs/file-format.md describes."""

import jax
import numpy as np
import pytest

from codax.entropy.clusters import usage
from codax.entropy.contexts import TABLES, IndexContexts
from codax.errors import ModelError

CODES = (12, 9, 10, 8)
COARSE = 2
DEPTHS = (0, 0, 1, 1)
SHAPE = (3, 6, 8)
EXTENT = (5, 7)


@pytest.fixture(scope="module")
def fitted():
    """Contexts fitted to tokens of smooth brightness and patchy activity."""
    random = np.random.default_rng(0)
    n, h, w = SHAPE
    slope = np.add.outer(np.arange(h), np.arange(w)) * 12 // (h + w)
    busy = random.random((n, h, w)) < 0.4
    tokens = np.zeros((*SHAPE, COARSE + 4 * 2), np.int32)
    tokens[..., 0] = np.clip(slope + random.integers(-1, 2, SHAPE), 0, 11)
    for place in range(1, tokens.shape[-1]):
        size = CODES[place if place < COARSE else COARSE + (place - COARSE) // 4]
        tokens[..., place] = np.where(busy, random.integers(0, size, SHAPE), 0)
    bank = IndexContexts(CODES, DEPTHS)
    bank.fit(tokens, np.arange(CODES[0], dtype=np.float32))
    return bank, tokens


def reference(bank, tokens):
    """Tables of every token of one picture, straight from the document."""
    rows, columns = EXTENT
    activity = [np.asarray(getattr(bank, f"activity{k}")[...]) for k in range(4)]
    kind = [np.asarray(getattr(bank, f"kind{k}")[...]) for k in range(4)]

    def bin_of(name, x):
        return int(np.sum(np.asarray(getattr(bank, f"edges_{name}")[...]) <= x))

    def token(layer, i, j):
        """The token of a layer on the grid of quarters."""
        if layer < COARSE:
            return tokens[i // 2, j // 2, layer]
        place = COARSE + 4 * (layer - COARSE) + 2 * (i % 2) + j % 2
        return tokens[i // 2, j // 2, place]

    def around(i, j, direct, height, width):
        steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
        if not direct:
            steps = ((1, 1), (1, -1), (-1, 1), (-1, -1))
        places = [(i + a, j + b) for a, b in steps]
        return [(a, b) for a, b in places if 0 <= a < height and 0 <= b < width]

    found = np.zeros(tokens.shape, int)
    for i in range(rows):
        for j in range(columns):
            v = [activity[0][tokens[a, b, 0]] for a, b in around(i, j, True, *EXTENT)]
            if i % 2 and j % 2:
                near = around(i, j, False, *EXTENT)
                d = [activity[0][tokens[a, b, 0]] for a, b in near]
                found[i, j, 0] = (
                    1 + bin_of("0_diagonal", 12 * sum(d) / len(d)) if d else 0
                )
            elif (i + j) % 2:
                found[i, j, 0] = (
                    32 + bin_of("0_direct", 12 * sum(v) / len(v)) if v else 0
                )
            own = activity[0][tokens[i, j, 0]]
            x = sum(abs(own - other) for other in v)
            found[i, j, 1] = TABLES + 8 * kind[0][tokens[i, j, 0]] + bin_of("1", x)
    for layer in (2, 3):
        for i in range(2 * rows):
            for j in range(2 * columns):
                near = around(i, j, True, 2 * rows, 2 * columns)
                part = (i + j) % 2
                before = activity[layer - 1]
                x = 4 * before[token(layer - 1, i, j)]
                x += 2 * sum(before[token(layer - 1, a, b)] for a, b in near)
                for other in range(COARSE, layer - 1):
                    x += 4 * activity[other][token(other, i, j)]
                if part:
                    own = activity[layer]
                    x += 4 * sum(own[token(layer, a, b)] for a, b in near)
                base = 8 * kind[layer - 1][token(layer - 1, i, j)]
                place = COARSE + 4 * (layer - COARSE) + 2 * (i % 2) + j % 2
                found[i // 2, j // 2, place] = (
                    layer * TABLES + base + bin_of(f"{layer}_{part}", x)
                )
    return found


def test_tables_are_those_of_the_document(fitted):
    bank, tokens = fitted
    y = tokens[:1].astype(np.float32)
    extent = np.asarray(EXTENT, np.int32)

    @jax.jit
    def tables(y):
        return (
            bank.first(y, False, extent),
            bank.first(y, True, extent),
            bank.further(y, 1, extent),
            [[bank.fine(y, k, part, extent) for part in (0, 1)] for k in (2, 3)],
        )

    diagonal, direct, further, fine = jax.tree.map(np.asarray, tables(y))
    expected = reference(bank, tokens[0])
    rows, columns = EXTENT
    i, j = np.mgrid[:rows, :columns]
    both, odd = (i % 2 == 1) & (j % 2 == 1), (i + j) % 2 == 1
    own = np.s_[:rows, :columns]
    assert np.array_equal(diagonal[0][own][both][:, 0], expected[own][both][:, 0])
    assert np.array_equal(direct[0][own][odd][:, 0], expected[own][odd][:, 0])
    assert np.array_equal(further[0][own][..., 0], expected[own][..., 1])
    for number in (0, 1):
        begin = COARSE + 4 * number
        for part, quarters in enumerate(((0, 3), (1, 2))):
            places = [begin + quarter for quarter in quarters]
            assert np.array_equal(
                fine[number][part][0][own], expected[own][..., places]
            )
    assert usage(expected[own], 4 * TABLES)[0] > 0.1


def slot(i, j, depth):
    """Where a token at row and column of a layer's grid stands in its cell."""
    bits = range(depth - 1, -1, -1)
    return sum((2 * (i >> k & 1) + (j >> k & 1)) << 2 * k for k in bits)


def deeper_reference(bank, tokens, layer, i, j):
    """The table of a token of a layer of depth 0 or more, from the document."""
    depth = bank.depths[layer]

    def looked(kind, other, i, j):
        """A map of a layer's token at a place of the grid of `layer`."""
        more = depth - bank.depths[other]
        i, j = i >> more, j >> more
        cell = tokens[i >> bank.depths[other], j >> bank.depths[other]]
        own = cell[bank.slots(other)][slot(i, j, bank.depths[other])]
        return int(np.asarray(getattr(bank, f"{kind}{other}")[...])[own])

    rows, columns = (-(-side // bank.span) << depth for side in EXTENT)
    near = ((i, j + 1), (i + 1, j), (i, j - 1), (i - 1, j))
    near = [(a, b) for a, b in near if 0 <= a < rows and 0 <= b < columns]
    part = (i + j) % 2 if depth else 0
    x = 4 * looked("activity", layer - 1, i, j)
    x += 2 * sum(looked("activity", layer - 1, a, b) for a, b in near)
    same = [k for k in range(layer - 1) if bank.depths[k] == depth]
    x += 4 * sum(looked("activity", k, i, j) for k in same[-4:])
    if part:
        x += 4 * sum(looked("activity", layer, a, b) for a, b in near)
    name = f"{layer}_{part}" if depth else f"{layer}"
    edges = np.asarray(getattr(bank, f"edges_{name}")[...])
    kind = looked("kind", layer - 1, i, j)
    return layer * TABLES + 8 * kind + int(np.sum(edges <= x))


@pytest.mark.parametrize(("depths", "span"), [((0, 1, 2, 2), 2), ((0,) * 8, 4)])
def test_deeper_tables_and_larger_cells_are_those_of_the_document(depths, span):
    random = np.random.default_rng(1)
    codes = [12] * len(depths)
    bank = IndexContexts(codes, depths, span)
    width = sum(4**depth for depth in depths)
    busy = random.random((6, 4, 4, 1)) < 0.5
    tokens = np.where(busy, random.integers(0, 12, (6, 4, 4, width)), 0)
    bank.fit(tokens, np.arange(12, dtype=np.float32))
    y, extent = tokens[:1].astype(np.float32), np.asarray(EXTENT, np.int32)
    rows, columns = (-(-side // span) for side in EXTENT)
    seen = set()
    for layer in range(1 if span == 2 else 2, len(depths)):
        depth = depths[layer]
        parts = (
            [(0, [0])] if not depth else [(p, bank.places(layer, p)) for p in (0, 1)]
        )
        for part, places in parts:
            if depth:
                found = jax.jit(bank.fine, static_argnums=(1, 2))(
                    y, layer, part, extent
                )
            else:
                found = jax.jit(bank.further, static_argnums=1)(y, layer, extent)
            for i in range(rows << depth):
                for j in range(columns << depth):
                    own = slot(i, j, depth)
                    if own not in places:
                        continue
                    got = found[0, i >> depth, j >> depth, places.index(own)]
                    assert got == deeper_reference(bank, tokens[0], layer, i, j)
                    seen.add(int(got))
    assert len(seen) > 20


def test_contexts_cost_less_than_fixed_length(fitted):
    bank, tokens = fitted
    tables = jax.jit(bank._tables)(tokens.astype(np.float32))
    frequencies = np.asarray(bank.frequencies[...])
    bits, fixed = 0.0, 0.0
    for layer, index in enumerate(tables):
        own = tokens[..., bank.slots(layer)]
        place = bank.starts[np.asarray(index).astype(int)] + own
        bits -= np.log2(frequencies[place] / 2**24).sum()
        fixed += own.size * np.log2(CODES[layer])
    assert bits < 0.8 * fixed


def test_damaged_banks_are_refused(fitted):
    bank = IndexContexts(CODES, DEPTHS)
    bank.check()
    bank.kind0[...] = bank.kind0[...] + 9
    with pytest.raises(ModelError, match="kind0 reaches 9, expected at most 7"):
        bank.check()
    bank.kind0[...] = bank.kind0[...] * 0 + 0.5
    with pytest.raises(ModelError, match="kind0 holds other than whole numbers"):
        bank.check()
