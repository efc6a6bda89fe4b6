"""Integers of one's own through the range coder of codax: no picture, no JAX.

    python docs/examples/integers.py

The integers are those of a made-up sensor: mostly at rest, sometimes shaken. The even
samples are coded first, then the odd ones, with tables that depend on how much their
neighbours differ: a coding order of two steps.
"""

# ruff: noqa: T201 (a program that prints)
from __future__ import annotations

import lzma
from collections.abc import Mapping

import numpy as np

from codax.entropy.coder import CostMeter, SymbolDecoder, SymbolEncoder, TableSet
from codax.entropy.tables import count_table, pack_tables, stored_tables
from codax.errors import FormatError

HALF = 64
"""Tables hold -HALF..HALF; what lies beyond is rare, and coded as an escape."""
EDGES = np.array([1, 2, 4, 8, 16, 32])
MOST = 1 << 24
"""Samples that a decoder makes room for, whatever a file says."""


# 1. What both sides know of the odd samples before they are coded: integers from
# integers that are coded already, with no float on the way.
def known(even: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and table number of each odd sample, from the even ones around it."""
    left, right = even[:count], np.append(even[1:], even[-1:])[:count]
    return (left + right) >> 1, np.searchsorted(EDGES, abs(right - left), "right")


# 2. Symbols and the number of the table of each, step by step.
def steps(values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(symbols, index) of the even samples, then of the odd ones."""
    even, odd = values[::2], values[1::2]
    predicted, index = known(even, odd.size)
    return [
        (np.diff(even, prepend=0), np.zeros(even.size, np.int64)),
        (odd - predicted, index),
    ]


# 3. Tables from what was seen in other data. They are stored, as integers, with the
# program or beside the files, and are part of the format from then on.
def learn(training: np.ndarray) -> dict[str, np.ndarray]:
    """The tables of both steps as arrays, fit for `np.savez`."""
    arrays = {}
    for number, (symbols, index) in enumerate(steps(training)):
        tables = []
        for context in range(EDGES.size + 1 if number else 1):
            own = symbols[index == context]
            near = own[abs(own) <= HALF]
            counts = np.bincount(near + HALF, minlength=2 * HALF + 1)
            # One more of each: what was not seen here may come all the same.
            tables.append(count_table(counts + 1, escape=own.size - near.size))
        arrays |= pack_tables(f"step{number}", tables)
    return arrays


def load(arrays: Mapping[str, np.ndarray]) -> list[TableSet]:
    """The tables of both steps as the coder takes them."""
    found = [stored_tables(arrays, f"step{number}") for number in range(2)]
    return [TableSet(tables, [-HALF] * len(tables)) for tables in found]


# 4. The file: how many samples, then one stream with both steps.
def encode(values: np.ndarray, tables: list[TableSet]) -> bytes:
    """Codes integers[n], each within 32767 of what is expected."""
    coder = SymbolEncoder()
    for (symbols, index), own in zip(steps(values), tables, strict=True):
        coder.put(symbols, index, own)
    return len(values).to_bytes(4, "little") + coder.finish()


def decode(data: bytes, tables: list[TableSet]) -> np.ndarray:
    """The integers of a file; raises FormatError where it is none."""
    count = int.from_bytes(data[:4], "little")
    if len(data) < 4 or count > MOST:
        raise FormatError(f"{count} samples in {len(data)} bytes; at most {MOST}")
    values = np.zeros(count, np.int64)
    coder = SymbolDecoder(data[4:])
    first = coder.get(np.zeros(count - count // 2, np.int64), tables[0])
    values[::2] = np.cumsum(first, dtype=np.int64)
    predicted, index = known(values[::2], count // 2)
    values[1::2] = coder.get(index, tables[1]) + predicted
    return values


# 5. What symbols cost, without coding them: for choices, and to see where bits go.
def bits(values: np.ndarray, tables: list[TableSet]) -> list[float]:
    """Bits of the two steps."""
    meter = CostMeter()
    for (symbols, index), own in zip(steps(values), tables, strict=True):
        meter.put(symbols, index, own)
    return [float(paid.sum()) for paid in meter.bits]


def sensor(seed: int, count: int = 100_000) -> np.ndarray:
    """Made-up samples: a walk in small steps, shaken for a while now and then."""
    random = np.random.default_rng(seed)
    shaken = np.repeat(random.integers(0, 8, -(-count // 500)) == 0, 500)[:count]
    return np.cumsum(random.integers(-1, 2, count)) + shaken * random.integers(
        -300, 301, count
    )


def main() -> None:
    """Learns from one recording and codes another."""
    tables = load(learn(sensor(0)))
    values = sensor(1)
    data = encode(values, tables)
    if not np.array_equal(decode(data, tables), values):
        raise SystemExit("the file does not give back the values")
    even, odd = bits(values, tables)
    print(f"values            {values.size}, {values.min()} to {values.max()}")
    print(f"even samples      {even / values[::2].size:.3f} bits each")
    print(f"odd samples       {odd / values[1::2].size:.3f} bits each")
    print(f"expected          {4 + (even + odd) / 8:.0f} bytes")
    print(f"the file          {len(data)} bytes")
    print(f"lzma of int16     {len(lzma.compress(values.astype('<i2')))} bytes")


if __name__ == "__main__":
    main()
