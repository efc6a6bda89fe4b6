"""The range coder: symbols in, bytes out, by stored integer tables.

Symbols of a step are sorted by table (stable), and each used table codes its symbols in
one call. A symbol beyond its table's ends is coded as the table's escape; the rests of
all escapes of a step follow the step: for each a sign, the number of bits of the excess
and those bits, through uniform models.

Only this module and `bytes_coder` use constriction. Integer weights w_i that sum to
2**24 - n, passed as floats with `perfect=False`, become exactly (w_i + 1) / 2**24, so
that a table is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import constriction
import numpy as np

from codax.entropy.tables import TABLE_TOTAL
from codax.errors import FormatError, ModelError

__all__ = ["CostMeter", "SymbolDecoder", "SymbolEncoder", "TableSet"]

EXCESS_BITS = 15


class TableSet:
    """Integer tables that a step chooses from.

    Args:
        frequencies: one int64[n + 1] per table, the last entry the escape's; each at
            least 1, sum 2**24.
        lowest: the first symbol of each table.

    Raises:
        ModelError: a table breaks these rules.
    """

    def __init__(self, frequencies: Sequence[np.ndarray], lowest: Sequence[int]):
        """Checks the tables and makes the coder's models."""
        self.lowest = np.asarray(lowest, np.int32)
        self.count = np.asarray([f.size - 1 for f in frequencies], np.int32)
        self.frequencies = frequencies
        self._models = []
        for number, f in enumerate(frequencies):
            if f.size < 2 or f.min() < 1 or int(f.sum()) != TABLE_TOTAL:
                raise ModelError(
                    f"table {number}: frequencies must be at least 1 and sum to "
                    f"{TABLE_TOTAL}; got {int(f.sum())}"
                )
            self._models.append(
                constriction.stream.model.Categorical(
                    (f - 1).astype(np.float64), perfect=False
                )
            )

    def model(self, table: int):
        """The constriction model of a table."""
        return self._models[table]

    def bits(self, symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
        """What the coder pays for symbols.

        Args:
            symbols: int32 of any shape.
            index: integers of that shape, the table of each symbol.

        Returns:
            float64 of that shape, bits; those of escapes with the excess that follows.
        """
        size = self.count[index]
        place = symbols - self.lowest[index]
        outside = (place < 0) | (place >= size)
        # A table's frequencies end with the escape's.
        start = np.cumsum(self.count + 1) - (self.count + 1)
        coded = start[index] + np.where(outside, size, place)
        share = np.concatenate(self.frequencies)[coded] / TABLE_TOTAL
        value = np.where(place < 0, -place, place - size + 1)[outside]
        bits = -np.log2(share)
        bits[outside] += 1 + np.log2(EXCESS_BITS) + np.floor(np.log2(value))
        return bits


def _sorted(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order by table and the tables' counts; the key is as narrow as it can be."""
    narrow = np.uint8 if index.size == 0 or int(index.max()) < 256 else np.uint16
    index = index.astype(narrow)
    return np.argsort(index, kind="stable"), np.bincount(index)


class SymbolEncoder:
    """Writes steps of symbols into one stream."""

    def __init__(self) -> None:
        """Starts an empty stream."""
        self._coder = constriction.stream.queue.RangeEncoder()

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Codes one step.

        Args:
            symbols: int32[n]; of a step that goes in rounds int32[k n], a row for each.
            index: integers of that shape, the table of each symbol.
            tables: the step's tables.
        """
        if symbols.ndim > 1:
            for row, own in zip(symbols, index, strict=True):
                self.put(row, own, tables)
            return
        order, counts = _sorted(index)
        ordered = symbols[order]
        position = np.repeat(tables.lowest[: counts.size], counts)
        size = np.repeat(tables.count[: counts.size], counts)
        shifted = (ordered - position).astype(np.int32)
        outside = (shifted < 0) | (shifted >= size)
        escaped = np.flatnonzero(outside)
        if escaped.size:
            excess = shifted[escaped]
            shifted[escaped] = size[escaped]
        start = 0
        for table in np.flatnonzero(counts).tolist():
            stop = start + int(counts[table])
            self._coder.encode(shifted[start:stop], tables.model(table))
            start = stop
        if escaped.size:
            self._put_excess(excess, size[escaped])

    def _put_excess(self, shifted: np.ndarray, size: np.ndarray) -> None:
        negative = shifted < 0
        rest = np.where(negative, -1 - shifted, shifted - size)
        uniform = constriction.stream.model.Uniform
        for below, value in zip(negative, rest, strict=True):
            value = min(int(value) + 1, 2**EXCESS_BITS - 1)
            bits = value.bit_length() - 1
            self._one(int(below), uniform(2))
            self._one(bits, uniform(EXCESS_BITS))
            if bits:
                self._one(value - (1 << bits), uniform(1 << bits))

    def _one(self, value: int, model) -> None:
        self._coder.encode(np.array([value], np.int32), model)

    def finish(self) -> bytes:
        """The stream, little-endian 32-bit words."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class CostMeter:
    """Takes steps of symbols as a `SymbolEncoder` does, and notes what they cost.

    Attributes:
        bits: for each step, the bits of its symbols, float64 of their shape.
    """

    def __init__(self) -> None:
        """Starts with no step."""
        self.bits: list[np.ndarray] = []

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Notes the cost of one step; the arguments are those of `SymbolEncoder`."""
        self.bits.append(tables.bits(symbols, index))


class SymbolDecoder:
    """Reads steps of symbols from a stream."""

    def __init__(self, stream: bytes):
        """Opens a stream.

        Raises:
            FormatError: it is no whole number of 32-bit words.
        """
        if len(stream) % 4:
            raise FormatError(
                f"range-coder stream of {len(stream)} bytes, expected a multiple of 4"
            )
        words = np.frombuffer(stream, "<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def get(self, index: np.ndarray, tables: TableSet) -> np.ndarray:
        """Decodes one step.

        Args:
            index: integers [n], the table of each symbol.
            tables: the step's tables.

        Returns:
            int32[n].

        Raises:
            FormatError: the stream is damaged.
        """
        order, counts = _sorted(index)
        ordered = np.empty(index.size, np.int32)
        start = 0
        try:
            for table in np.flatnonzero(counts).tolist():
                n = int(counts[table])
                ordered[start : start + n] = self._coder.decode(tables.model(table), n)
                start += n
            size = np.repeat(tables.count[: counts.size], counts)
            for place in np.flatnonzero(ordered == size):
                ordered[place] = self._excess(int(size[place]))
        except (AssertionError, ValueError) as error:
            raise FormatError(
                "range-coder stream is damaged: a symbol cannot be decoded"
            ) from error
        ordered += np.repeat(tables.lowest[: counts.size], counts)
        symbols = np.empty_like(ordered)
        symbols[order] = ordered
        return symbols

    def _excess(self, size: int) -> int:
        uniform = constriction.stream.model.Uniform
        below = self._one(uniform(2))
        bits = self._one(uniform(EXCESS_BITS))
        value = 1 << bits
        if bits:
            value += self._one(uniform(1 << bits))
        return -value if below else size + value - 1

    def _one(self, model) -> int:
        return int(self._coder.decode(model, 1)[0])
