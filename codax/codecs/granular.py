"""`granular`: tokens of three sizes, where there is detail; files of a length foreseen.

    x -> detail of cells -> rank -> grains: coarse 16x16, medium 8x8, fine 4x4
      -> KLT of blocks -> levels -> one token a block
    tokens -> codes -> KLT^T of each cell's grain -> picture -> + network -> x_hat

A cell of 16x16 pixels has one coarse token, four medium or sixteen fine ones. Cells are
sorted by the differences of neighbouring samples, summed in whole numbers; the quality
says which shares are medium and fine, and so how many tokens there are. A token takes
12 bits and a grain 2, in tables of equal powers of two, so that the bytes of a file
follow from the picture's size and the quality alone (`codax.face.foreseen`).

Coding order: the grains; then the coarse, the medium and the fine tokens of the cells
that have them.

The tokens of a group of four share its colours (`codax/entropy/grain_codes.py`).

Source: Li et al. 2025 (Control-GIC): grains by sorted information and shares as the
rate, there over a VQGAN with Huffman codes; Mentzer et al. 2023 (FSQ). Product codes of
block transforms with a network that decodes are this project's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.plain import Plain
from codax.coding.order import Step
from codax.entropy.grain_codes import (
    COMPONENTS,
    LEVELS,
    MOST,
    GrainCodes,
    fit_grain,
)
from codax.entropy.product_codes import FAR
from codax.entropy.ranks import GRAINS, WHOLE, ranked, token_slots
from codax.entropy.tables import TABLE_TOTAL
from codax.entropy.training import IndexSource, RankSource, Source
from codax.errors import ConfigError, ModelError
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.autoencoder import PIXEL_HEAD, PIXEL_SCALE, Blocks
from codax.transforms.layers import Dense, Fixed, pointwise
from codax.transforms.rates import RateRange

__all__ = ["Granular", "GranularConfig", "GranularPrior", "granular"]

NAMES = ("coarse", "medium", "fine")
FOLDS = (1, 2, 4)
"""Blocks of a grain along a side of a cell."""
GROUPS, PLACES = (16, 16, 8), (1, 4, 4)
"""Sides in pixels of what a grain's tokens share, and tokens of it."""
TOKEN_BITS, GRAIN_BITS = 12, 2
QUALITIES = 201
SAMPLES, SIDE = 400, 128
"""Parts of pictures that codes are fitted to, and their side."""
FITTED = ((0.0, 0.7), (0.2, 0.95), (0.5, 1.0))
"""Ranks of the cells that each grain's codes are fitted to, as shares."""
VALUES = 20_000
"""Blocks that levels are fitted to."""


@dataclass(frozen=True, kw_only=True)
class GranularConfig:
    """Shares of the grains, and widths of the decoder."""

    coarse_shares: tuple[float, ...] = (1.0, 0.68, 0.36, 0.1, 0.0)
    medium_shares: tuple[float, ...] = (0.0, 0.31, 0.54, 0.55, 0.0)
    fine_shares: tuple[float, ...] = (0.0, 0.01, 0.1, 0.35, 1.0)
    """Of cells, at qualities that lie evenly from 0 to 100; linear between."""
    width: int = 96
    """Channels of the decoder's network at 1/8."""
    blocks: int = 6
    """Its blocks."""

    def __post_init__(self) -> None:
        """Checks the shares."""
        rows = [self.coarse_shares, self.medium_shares, self.fine_shares]
        if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
            raise ConfigError(
                f"shares: got {', '.join(str(len(row)) for row in rows)} of coarse, "
                "medium and fine, expected as many of each, 2 or more"
            )
        for own in zip(*rows, strict=True):
            if min(own) < 0 or abs(sum(own) - 1.0) > 1e-6:
                words = " + ".join(f"{share:g}" for share in own)
                raise ConfigError(
                    f"shares: {words} of coarse, medium and fine add up to "
                    f"{sum(own):g}, expected shares from 0 that add up to 1"
                )

    @property
    def shares(self) -> np.ndarray:
        """Shares of medium and of fine by quality, float64[201 2], of `WHOLE`."""
        place = np.linspace(0.0, 1.0, len(self.fine_shares))
        at = np.linspace(0.0, 1.0, QUALITIES)
        rows = [np.interp(at, place, s) for s in (self.medium_shares, self.fine_shares)]
        return np.round(np.stack(rows, 1) * WHOLE)


