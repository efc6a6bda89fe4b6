"""Types of cells: transforms fitted to the blocks that choose them, and the choice.

See `codax.transforms.adaptive` for what is made of them.

Source: choice among transforms by rate and distortion: Effros, Chou and Gray 1999;
among KLTs fitted to what chooses them: Dony and Haykin 1995.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from codax.transforms.klt import block_order

__all__ = ["COEFFICIENTS", "QUARTER", "Fitted", "choose", "fit_types", "mix"]

COEFFICIENTS = 768
QUARTER = 192
FINEST, COARSEST = 8.0, 100.0
"""Steps of the quantiser, in pixel levels, that types are fitted for."""
ROUNDS = 10
SHRINK = 0.1
"""Share of all blocks' covariance in that of a type."""
ALIKE = 0.35
"""Correlation of neighbouring quarters from which coefficients are mixed."""
REACH, ALIGNED = 12, 128
"""How far an order is changed to agree with the first type's, and up to where."""

GROUP = 8
"""Neighbouring coefficients that share half of what a proxy knows of their size."""
SLOPE = 6.0 / np.log(2.0)
"""Bits that a squared step of error is worth: lambda / 3 times the step squared."""
SIDE_BITS, SMALL_BITS = 2.0, 3.0
"""What saying a type costs beyond saying the first, about: flat cells, where all types
do equally well, shall agree."""
TAIL_BITS = 6.0
"""What a cell's flag and its silent coefficients cost where it has a tail, about."""


class Fitted(NamedTuple):
    """What `fit_types` finds.

    Attributes:
        colour: float32[3], the mean.
        large: float32[L 768 768], columns by falling variance, rows in the order of
            `block_order`.
        small: float32[S 192 192], likewise, of a quarter.
        mixed: float32[S 192], 1 for coefficients that are mixed over the quarters.
        std: float32[L + S 768], standard deviations in cells of the type.
        whole: float32[768], those of the first type in all cells.
        share: float32[L + S], of cells.
    """

    colour: np.ndarray
    large: np.ndarray
    small: np.ndarray
    mixed: np.ndarray
    std: np.ndarray
    whole: np.ndarray
    share: np.ndarray


def fit_types(blocks: np.ndarray, large: int, small: int, seed: int = 0) -> Fitted:
    """Fits types to blocks.

    Args:
        blocks: float32[B 768], pixels 0..255 in `space_to_depth(x, 16)` order.
        large: types of whole blocks, 1 or more.
        small: types of quarters.
        seed: of the steps, the turns and the start.
    """
    random = np.random.default_rng(seed)
    colour = blocks.reshape(-1, 3).mean(0)
    blocks = _turned(blocks - np.tile(colour, 256), random)[:, block_order()]
    step = np.exp(random.uniform(np.log(FINEST), np.log(COARSEST), (len(blocks), 1)))
    step = step.astype(np.float32)
    count = large + small
    whole = _covariance(blocks)
    chosen = _start(blocks, large, small, random)
    for _ in range(ROUNDS):
        bases = []
        for k in range(count):
            own = blocks[chosen == k]
            if k >= large:
                own, all_blocks = _quarters(own), _mean_quarter(whole)
            else:
                all_blocks = whole
            bases.append(_basis(own, all_blocks))
        costs = [_cost(_transform(blocks, basis) / step) for basis in bases]
        chosen = np.argmin(np.stack(costs), 0)
    first = bases[0]
    for k in range(1, large):
        bases[k] = _aligned(bases[k], first)
    mixed = np.zeros((small, QUARTER), np.float32)
    std = np.empty((count, COEFFICIENTS), np.float32)
    for k, basis in enumerate(bases):
        own = blocks[chosen == k]
        c = _transform(own, basis)
        if k >= large:
            mixed[k - large] = _alike(c)
            c = np.asarray(mix(c.reshape(-1, 4, QUARTER), mixed[k - large]))
            bases[k] = basis * _signs(basis, mixed[k - large], first)
            c = c.reshape(-1, COEFFICIENTS)
        std[k] = np.sqrt((c**2).mean(0) + 1e-6)
    return Fitted(
        colour.astype(np.float32),
        np.stack(bases[:large]),
        np.array(bases[large:], np.float32).reshape(small, QUARTER, QUARTER),
        mixed,
        std,
        np.sqrt((_transform(blocks, first) ** 2).mean(0) + 1e-6),
        np.bincount(chosen, minlength=count).astype(np.float32) / len(blocks),
    )


