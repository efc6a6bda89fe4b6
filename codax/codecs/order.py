"""The coding order of a codec, and the three interpreters that walk it.

A prior is a list of steps. A step either *derives* an array of the state from what is
known (the hyper-synthesis), or *codes* latents: it says which latents it covers, and
its network gives two integers for each of its symbols from everything known before: an
offset (the mean, in sixteenths of a latent step) and a table index. Nothing else about
order exists anywhere; `rate`, `encode` and `decode` below walk the same list and so
cannot disagree.

State arrays hold exact integers as float32: `z` in steps, `y` in sixteenths of a step,
features in units of 1/64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.entropy.coder import SymbolDecoder, SymbolEncoder, TableSet
from codax.entropy.domain import LATENT_LIMIT
from codax.entropy.exact import half_up, straight_through_round

__all__ = ["Network", "Step", "decode", "encode", "rate"]

State = dict[str, Any]
Network = Callable[..., tuple[jax.Array, ...]]
Run = Callable[["Step", State], tuple[np.ndarray, ...]]
"""Evaluates a step's network on whole arrays of the state, in tiles or not."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a coding order.

    Attributes:
        name: for messages and maps.
        target: the array of the state that the step writes: `z`, `y` or a derived one.
        reads: arrays of the state that the network reads.
        network: `(prior, *reads, quality, extent) -> (offset, index)` for a coding
            step, `-> (array,)` for a derived one; None for static tables.
        coded: whether the step codes latents.
        take: picks the step's latents from the whole array, [N h w C] -> [N h w k].
        put: writes values [N h w k] into the array known so far.
        halo: how far, in cells of 1/16, an output of the network looks; multiple of 4.
    """

    name: str
    target: str
    reads: tuple[str, ...] = ()
    network: Network | None = None
    coded: bool = True
    take: Callable[[Any], Any] = lambda whole: whole
    put: Callable[[Any, Any], Any] = lambda known, values: values
    halo: int = 0


def rate(
    prior: Any,
    latents: State,
    quality: jax.Array,
    key: jax.Array | None,
    *,
    exact: bool = True,
    round_offset: float = 0.5,
) -> tuple[dict[str, jax.Array], State]:
    """Differentiable bits of latents, and the latents as decoded.

    The bits are those of latents with uniform noise (or, without a key, of the rounded
    ones, as a file has them); everything downstream sees rounded latents with
    straight-through gradients.

    Args:
        prior: has `steps`, `static` (densities by target) and `shape` (of the tables).
        latents: `y` (and `z`), float32[N h w C] in latent steps.
        quality: int32[N], half steps.
        key: for the noise, or None for hard rounding.
        exact: use the integer networks; False gives their float twin.
        round_offset: 0.5 rounds to nearest; less draws towards the mean.

    Returns:
        Bits by step, each float32[N]; the decoded latents in steps.
    """
    state = prior.start(latents)
    bits = {}
    for number, step in enumerate(prior.steps):
        reads = [state[name] for name in step.reads]
        if not step.coded:
            (state[step.target],) = step.network(
                prior, *reads, quality, None, exact=exact
            )
            continue
        value = step.take(latents[step.target])
        if step.network is None:
            mean, hat = 0.0, straight_through_round(value)
        else:
            mean16, index = step.network(prior, *reads, quality, None, exact=exact)
            mean = mean16 / 16.0
            hat = _round(value - mean, round_offset) + mean
        seen = hat
        if key is not None:
            noise = jax.random.uniform(
                jax.random.fold_in(key, number), value.shape, minval=-0.5, maxval=0.5
            )
            seen = value + noise
        if step.network is None:
            cost = prior.static[step.target].bits(seen, quality)
        else:
            cost = prior.shape.bits(seen - mean, index)
        bits[step.name] = cost.sum((1, 2, 3))
        stored = hat * _unit(step)
        state[step.target] = step.put(state[step.target], stored)
    decoded = {name: state[name] for name in latents}
    decoded["y"] = decoded["y"] / 16.0
    return bits, decoded


def _unit(step: Step) -> int:
    """State units in a latent step: y is kept in sixteenths, z in steps."""
    return 1 if step.target == "z" else 16


def _round(residual: jax.Array, offset: float) -> jax.Array:
    """Rounds with a dead zone: sign(r) floor(|r| + offset), straight through."""
    if offset == 0.5:
        return straight_through_round(residual)
    size = half_up(jnp.abs(residual) - (0.5 - offset))
    return jnp.sign(residual) * jnp.maximum(size, 0.0)


def encode(
    steps: tuple[Step, ...],
    run: Run,
    latents: dict[str, np.ndarray],
    extents: Mapping[str, tuple[int, int]],
    tables: Mapping[str, TableSet],
) -> bytes:
    """Codes latents into one stream.

    Args:
        steps: the coding order.
        run: evaluates a step's exact network.
        latents: by target, float32[1 h w C] in steps, on the padded grids.
        extents: by target, the rows and columns that are coded.
        tables: by target.

    Returns:
        The range-coder stream.
    """
    coder = SymbolEncoder()
    state: State = {name: np.zeros_like(value) for name, value in latents.items()}
    for step in steps:
        if not step.coded:
            (state[step.target],) = run(step, state)
            continue
        rows, columns = extents[step.target]
        value = step.take(latents[step.target])
        values = np.zeros_like(value)
        own = np.s_[0, :rows, :columns]
        if step.network is None:
            limit = LATENT_LIMIT // 16
            symbols = np.clip(np.round(value[own]), -limit, limit).astype(np.int32)
            index = np.broadcast_to(np.arange(symbols.shape[-1]), symbols.shape)
            values[own] = symbols * _unit(step)
        else:
            mean16, index = (a[own].astype(np.int32) for a in run(step, state))
            symbols = np.round(value[own] - mean16 / 16.0).astype(np.int32)
            # What the decoder cannot hold is drawn back to what it can.
            low, high = -LATENT_LIMIT - mean16, LATENT_LIMIT - mean16
            symbols = np.clip(symbols, -(-low // 16), high // 16)
            values[own] = symbols * 16 + mean16
        coder.put(symbols.ravel(), index.ravel(), tables[step.target])
        state[step.target] = step.put(state[step.target], values)
    return coder.finish()


def decode(
    steps: tuple[Step, ...],
    run: Run,
    shapes: Mapping[str, tuple[int, ...]],
    extents: Mapping[str, tuple[int, int]],
    tables: Mapping[str, TableSet],
    stream: bytes,
) -> dict[str, np.ndarray]:
    """Decodes the latents of a stream; the arguments are those of `encode`.

    Args:
        steps: the coding order.
        run: evaluates a step's exact network.
        shapes: by target, the padded shapes (1, h, w, C).
        extents: by target, the rows and columns that are coded.
        tables: by target.
        stream: from `encode`.

    Returns:
        By target, float32[1 h w C]: z in steps, y in sixteenths of a step.

    Raises:
        FormatError: the stream is damaged.
    """
    coder = SymbolDecoder(stream)
    state: State = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for step in steps:
        if not step.coded:
            (state[step.target],) = run(step, state)
            continue
        rows, columns = extents[step.target]
        values = np.zeros_like(step.take(state[step.target]))
        own = np.s_[0, :rows, :columns]
        if step.network is None:
            shape = values[own].shape
            index = np.broadcast_to(np.arange(shape[-1]), shape)
            symbols = coder.get(index.ravel(), tables[step.target]).reshape(shape)
            values[own] = np.clip(symbols * _unit(step), -LATENT_LIMIT, LATENT_LIMIT)
        else:
            mean16, index = (a[own].astype(np.int32) for a in run(step, state))
            symbols = coder.get(index.ravel(), tables[step.target])
            stored = symbols.reshape(index.shape) * 16 + mean16
            values[own] = np.clip(stored, -LATENT_LIMIT, LATENT_LIMIT)
        state[step.target] = step.put(state[step.target], values)
    return {name: state[name] for name in shapes}
