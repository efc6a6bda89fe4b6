"""The range coder: symbols in, bytes out, by stored integer tables.

Symbols of a step are sorted by table (stable), and each used table codes its symbols in
one call. A symbol beyond its table's ends is coded as the table's escape; the rests of
all escapes of a step follow the step: for each a sign, the number of bits of the excess
and those bits, through uniform models.

Only this module and `bytes_coder` use constriction. Integer weights w_i that sum to
2**24 - n, passed as floats with `perfect=False`, become exactly (w_i + 1) / 2**24, so
that a table is the same on every machine.

docs/entropy-coder.md shows the use with integers of one's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import constriction
import numpy as np

from codax.entropy.tables import TABLE_TOTAL
from codax.errors import ConfigError, FormatError, ModelError

__all__ = [
    "CheckingDecoder",
    "CostMeter",
    "SymbolDecoder",
    "SymbolEncoder",
    "TableSet",
]

EXCESS_BITS = 15
REACH = 2**EXCESS_BITS - 1
"""How far beyond an end of its table a symbol may lie: 1 to REACH."""


class TableSet:
    """Integer tables that a step chooses from.

    Args:
        frequencies: one integers[n + 1] per table, the last entry the escape's; each
            at least 1, sum 2**24. `codax.entropy.tables` has what makes them.
        lowest: the first symbol of each table.

    Attributes:
        lowest: int32[tables].
        count: int32[tables], how many symbols each has, the escape left out.

    Raises:
        ModelError: a table breaks these rules.
    """

    def __init__(self, frequencies: Sequence[np.ndarray], lowest: Sequence[int]):
        """Checks the tables and makes the coder's models."""
        if len(lowest) != len(frequencies):
            raise ModelError(
                f"{len(frequencies)} tables with {len(lowest)} first symbols; expected "
                "one for each"
            )
        self.lowest = np.asarray(lowest, np.int32)
        self.frequencies = [np.asarray(f) for f in frequencies]
        self.count = np.asarray([f.size - 1 for f in self.frequencies], np.int32)
        self._models = []
        for number, f in enumerate(self.frequencies):
            if f.dtype.kind not in "iu" or f.ndim != 1:
                raise ModelError(
                    f"table {number}: frequencies are {f.dtype}{list(f.shape)}; "
                    "expected integers[n + 1]"
                )
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

    @classmethod
    def from_zero(cls, tables: Sequence[np.ndarray]) -> TableSet:
        """Tables of symbols from 0 on; the escape last."""
        return cls(tables, [0] * len(tables))

    @classmethod
    def centred(cls, tables: Sequence[np.ndarray]) -> TableSet:
        """Tables of symbols around 0, an odd number of each; the escape last."""
        return cls(tables, [-(table.size - 2) // 2 for table in tables])

    @classmethod
    def symmetric(cls, halves: Sequence[np.ndarray]) -> TableSet:
        """Tables of which halves are stored: of 0, 1, ..., and the escape's."""
        return cls.centred([np.concatenate([h[1:-1][::-1], h]) for h in halves])

    def model(self, table: int):
        """The constriction model of a table."""
        return self._models[table]

    def bits(self, symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
        """What the coder pays for symbols.

        Args:
            symbols: integers of any shape.
            index: integers of that shape, the table of each symbol.

        Returns:
            float64 of that shape, bits; those of escapes with the excess that follows.

        Raises:
            ConfigError: as of `SymbolEncoder.put`.
        """
        if symbols.shape == index.shape:
            _check(index.ravel(), self, symbols.ravel())
        else:
            _check(index, self, symbols)
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


def _check(index: np.ndarray, tables: TableSet, symbols: np.ndarray | None = None):
    """Refuses what would be coded as something else, or could not be decoded."""
    for name, array in (("index", index), ("symbols", symbols)):
        if array is not None and (array.dtype.kind not in "iu" or array.ndim != 1):
            raise ConfigError(
                f"{name}: got {array.dtype}{list(array.shape)}, expected integers[n]"
            )
    if not index.size and (symbols is None or not symbols.size):
        return
    if symbols is not None and symbols.size != index.size:
        raise ConfigError(
            f"{symbols.size} symbols with {index.size} indices of tables; expected one "
            "for each"
        )
    low, high, count = int(index.min()), int(index.max()), tables.count.size
    if low < 0 or high >= count:
        raise ConfigError(
            f"index: got {low} to {high}, expected numbers of tables, 0 to {count - 1}"
        )


def _sorted(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order by table and the tables' counts; the key is as narrow as it can be."""
    index = index.astype(np.min_scalar_type(int(index.max(initial=0))))
    return np.argsort(index, kind="stable"), np.bincount(index)


def _check_reach(symbols: np.ndarray, shifted: np.ndarray, size: np.ndarray) -> None:
    """Refuses symbols that an escape does not reach."""
    beyond = np.where(shifted < 0, -shifted, shifted - size + 1)
    if beyond.max() > REACH:
        worst = int(beyond.argmax())
        raise ConfigError(
            f"symbol {symbols[worst]} lies {beyond[worst]} beyond its table; at most "
            f"{REACH} can be coded; take wider tables, or split it into digits"
        )


class SymbolEncoder:
    """Writes steps of symbols into one stream."""

    def __init__(self) -> None:
        """Starts an empty stream."""
        self._coder = constriction.stream.queue.RangeEncoder()

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Codes one step.

        Args:
            symbols: integers[n], at most 32767 beyond an end of their tables; of a
                step that goes in rounds integers[k n], a row for each.
            index: integers of that shape, the table of each symbol.
            tables: the step's tables.

        Raises:
            ConfigError: arrays of another kind or of different lengths, no such table,
                or a symbol too far beyond its table.
        """
        rounds = symbols.ndim == 2 and symbols.shape == index.shape
        length = symbols.shape[1] if rounds else symbols.size
        if rounds:
            symbols, index = symbols.ravel(), index.ravel()
        _check(index, tables, symbols)
        # Each round by itself; all are sorted at once.
        key = index
        if symbols.size > length:
            count = tables.count.size
            key = index + count * (np.arange(symbols.size) // length)
        order, counts = _sorted(key)
        ordered, table = symbols[order], index[order]
        position, size = tables.lowest[table], tables.count[table]
        shifted = ordered - position
        outside = (shifted < 0) | (shifted >= size)
        escaped = np.flatnonzero(outside)
        excess = np.zeros(0, np.int64)
        if escaped.size:
            # Anew in 64 bits: symbols far beyond may have wrapped around.
            excess = ordered[escaped].astype(np.int64) - position[escaped]
            _check_reach(ordered[escaped], excess, size[escaped])
            shifted[escaped] = size[escaped]
        shifted = shifted.astype(np.int32, copy=False)
        stops = np.cumsum(counts[counts > 0])
        own = table[stops - 1]
        encode, begin, told = self._coder.encode, 0, 0
        for stop, number in zip(stops.tolist(), own.tolist(), strict=True):
            encode(shifted[begin:stop], tables.model(number))
            begin = stop
            if escaped.size and begin % length == 0:
                until = int(np.searchsorted(escaped, begin))
                self._put_excess(excess[told:until], size[escaped[told:until]])
                told = until

    def _put_excess(self, shifted: np.ndarray, size: np.ndarray) -> None:
        negative = shifted < 0
        rest = np.where(negative, -1 - shifted, shifted - size)
        uniform = constriction.stream.model.Uniform
        for below, value in zip(negative, rest, strict=True):
            value = int(value) + 1
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


class Unwritten:
    """Takes steps of symbols as a `SymbolEncoder` does, and forgets them."""

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Forgets one step; the arguments are those of `SymbolEncoder`."""


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
            index: integers[n], the table of each symbol.
            tables: the step's tables.

        Returns:
            int32[n].

        Raises:
            FormatError: the stream is damaged.
            ConfigError: an index of another kind, or no such table.
        """
        _check(index, tables)
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

    def finish(self) -> None:
        """Says that all steps have been read; a `CheckingDecoder` checks it."""

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


class CheckingDecoder(SymbolDecoder):
    """Reads a stream and knows whether its words are those of the symbols.

    With other tables than the encoder had, or where a machine computes otherwise, what
    is decoded is noise, which no longer ends where the stream does.
    """

    def __init__(self, stream: bytes):
        """Opens a stream, as `SymbolDecoder` does."""
        super().__init__(stream)
        self._stream, self._again = stream, SymbolEncoder()

    def get(self, index: np.ndarray, tables: TableSet) -> np.ndarray:
        """Decodes one step, as `SymbolDecoder` does."""
        symbols = super().get(index, tables)
        self._again.put(symbols, index, tables)
        return symbols

    def finish(self) -> None:
        """Checks the stream, all of whose steps have been read.

        Raises:
            FormatError: its symbols make another stream.
        """
        again = self._again.finish()
        if again != self._stream:
            other = "others" if len(again) == len(self._stream) else len(again)
            raise FormatError(
                f"the stream has {len(self._stream)} bytes, its symbols make {other}: "
                "it was made with other tables, or is damaged"
            )