def _turned(blocks: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blocks in random flips and transposes, as crops of training are."""
    index = np.arange(COEFFICIENTS).reshape(16, 16, 3)
    variants = [index, index[::-1], index[:, ::-1], index[::-1, ::-1]]
    variants += [v.transpose(1, 0, 2) for v in variants]
    turned = np.empty_like(blocks)
    which = random.integers(0, len(variants), len(blocks))
    for k, variant in enumerate(variants):
        turned[which == k] = blocks[which == k][:, variant.ravel()]
    return turned


def _start(
    blocks: np.ndarray, large: int, small: int, random: np.random.Generator
) -> np.ndarray:
    """Types to begin with: large or small at random, then by direction."""
    pixels = blocks.reshape(-1, 2, 2, 8, 8, 3).mean(-1)
    down = (np.diff(pixels, axis=3) ** 2).mean((1, 2, 3, 4))
    across = (np.diff(pixels, axis=4) ** 2).mean((1, 2, 3, 4))
    angle = np.argsort(np.argsort(down / (down + across + 1e-3)))
    is_large = random.random(len(blocks)) * (large + small) < large
    by_angle = [angle * n // len(blocks) for n in (large, small)]
    return np.where(is_large, by_angle[0], large + by_angle[1])


def _quarters(blocks: np.ndarray) -> np.ndarray:
    return blocks.reshape(-1, QUARTER)


def _covariance(values: np.ndarray) -> np.ndarray:
    return (values.T @ values / max(len(values), 1)).astype(np.float64)


def _mean_quarter(covariance: np.ndarray) -> np.ndarray:
    parts = covariance.reshape(4, QUARTER, 4, QUARTER)
    return np.einsum("aiaj->ij", parts) / 4


def _basis(own: np.ndarray, all_blocks: np.ndarray) -> np.ndarray:
    """The KLT of a type's blocks; a share of all blocks' steadies its weak end."""
    raw = _covariance(own)
    scale = np.trace(raw) / np.trace(all_blocks)
    values, vectors = np.linalg.eigh((1 - SHRINK) * raw + SHRINK * scale * all_blocks)
    return vectors[:, np.argsort(values)[::-1]].astype(np.float32)


def _transform(blocks: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return (blocks.reshape(-1, len(basis)) @ basis).reshape(blocks.shape)


def _cost(steps: np.ndarray) -> np.ndarray:
    """About the bits of coefficients in steps and of their errors, float32[B]."""
    kept = np.round(steps)
    return _bits(np.abs(kept)) + SLOPE * ((steps - kept) ** 2).sum(1)


def _aligned(basis: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Reorders leading columns and turns signs to agree with another basis."""
    near = np.abs(first.T @ basis)
    order = np.arange(COEFFICIENTS)
    free = np.ones(COEFFICIENTS, bool)
    for i in range(ALIGNED):
        low = max(0, i - REACH)
        places = np.arange(low, min(ALIGNED, i + REACH + 1))
        places = places[free[places]]  # never empty: i are taken, i + 1 lie below
        late = places[0] <= i - REACH
        order[i] = places[0] if late else places[np.argmax(near[i, places])]
        free[order[i]] = False
    basis = basis[:, order]
    return basis * np.where((first * basis).sum(0) < 0, -1, 1).astype(np.float32)


def _alike(c: np.ndarray) -> np.ndarray:
    """Which coefficients of quarters correlate with those beside them."""
    c = c.reshape(-1, 2, 2, QUARTER)
    across = (c[:, :, 0] * c[:, :, 1]).mean((0, 1))
    down = (c[:, 0] * c[:, 1]).mean((0, 1))
    return (0.5 * (across + down) > ALIKE * (c * c).mean((0, 1, 2))).astype(np.float32)


def _signs(basis: np.ndarray, mixed: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Signs that make sums over quarters point as the first type's channels do."""
    parts = first.reshape(4, QUARTER, COEFFICIENTS).sum(0)[:, ::4]
    return np.where((basis * parts).sum(0) * mixed < 0, -1, 1).astype(np.float32)


def mix(parts: Any, mixed: Any) -> Any:
    """The 2x2 Hadamard transform over quarters, its own inverse.

    Args:
        parts: float32[... 4 192].
        mixed: float32[192], 1 where it is applied.

    Returns:
        float32[... 192 4].
    """
    xp: Any = np if isinstance(parts, np.ndarray) else jnp
    a, b, c, d = (parts[..., s, :] for s in range(4))
    sums = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
    pairs = zip(sums, (a, b, c, d), strict=True)
    return xp.stack([xp.where(mixed > 0, 0.5 * u, p) for u, p in pairs], -1)


def _bits(size: Any) -> Any:
    """About the bits of quantised coefficients: float32[... C] -> [...]."""
    groups = size.reshape(*size.shape[:-1], -1, GROUP)
    xp: Any = np if isinstance(size, np.ndarray) else jnp
    known = 0.5 * groups + 0.5 * groups.mean(-1, keepdims=True)
    return xp.log2(1.0 + 3.0 * known).sum((-1, -2))


def _rare_bits(size: jax.Array) -> jax.Array:
    """About the bits of coefficients that are mostly silent: where, sign and size."""
    count = (size > 0).sum(-1).astype(jnp.float32)
    where = 0.8 * jnp.log2(size.shape[-1] / jnp.maximum(count, 1.0))
    return count * (where + 2.0) + jnp.log2(jnp.maximum(size, 1.0)).sum(-1)


def choose(
    steps: list[jax.Array], leading: int, large: int
) -> tuple[jax.Array, jax.Array]:
    """Chooses each cell's type, and whether it has a tail, by bits and distortion.

    Args:
        steps: for each type, float32[N h w 768], coefficients in quantiser steps.
        leading: how many are coded in every cell; the rest is the tail.
        large: the first types, of whole blocks.

    Returns:
        The type, int32[N h w], and 1 where the tail is worth its bits, likewise.
    """
    costs, tails = [], []
    for number, values in enumerate(steps):
        kept = jnp.round(values)
        size, error = jnp.abs(kept), (values - kept) ** 2
        front, rest = size[..., :leading], size[..., leading:]
        cost = _bits(front) + SLOPE * error[..., :leading].sum(-1)
        coded = TAIL_BITS + _rare_bits(rest) + SLOPE * error[..., leading:].sum(-1)
        silent = SLOPE * (values[..., leading:] ** 2).sum(-1)
        tails.append(coded < silent)
        side = SIDE_BITS if number < large else SMALL_BITS
        costs.append(cost + jnp.minimum(coded, silent) + (side if number else 0.0))
    kind = jnp.argmin(jnp.stack(costs), 0)
    tail = jnp.take_along_axis(jnp.stack(tails), kind[None], 0)[0]
    return kind.astype(jnp.int32), tail.astype(jnp.int32)
