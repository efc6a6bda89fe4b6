"""Sources: how the latents of a step become symbols and tables, and what they cost.

A *source* knows, for the latents of one target (`y`, `z`, ...), what training pays for
them, which symbol and which table codes each of them, and how a decoder turns symbols
back into what it keeps. The heads are what the step's network gives for each latent;
steps without a network have none.

What a decoder keeps is integers in units of `1 / unit` of a latent step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from codax.entropy.domain import LATENT_LIMIT
from codax.entropy.exact import straight_through_round
from codax.entropy.quantisers import Rounding, drawn
from codax.entropy.tables import (
    BINARY_COUNT,
    BINARY_STEP,
    FRACTIONS,
    TABLE_TOTAL,
    GridShape,
    ScaleShape,
    StaticDensity,
)

__all__ = [
    "GRID_LIMIT",
    "BinarySource",
    "DigitSource",
    "GridSource",
    "IndexSource",
    "ResidualSource",
    "ScaleSource",
    "Source",
    "StaticSource",
]

Heads = Sequence[Any]
ROUNDING = Rounding(LATENT_LIMIT // 16)
GRID_LIMIT = 2**14 - 1
"""Integers on their grid lie in +-GRID_LIMIT, so that escapes reach all of them."""


class Source(Protocol):
    """What an interpreter of a coding order asks of a source."""

    @property
    def tables(self) -> str:
        """The name of its tables among the weights."""
        ...

    @property
    def unit(self) -> int:
        """Units of what a decoder keeps in one latent step."""
        ...

    def train(
        self,
        value: jax.Array,
        heads: Heads,
        quality: jax.Array,
        noise: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:
        """What latents cost, and what a decoder would keep of them.

        Args:
            value: float32[N h w k], latents in steps.
            heads: what the step's network gave.
            quality: int32[N], half steps 0..200.
            noise: float32[N h w k] in +-1/2, or None for hard rounding.

        Returns:
            Bits, float32[N h w k], and what a decoder keeps, the same shape, rounded
            with straight-through gradients.
        """
        ...

    def index(self, heads: Heads, shape: tuple[int, ...]) -> np.ndarray:
        """The table of each symbol, integers of that shape."""
        ...

    def symbols(self, value: np.ndarray, heads: Heads) -> np.ndarray:
        """The symbols, int32, that code latents float32[h w k] in steps."""
        ...

    def kept(self, symbols: np.ndarray, heads: Heads) -> np.ndarray:
        """What a decoder keeps of decoded symbols, whatever a damaged file gave."""
        ...


@dataclass(frozen=True)
class StaticSource:
    """Integers by a table for each channel and quality anchor; no heads.

    Attributes:
        density: what training learns.
        tables: the target's name.
        unit: see `Source`.
    """

    density: StaticDensity
    tables: str
    unit: int = 1

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        kept = ROUNDING(value).values
        seen = kept if noise is None else value + noise
        return self.density.bits(seen, quality), kept * self.unit

    def anneal(self, value, heads, quality, noise, temperature):
        """Like `train`, of latents that `drawn` draws to integers."""
        kept = drawn(value, noise, temperature)
        return self.density.bits(kept, quality), kept * self.unit

    def index(self, heads, shape):
        """See `Source`."""
        return np.broadcast_to(np.arange(shape[-1]), shape)

    def symbols(self, value, heads):
        """See `Source`."""
        limit = ROUNDING.limit
        return np.clip(np.round(value), -limit, limit).astype(np.int32)

    def kept(self, symbols, heads):
        """See `Source`."""
        return np.clip(symbols * self.unit, -LATENT_LIMIT, LATENT_LIMIT)


@dataclass(frozen=True)
class ResidualSource:
    """Rounded residuals beside a mean, by 64 zero-mean tables.

    Heads: the mean in sixteenths of a latent step, and the index of the scale table.

    Attributes:
        density: the tables' common shape.
    """

    density: ScaleShape
    tables = "scales"
    unit = 16

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        mean, index = heads[0] / 16.0, heads[1]
        kept = straight_through_round(value - mean) + mean
        seen = kept if noise is None else value + noise
        return self.density.bits(seen - mean, index), kept * 16

    def anneal(self, value, heads, quality, noise, temperature):
        """Like `train`, of residuals that `drawn` draws to integers."""
        mean, index = heads[0] / 16.0, heads[1]
        residual = drawn(value - mean, noise, temperature)
        return self.density.bits(residual, index), (residual + mean) * 16

    def index(self, heads, shape):
        """See `Source`."""
        return heads[1].astype(np.int32)

    def symbols(self, value, heads):
        """See `Source`."""
        mean16 = heads[0].astype(np.int32)
        symbols = np.round(value - mean16 / 16.0).astype(np.int32)
        # What the decoder cannot hold is drawn back to what it can.
        low, high = -LATENT_LIMIT - mean16, LATENT_LIMIT - mean16
        return np.clip(symbols, -(-low // 16), high // 16)

    def kept(self, symbols, heads):
        """See `Source`."""
        stored = symbols * 16 + heads[0].astype(np.int32)
        return np.clip(stored, -LATENT_LIMIT, LATENT_LIMIT)


@dataclass(frozen=True)
class ScaleSource:
    """Integers about 0, by the tables of `ResidualSource`; the head is the index.

    Attributes:
        density: the tables' common shape.
    """

    density: ScaleShape
    tables = "scales"
    unit = 1

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        kept = ROUNDING(value).values
        seen = kept if noise is None else value + noise
        return self.density.bits(seen, heads[0]), kept

    def index(self, heads, shape):
        """See `Source`."""
        return heads[0].astype(np.int32)

    def symbols(self, value, heads):
        """See `Source`."""
        limit = ROUNDING.limit
        return np.clip(np.round(value), -limit, limit).astype(np.int32)

    def kept(self, symbols, heads):
        """See `Source`."""
        return np.clip(symbols, -ROUNDING.limit, ROUNDING.limit)


@dataclass(frozen=True)
class BinarySource:
    """Decisions, 0 or 1, by stored tables that lie evenly in the logit.

    Head: the number of the table, 0..63.
    """

    tables = "binary"
    unit = 1
    step = BINARY_STEP

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        value = jnp.clip(jnp.round(value), 0.0, 1.0)
        logit = self.step * (heads[0] - 0.5 * (BINARY_COUNT - 1))
        against = jnp.where(value > 0, -logit, logit)
        return jax.nn.softplus(against) / np.log(2.0), value

    def index(self, heads, shape):
        """See `Source`."""
        return heads[0].astype(np.int32)

    def symbols(self, value, heads):
        """See `Source`."""
        return np.clip(np.round(value), 0, 1).astype(np.int32)

    def kept(self, symbols, heads):
        """See `Source`."""
        return np.clip(symbols, 0, 1)


@dataclass(frozen=True)
class GridSource:
    """Integers that stay what they are, by tables of scale and mean fraction.

    The symbol is the integer less the floor of the mean. Heads: the mean in eighths,
    and the index of the scale, 0..31.

    Attributes:
        density: the tables' common shape.
    """

    density: GridShape
    tables = "grid"
    unit = 1

    def train(self, value, heads, quality, noise):
        """See `Source`; there is nothing to round, and no noise."""
        mean, index = heads
        return self.density.bits(value - mean / FRACTIONS, index), value

    def index(self, heads, shape):
        """See `Source`."""
        mean, index = (head.astype(np.int32) for head in heads)
        return index * FRACTIONS + mean % FRACTIONS

    def symbols(self, value, heads):
        """See `Source`."""
        value = np.clip(value, -GRID_LIMIT, GRID_LIMIT).astype(np.int32)
        return value - heads[0].astype(np.int32) // FRACTIONS

    def kept(self, symbols, heads):
        """See `Source`."""
        stored = symbols + heads[0].astype(np.int32) // FRACTIONS
        return np.clip(stored, -GRID_LIMIT, GRID_LIMIT)


@dataclass(frozen=True)
class DigitSource:
    """Digits of bounded alphabets, by the tables of `GridSource`.

    Heads: the mean in eighths, the index of the scale, and the largest digit; digits
    lie around 0. Values to be coded are within their alphabet already.

    Attributes:
        density: the tables' common shape.
    """

    density: GridShape
    tables = "grid"
    unit = 16

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        mean, index, _ = heads
        kept = straight_through_round(value)
        seen = kept if noise is None else value + noise
        return self.density.bits(seen - mean / FRACTIONS, index), kept * self.unit

    def index(self, heads, shape):
        """See `Source`."""
        return GridSource(self.density).index(heads[:2], shape)

    def symbols(self, value, heads):
        """See `Source`."""
        return GridSource(self.density).symbols(np.round(value), heads[:2])

    def kept(self, symbols, heads):
        """See `Source`."""
        digits = GridSource(self.density).kept(symbols, heads[:2])
        largest = heads[2].astype(np.int32)
        return np.clip(digits, -largest, largest) * self.unit


@dataclass(frozen=True)
class IndexSource:
    """Tokens, by stored tables that contexts choose among.

    Head: the number of the table; without a network it is the first.

    Attributes:
        frequencies: float32, those of all tables in a row, integers, sum 2**24 each.
        starts: int32, where each table begins.
        sizes: int32, symbols of each table; its escape follows them.
    """

    frequencies: jax.Array
    starts: np.ndarray
    sizes: np.ndarray
    tables = "bank"
    unit = 1

    def train(self, value, heads, quality, noise):
        """See `Source`; tokens are whole, so there is nothing to round."""
        table = heads[0].astype(jnp.int32) if heads else 0
        place = jnp.asarray(self.starts)[table] + value.astype(jnp.int32)
        share = jnp.take(self.frequencies, place, 0) / TABLE_TOTAL
        return -jnp.log2(share), value

    def index(self, heads, shape):
        """See `Source`."""
        return heads[0].astype(np.int32) if heads else np.zeros(shape, np.int32)

    def symbols(self, value, heads):
        """See `Source`."""
        return value.astype(np.int32)

    def kept(self, symbols, heads):
        """See `Source`."""
        index = self.index(heads, symbols.shape)
        return np.clip(symbols, 0, self.sizes[index] - 1)
