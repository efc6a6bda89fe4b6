"""Sources: how the latents of a step become symbols and tables, and back. No JAX.

A *source* knows, for the latents of one target (`y`, `z`, ...), which symbol and which
table codes each of them, how a decoder turns symbols back into what it keeps, and under
which name its tables are stored. What training pays for them is the other half, in
`codax.entropy.training`. The heads are what the step's network gives for each latent;
steps without a network have none.

What a decoder keeps is integers in units of `1 / unit` of a latent step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from codax.entropy.coder import TableSet
from codax.entropy.ranks import GRAINS, ranked
from codax.entropy.tables import ANCHORS, FRACTIONS, stored_tables
from codax.entropy.units import GRID_LIMIT, LATENT_LIMIT
from codax.errors import ModelError
from codax.transforms.arrays import Array, array_module

__all__ = [
    "RESIDUAL_PRICE",
    "STEP_LIMIT",
    "BinarySymbols",
    "DigitSymbols",
    "GridSymbols",
    "Heads",
    "IndexSymbols",
    "RankSymbols",
    "ResidualSymbols",
    "ScaleSymbols",
    "StaticSymbols",
    "SymbolSource",
    "cheaper",
    "describe_source",
    "read_source",
]

Heads = Sequence[Any]
RESIDUAL_PRICE = 50.0
"""Bits that an encoder pays for a squared error of a latent step."""
STEP_LIMIT = LATENT_LIMIT // 16
"""Latents by static tables lie in +-STEP_LIMIT steps."""


class SymbolSource(Protocol):
    """What the interpreters of files ask of a source."""

    kind: ClassVar[str]
    """Its name in a coding order that is stored as data."""
    refines: ClassVar[bool]
    """Whether gradient descent may move its latents, see `codax.coding.refining`."""

    @property
    def tables(self) -> str:
        """The name of its tables among the weights."""

    @property
    def unit(self) -> int:
        """Units of what a decoder keeps in one latent step."""

    def index(self, heads: Heads, shape: tuple[int, ...]) -> np.ndarray:
        """The table of each symbol, integers of that shape."""

    def symbols(self, value: np.ndarray, heads: Heads) -> np.ndarray:
        """The symbols, int32, that code latents float32[h w k] in steps."""

    def kept(self, symbols: np.ndarray, heads: Heads) -> np.ndarray:
        """What a decoder keeps of decoded symbols, whatever a damaged file gave."""

    def load(self, packed: Mapping[str, np.ndarray]) -> list[TableSet]:
        """Its tables among stored arrays: one set, or one for each quality anchor.

        Raises:
            ModelError: they are missing or break the rules.
        """


@dataclass(frozen=True, kw_only=True)
class StaticSymbols:
    """Integers by a table for each channel and quality anchor; no heads.

    Attributes:
        tables: the target's name.
        unit: see `SymbolSource`.
    """

    kind: ClassVar[str] = "static"
    refines: ClassVar[bool] = True
    tables: str
    unit: int = 1

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return np.broadcast_to(np.arange(shape[-1]), shape)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        return np.clip(np.round(value), -STEP_LIMIT, STEP_LIMIT).astype(np.int32)

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        return np.clip(symbols * self.unit, -LATENT_LIMIT, LATENT_LIMIT)

    def load(self, packed):
        """See `SymbolSource`; a set for each anchor, with a table per channel."""
        parts = stored_tables(packed, self.tables)
        size = len(parts) // ANCHORS
        return [
            TableSet.centred(parts[k * size : (k + 1) * size]) for k in range(ANCHORS)
        ]


@dataclass(frozen=True, kw_only=True)
class ResidualSymbols:
    """Rounded residuals beside a mean, by 64 zero-mean tables.

    Heads: the mean in sixteenths of a latent step, and the index of the scale table.
    """

    kind: ClassVar[str] = "residual"
    refines: ClassVar[bool] = True
    tables: ClassVar[str] = "scales"
    unit: ClassVar[int] = 16

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return heads[1].astype(np.int32)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        mean16 = heads[0].astype(np.int32)
        symbols = np.round(value - mean16 / 16.0).astype(np.int32)
        # What the decoder cannot hold is drawn back to what it can.
        low, high = -LATENT_LIMIT - mean16, LATENT_LIMIT - mean16
        return np.clip(symbols, -(-low // 16), high // 16)

    def cheaper(
        self, symbols: np.ndarray, value: np.ndarray, heads: Heads, tables: TableSet
    ) -> np.ndarray:
        """Of the nearest symbols, which `symbols` gives, what `cheaper` makes."""
        found = symbols.copy()
        some = np.nonzero(symbols)
        own = [head[some] for head in heads]
        residual = value[some] - own[0] / np.float32(16.0)
        index = self.index(own, residual.shape)
        found[some] = cheaper(symbols[some], residual, lambda s: tables.bits(s, index))
        return found

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        stored = symbols * 16 + heads[0].astype(np.int32)
        return np.clip(stored, -LATENT_LIMIT, LATENT_LIMIT)

    def load(self, packed):
        """See `SymbolSource`; half of each table is stored, since it is symmetric."""
        parts = stored_tables(packed, self.tables)
        return [TableSet.symmetric(parts)]


@dataclass(frozen=True, kw_only=True)
class ScaleSymbols:
    """Integers about 0, by the tables of `ResidualSymbols`; the head is the index."""

    kind: ClassVar[str] = "scale"
    refines: ClassVar[bool] = False
    tables: ClassVar[str] = "scales"
    unit: ClassVar[int] = 1

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return heads[0].astype(np.int32)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        return np.clip(np.round(value), -STEP_LIMIT, STEP_LIMIT).astype(np.int32)

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        return np.clip(symbols, -STEP_LIMIT, STEP_LIMIT)

    def load(self, packed):
        """See `SymbolSource`."""
        return ResidualSymbols().load(packed)


@dataclass(frozen=True, kw_only=True)
class BinarySymbols:
    """Decisions, 0 or 1, by tables that lie evenly in the logit.

    Head: the number of the table, 0..63.
    """

    kind: ClassVar[str] = "binary"
    refines: ClassVar[bool] = False
    tables: ClassVar[str] = "binary"
    unit: ClassVar[int] = 1

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return heads[0].astype(np.int32)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        return value.astype(np.int32)

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        return np.clip(symbols, 0, 1)

    def load(self, packed):
        """See `SymbolSource`."""
        return [TableSet.from_zero(stored_tables(packed, self.tables))]


@dataclass(frozen=True, kw_only=True)
class GridSymbols:
    """Integers that stay what they are, by tables of scale and mean fraction.

    The symbol is the integer less the floor of the mean. Heads: the mean in eighths,
    and the index of the scale, 0..31.
    """

    kind: ClassVar[str] = "grid"
    refines: ClassVar[bool] = False
    tables: ClassVar[str] = "grid"
    unit: ClassVar[int] = 1

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return _grid_index(heads)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        return _grid_symbols(value, heads)

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        return _grid_kept(symbols, heads)

    def load(self, packed):
        """See `SymbolSource`."""
        return [TableSet.centred(stored_tables(packed, self.tables))]


@dataclass(frozen=True, kw_only=True)
class DigitSymbols:
    """Digits of bounded alphabets, by the tables of `GridSymbols`.

    Heads: the mean in eighths, the index of the scale, and the largest digit; digits
    lie around 0. Values to be coded are within their alphabet already.
    """

    kind: ClassVar[str] = "digits"
    refines: ClassVar[bool] = False
    tables: ClassVar[str] = "grid"
    unit: ClassVar[int] = 16

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return _grid_index(heads)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        return _grid_symbols(np.round(value), heads)

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        largest = heads[2].astype(np.int32)
        return np.clip(_grid_kept(symbols, heads), -largest, largest) * self.unit

    def load(self, packed):
        """See `SymbolSource`."""
        return [TableSet.centred(stored_tables(packed, self.tables))]


@dataclass(frozen=True, kw_only=True)
class IndexSymbols:
    """Tokens, by stored tables that contexts choose among.

    Head: the number of the table; without a network it is the first.

    Attributes:
        sizes: runs of tables, the symbols of each and how many there are; a table's
            escape follows its symbols.
    """

    kind: ClassVar[str] = "index"
    refines: ClassVar[bool] = False
    tables: ClassVar[str] = "bank"
    unit: ClassVar[int] = 1
    sizes: tuple[tuple[int, int], ...]

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return heads[0].astype(np.int32) if heads else np.zeros(shape, np.int32)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        return value.astype(np.int32)

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        sizes = np.repeat(*np.asarray(self.sizes).T)
        return np.clip(symbols, 0, sizes[self.index(heads, symbols.shape)] - 1)

    def load(self, packed):
        """See `SymbolSource`."""
        return [TableSet.from_zero(stored_tables(packed, self.tables))]


@dataclass(frozen=True, kw_only=True)
class RankSymbols:
    """Grains by rank among all values of a step, see `codax.entropy.ranks`.

    Values are scores. Heads, the same everywhere: the shares of medium and of fine.
    The first table of the bank codes grains.
    """

    kind: ClassVar[str] = "rank"
    refines: ClassVar[bool] = False
    tables: ClassVar[str] = "bank"
    unit: ClassVar[int] = 1

    def index(self, heads, shape):
        """See `SymbolSource`."""
        return np.zeros(shape, np.int32)

    def symbols(self, value, heads):
        """See `SymbolSource`."""
        shares = (head.ravel()[:1].astype(np.int64) for head in heads)
        return ranked(value[None], *shares)[0]

    def kept(self, symbols, heads):
        """See `SymbolSource`."""
        return np.clip(symbols, 0, GRAINS - 1)

    def load(self, packed):
        """See `SymbolSource`."""
        return [TableSet.from_zero(stored_tables(packed, self.tables))]


KINDS: dict[str, type[Any]] = {
    kind.kind: kind
    for kind in (
        StaticSymbols,
        ResidualSymbols,
        ScaleSymbols,
        BinarySymbols,
        GridSymbols,
        DigitSymbols,
        IndexSymbols,
        RankSymbols,
    )
}


def cheaper(nearest: Array, residual: Array, bits: Callable[[Any], Any]) -> Array:
    """Symbols one nearer to zero, where that saves more bits than it costs.

    Args:
        nearest: symbols, whole numbers.
        residual: what they stand for, in latent steps, the same shape.
        bits: of symbols.

    Source: rate-distortion optimised quantisation, as in encoders of HEVC.
    """
    xp = array_module(residual)
    lower = nearest - xp.sign(nearest)
    error = (residual - lower) ** 2 - (residual - nearest) ** 2
    saved = bits(nearest) - bits(lower)
    return xp.where(saved > RESIDUAL_PRICE * error, lower, nearest)


def describe_source(source: SymbolSource) -> dict[str, Any]:
    """The half of a source that deals in symbols, as JSON holds it."""
    fields = dataclasses.fields(KINDS[source.kind])
    return {"kind": source.kind} | {f.name: getattr(source, f.name) for f in fields}


def read_source(described: Mapping[str, Any]) -> SymbolSource:
    """The source that `describe_source` described.

    Raises:
        ModelError: no such kind, or other fields.
    """
    fields = {
        name: tuple(map(tuple, value)) if isinstance(value, list) else value
        for name, value in described.items()
        if name != "kind"
    }
    try:
        return KINDS[described["kind"]](**fields)
    except (KeyError, TypeError) as error:
        raise ModelError(f"order: source {dict(described)} is unknown here") from error


def _grid_index(heads: Heads) -> np.ndarray:
    mean, index = (head.astype(np.int32) for head in heads[:2])
    return index * FRACTIONS + mean % FRACTIONS


def _grid_symbols(value: np.ndarray, heads: Heads) -> np.ndarray:
    value = np.clip(value, -GRID_LIMIT, GRID_LIMIT).astype(np.int32)
    return value - heads[0].astype(np.int32) // FRACTIONS


def _grid_kept(symbols: np.ndarray, heads: Heads) -> np.ndarray:
    stored = symbols + heads[0].astype(np.int32) // FRACTIONS
    return np.clip(stored, -GRID_LIMIT, GRID_LIMIT)