def detail(x: jax.Array) -> jax.Array:
    """How much a cell's samples differ from their neighbours in it.

    Args:
        x: float32[N H W 3], whole numbers 0..255, sides multiples of 16.

    Returns:
        float32[N H/16 W/16 1], whole numbers below 2**19.
    """
    n, h, w, _ = x.shape
    cells = x.reshape(n, h // 16, 16, w // 16, 16, 3)
    down = jnp.abs(cells[:, :, 1:] - cells[:, :, :-1]).sum((2, 4, 5))
    across = jnp.abs(cells[:, :, :, :, 1:] - cells[:, :, :, :, :-1]).sum((2, 4, 5))
    return (down + across)[..., None]


class GranularAnalysis(nnx.Module):
    """Blocks to tokens: a linear transform and thresholds for each grain."""

    def __init__(self) -> None:
        """Makes transforms that know nothing; `start` sets them."""
        stored = partial(Fixed, stored="float32")
        self.mean = stored(jnp.full((3,), 128.0))
        for grain, side, places in zip(NAMES, GROUPS, PLACES, strict=True):
            matrix = Fixed(jnp.zeros((3 * side**2, places * COMPONENTS)))
            setattr(self, f"enter_{grain}", matrix)
            thresholds = stored(jnp.full((places, COMPONENTS, LEVELS - 1), FAR))
            setattr(self, f"thresholds_{grain}", thresholds)
            setattr(self, f"factors_{grain}", stored(jnp.zeros((places, COMPONENTS))))

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Scores of cells, and the tokens of each grain as if all cells had it.

        Args:
            x: float32[N H W 3], 0..255, sides multiples of 16; rounded.

        Returns:
            `grain` float32[N h w 1], and `coarse`, `medium` and `fine` of 1, 4 and 16
            channels: the blocks of a cell, row by row.
        """
        x = jnp.round(x)
        found = {"grain": detail(x)}
        for grain, side, places in zip(NAMES, GROUPS, PLACES, strict=True):
            groups = space_to_depth(x - self.mean[...], side)
            values = pointwise(groups, getattr(self, f"enter_{grain}")[...])
            values = values.reshape(*values.shape[:-1], places, COMPONENTS)
            thresholds = getattr(self, f"thresholds_{grain}")[...]
            digits = (values[..., None] >= thresholds).astype(jnp.float32).sum(-1)
            tokens = (digits * getattr(self, f"factors_{grain}")[...]).sum(-1)
            if side == 8:
                tokens = space_to_depth(depth_to_space(tokens, 2), 4)
            found[grain] = tokens
        return found


class GranularSynthesis(nnx.Module):
    """Tokens to pictures: codes and a linear map for each grain, a network for all."""

    def __init__(self, config: GranularConfig, *, rngs: nnx.Rngs):
        """Makes the transform; the network begins as nothing."""
        self.mean = Fixed(jnp.full((3,), 128.0), stored="float32")
        for grain, side, places in zip(NAMES, GROUPS, PLACES, strict=True):
            codes = Fixed(jnp.zeros((places * MOST, COMPONENTS)))
            setattr(self, f"codes_{grain}", codes)
            matrix = nnx.Param(jnp.zeros((places * COMPONENTS, 3 * side**2)))
            setattr(self, grain, Linear(matrix))
        self.enter = Dense(192 + GRAINS, config.width, rngs=rngs)
        self.fine_blocks = Blocks(config.blocks, config.width, rngs=rngs)
        self.leave = Dense(config.width, 192, rngs=rngs, gain=0.0)

    def __call__(
        self, latents: dict[str, jax.Array], extent: jax.Array | None = None
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of grains and tokens on the grid of cells."""
        grains = depth_to_space(jnp.concatenate([latents["grain"]] * 4, -1), 2)
        own = jnp.concatenate([(grains == g) * 1.0 for g in range(GRAINS)], -1)
        linear = sum(
            own[..., g : g + 1] * self._linear(g, latents[grain])
            for g, grain in enumerate(NAMES)
        )
        f = self.enter(jnp.concatenate([linear * PIXEL_SCALE, own], -1))
        f = self.fine_blocks(f, None if extent is None else 2 * extent)
        change = self.leave(f) * PIXEL_HEAD
        return depth_to_space(depth_to_space(linear + change, 2), 4) + self.mean[...]

    def _linear(self, number: int, tokens: jax.Array) -> jax.Array:
        """What tokens of a grain are by themselves, float32[N 2h 2w 192].

        Of each 8x8 pixels first the quarter (0,0), then (0,1), (1,0) and (1,1).
        """
        grain, side, places = NAMES[number], GROUPS[number], PLACES[number]
        if side == 8:
            tokens = space_to_depth(depth_to_space(tokens, 4), 2)
        place = jnp.clip(tokens, 0, MOST - 1) + MOST * np.arange(places, dtype="f4")
        codes = getattr(self, f"codes_{grain}")[...]
        values = jnp.take(codes, place.astype(jnp.int32), 0)
        values = values.reshape(*values.shape[:-2], places * COMPONENTS)
        groups = pointwise(values, getattr(self, grain).klt[...])
        return groups if side == 8 else depth_to_space(groups, 2)


class Linear(nnx.Module):
    """A linear map, of which training moves little at a time."""

    def __init__(self, matrix: nnx.Param):
        """Takes the matrix."""
        self.klt = matrix


def _grains(prior: GranularPrior, known, quality, extent, *, exact=True):
    # `known` is zero: only its shape counts.
    rows = jnp.take(prior.shares[...], quality, 0)[:, None, None, :]
    return known + rows[..., :1], known + rows[..., 1:]


def _is(grain: int):
    def network(prior: GranularPrior, grains, quality, extent, *, exact=True):
        return ((grains == grain).astype(jnp.float32),)

    return network


def _table(grain: int):
    def network(prior: GranularPrior, known, quality, extent, *, exact=True):
        return (known * 0.0 + float(1 + grain),)

    return network


@cache
def _steps() -> tuple[Step, ...]:
    """The coding order."""
    steps = [Step(name="grain", target="grain", reads=("grain",), network=_grains)]
    for number, grain in enumerate(NAMES):
        steps += [
            Step(
                name=f"is_{grain}",
                target=f"is_{grain}",
                reads=("grain",),
                network=_is(number),
                coded=False,
            ),
            Step(
                name=grain,
                target=grain,
                reads=(grain,),
                network=_table(number),
                within=f"is_{grain}",
            ),
        ]
    return tuple(steps)


class GranularPrior(nnx.Module):
    """The coding order, the shares of the grains, and tables that say nothing."""

    def __init__(self, config: GranularConfig):
        """Makes the tables; `sizes` of them are known when codes are fitted."""
        self.shares = Fixed(jnp.asarray(config.shares, jnp.float32), stored="float32")
        grains = np.full(GRAINS, 2 ** (24 - GRAIN_BITS))
        tokens = np.full(MOST, 2 ** (24 - TOKEN_BITS))
        tables = [np.append(t, TABLE_TOTAL - t.sum()) for t in (grains, tokens)]
        # Stored once, as the tables of the range coder.
        self.frequencies = Fixed(
            jnp.asarray(np.concatenate([tables[0], *tables[1:] * GRAINS]), jnp.float32),
            stored="tables/bank/frequencies",
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""
        return _steps()

    @property
    def sources(self) -> dict[str, Source]:
        """By target of a coding step, how its latents are coded."""
        sizes = ((GRAINS, 1), (MOST, GRAINS))
        lengths = np.array([GRAINS + 1] + [MOST + 1] * GRAINS)
        starts = (np.cumsum(lengths) - lengths).astype(np.int32)
        flat = self.frequencies[...]
        tokens = IndexSource(sizes=sizes, frequencies=flat, starts=starts)
        return {"grain": RankSource(frequencies=flat)} | dict.fromkeys(NAMES, tokens)

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state."""
        own = {grain: fold**2 for grain, fold in zip(NAMES, FOLDS, strict=True)}
        return {"grain": 1, **own, **{f"is_{grain}": 1 for grain in NAMES}}

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        return dict.fromkeys(self.channels, 1.0)

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        if step.target == "grain":
            return (1, 1)
        return (self.channels[step.target],)

    def check_exact(self) -> None:
        """Checks the shares; raises ModelError if one is no part of the whole."""
        shares = np.asarray(self.shares[...], np.float64)
        whole = np.all(shares == np.round(shares)) and shares.min() >= 0
        if not whole or shares.sum(1).max() > WHOLE:
            raise ModelError(f"shares: expected whole numbers of together {WHOLE}")

    def set_scale(self, std: np.ndarray) -> None:
        """Nothing to set: tables say nothing."""


class Granular(Plain):
    """The codec: tokens of three grains, and a network that decodes.

    Attributes:
        g_a: pictures to scores and tokens.
        g_s: grains and tokens to pictures.
        prior: the coding order.
    """

    synthesis_reads = ("grain", *NAMES)
    analysis_halo = 0
    rates = RateRange(low=0.005, high=0.02)
    """Of the loss; the rate is what it is."""

    def __init__(self, config: GranularConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `start` fits transforms and codes."""
        self.synthesis_halo = (config.blocks + 1) // 2
        self.g_a = GranularAnalysis()
        self.g_s = GranularSynthesis(config, rngs=rngs)
        self.prior = GranularPrior(config)

    def start(self, sample: Callable[[int, int], np.ndarray]) -> None:
        """Fits each grain's transform and codes to cells of its ranks.

        Args:
            sample: `(count, side)` -> random parts of pictures, [count side side 3].
        """
        crops = np.round(sample(SAMPLES, SIDE)).astype(np.float32)
        cells = np.asarray(space_to_depth(crops, 16)).reshape(-1, 16, 16, 3)
        scores = np.asarray(jax.jit(detail)(crops)).ravel()
        cells = cells[np.argsort(scores, kind="stable")]
        colour = crops.mean((0, 1, 2))
        self.g_a.mean[...] = self.g_s.mean[...] = jnp.asarray(colour)
        random = np.random.default_rng(0)
        for number, (low, high) in enumerate(FITTED):
            own = cells[int(low * len(cells)) : int(high * len(cells))] - colour
            side = GROUPS[number]
            groups = space_to_depth(own, side).reshape(-1, 3 * side**2)
            few = groups[random.permutation(len(groups))[:VALUES]]
            self._set(NAMES[number], fit_grain(few, side, PLACES[number]))

    def _set(self, grain: str, fitted: GrainCodes) -> None:
        """Sets what is fitted of a grain."""
        for name in ("enter", "thresholds", "factors"):
            variable = getattr(self.g_a, f"{name}_{grain}")
            variable[...] = jnp.asarray(getattr(fitted, name))
        getattr(self.g_s, f"codes_{grain}")[...] = jnp.asarray(fitted.codes)
        getattr(self.g_s, grain).klt[...] = jnp.asarray(fitted.leave)

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Scores and tokens of pictures float32[N H W 3] 0..255."""
        return self.g_a(x)

    def synthesis(
        self,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of grains and tokens."""
        return self.g_s(latents, extent)

    # The tokenizer's face, see `codax.face.tokens`.

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Sizes of the vocabularies of a cell's tokens: its grain, and 16 tokens."""
        return (GRAINS, *[MOST] * 16)

    def token_counts(self) -> tuple[int, ...]:
        """How many tokens a cell may have, unused ones among them."""
        return (len(self.vocabulary),)

    def tokens(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Grains and tokens int32[N h w 17] of pictures float32[N 16h 16w 3]."""
        found = self.g_a(x)
        shares = jnp.take(self.prior.shares[...], quality, 0).astype(jnp.int32)
        grains = ranked(found["grain"], shares[:, 0], shares[:, 1])
        return token_slots(grains, *(found[n].astype(jnp.int32) for n in NAMES))

    def picture(
        self, tokens: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of grains and tokens."""
        parts = {"grain": tokens[..., :1]} | {
            name: tokens[..., 1 : 1 + fold**2]
            for name, fold in zip(NAMES, FOLDS, strict=True)
        }
        found = {n: part.astype(jnp.float32) for n, part in parts.items()}
        return self.g_s(found, extent)


def granular(config: GranularConfig, *, rngs: nnx.Rngs) -> Granular:
    """Makes the codec's networks."""
    return Granular(config, rngs=rngs)
