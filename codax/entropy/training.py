"""What training pays for latents: the other half of each source.

A source of training is the source of `codax.entropy.sources` with the density that
training learns: what latents cost under it, and what a decoder would keep of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from codax.entropy.densities import GridShape, ScaleShape, StaticDensity
from codax.entropy.exact import straight_through_round
from codax.entropy.quantisers import Rounding, drawn
from codax.entropy.ranks import ranked
from codax.entropy.sources import (
    STEP_LIMIT,
    BinarySymbols,
    DigitSymbols,
    GridSymbols,
    Heads,
    IndexSymbols,
    RankSymbols,
    ResidualSymbols,
    ScaleSymbols,
    StaticSymbols,
    SymbolSource,
    cheaper,
)
from codax.entropy.tables import (
    BINARY_COUNT,
    BINARY_STEP,
    FRACTIONS,
    TABLE_TOTAL,
    bank_tables,
    binary_tables,
    grid_tables,
    pack_tables,
    scale_tables,
    static_tables,
)

__all__ = [
    "BinarySource",
    "DigitSource",
    "GridSource",
    "IndexSource",
    "RankSource",
    "ResidualSource",
    "ScaleSource",
    "Source",
    "StaticSource",
]

ROUNDING = Rounding(STEP_LIMIT)


class Source(SymbolSource, Protocol):
    """What `rate` asks of a source, beside what files ask.

    A source whose latents can be refined has `anneal` too, `train` with a temperature.
    """

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

    def pack(self) -> dict[str, np.ndarray]:
        """Its tables as they are stored, of what training has learned so far."""


@dataclass(frozen=True, kw_only=True)
class StaticSource(StaticSymbols):
    """Integers by a table for each channel and quality anchor.

    Attributes:
        density: what training learns.
    """

    density: StaticDensity

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        kept = ROUNDING(value).values
        seen = kept if noise is None else value + noise
        return self.density.bits(seen, quality), kept * self.unit

    def pack(self):
        """See `Source`."""
        parts = (self.density.logits, self.density.loc, self.density.log_scale)
        tables = static_tables(*(np.asarray(part[...]) for part in parts))
        return pack_tables(self.tables, tables)

    def anneal(self, value, heads, quality, noise, temperature):
        """Like `train`, of latents that `drawn` draws to integers."""
        kept = drawn(value, noise, temperature)
        return self.density.bits(kept, quality), kept * self.unit


@dataclass(frozen=True, kw_only=True)
class ResidualSource(ResidualSymbols):
    """Rounded residuals beside a mean.

    Attributes:
        density: the tables' common shape.
    """

    density: ScaleShape

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        mean, index = heads[0] / 16.0, heads[1]
        residual = value - mean
        if noise is None:
            # As an encoder chooses.
            nearest = jnp.round(residual)
            chosen = cheaper(nearest, residual, lambda s: self.density.bits(s, index))
            residual += jax.lax.stop_gradient(chosen - residual)
            return self.density.bits(residual, index), (residual + mean) * 16
        kept = straight_through_round(residual) + mean
        return self.density.bits(residual + noise, index), kept * 16

    def pack(self):
        """See `Source`."""
        return pack_tables(self.tables, scale_tables(*self.density.floats()))

    def anneal(self, value, heads, quality, noise, temperature):
        """Like `train`, of residuals that `drawn` draws to integers."""
        mean, index = heads[0] / 16.0, heads[1]
        residual = drawn(value - mean, noise, temperature)
        return self.density.bits(residual, index), (residual + mean) * 16


@dataclass(frozen=True, kw_only=True)
class ScaleSource(ScaleSymbols):
    """Integers about 0.

    Attributes:
        density: the tables' common shape.
    """

    density: ScaleShape

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        kept = ROUNDING(value).values
        seen = kept if noise is None else value + noise
        return self.density.bits(seen, heads[0]), kept

    def pack(self):
        """See `Source`."""
        return pack_tables(self.tables, scale_tables(*self.density.floats()))


@dataclass(frozen=True, kw_only=True)
class BinarySource(BinarySymbols):
    """Decisions, 0 or 1; nothing is learned but the heads."""

    def train(self, value, heads, quality, noise):
        """See `Source`; there is nothing to round."""
        logit = BINARY_STEP * (heads[0] - 0.5 * (BINARY_COUNT - 1))
        against = jnp.where(value > 0, -logit, logit)
        return jax.nn.softplus(against) / np.log(2.0), value

    def pack(self):
        """See `Source`."""
        return pack_tables(self.tables, binary_tables())


@dataclass(frozen=True, kw_only=True)
class GridSource(GridSymbols):
    """Integers that stay what they are.

    Attributes:
        density: the tables' common shape.
    """

    density: GridShape

    def train(self, value, heads, quality, noise):
        """See `Source`; there is nothing to round, and no noise."""
        mean, index = heads
        return self.density.bits(value - mean / FRACTIONS, index), value

    def pack(self):
        """See `Source`."""
        return pack_tables(self.tables, grid_tables(*self.density.floats()))


@dataclass(frozen=True, kw_only=True)
class DigitSource(DigitSymbols):
    """Digits of bounded alphabets.

    Attributes:
        density: the tables' common shape.
    """

    density: GridShape

    def train(self, value, heads, quality, noise):
        """See `Source`."""
        mean, index, _ = heads
        kept = straight_through_round(value)
        seen = kept if noise is None else value + noise
        return self.density.bits(seen - mean / FRACTIONS, index), kept * self.unit

    def pack(self):
        """See `Source`."""
        return pack_tables(self.tables, grid_tables(*self.density.floats()))


@dataclass(frozen=True, kw_only=True)
class IndexSource(IndexSymbols):
    """Tokens, by stored tables.

    Attributes:
        frequencies: float32, those of all tables in a row, integers, sum 2**24 each.
        starts: int32, where each table begins.
    """

    frequencies: jax.Array
    starts: np.ndarray

    def train(self, value, heads, quality, noise):
        """See `Source`; tokens are whole, so there is nothing to round."""
        table = heads[0].astype(jnp.int32) if heads else 0
        place = jnp.asarray(self.starts)[table] + value.astype(jnp.int32)
        share = jnp.take(self.frequencies, place, 0) / TABLE_TOTAL
        return -jnp.log2(share), value

    def pack(self):
        """See `Source`."""
        return pack_tables(self.tables, bank_tables(np.asarray(self.frequencies)))


@dataclass(frozen=True, kw_only=True)
class RankSource(RankSymbols):
    """Grains by rank.

    Attributes:
        frequencies: float32, those of the bank, of which the first table's count.
    """

    frequencies: jax.Array

    def train(self, value, heads, quality, noise):
        """See `Source`; scores become grains, and nothing is learned."""
        shares = (head[:, 0, 0, 0].astype(jnp.int32) for head in heads)
        grains = ranked(value, *shares)
        share = jnp.take(self.frequencies, grains, 0) / TABLE_TOTAL
        return -jnp.log2(share), grains.astype(jnp.float32)

    def pack(self):
        """See `Source`."""
        return pack_tables(self.tables, bank_tables(np.asarray(self.frequencies)))
