"""The interpreter of a coding order for training: differentiable bits of latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from codax.coding.order import State, Step, Walked, layer_count, layers_at
from codax.entropy.sources import Heads, ResidualSymbols
from codax.entropy.training import Source
from codax.entropy.trellis import Trellis
from codax.transforms.layers import grid_mask

__all__ = ["Prior", "rate"]


class Prior(Walked, Protocol):
    """What `rate`, codec and training program ask of a codec's prior."""

    @property
    def sources(self) -> Mapping[str, Source]:
        """By target of a coding step, how its latents are coded."""

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""

    def check_exact(self) -> None:
        """Checks that every layer is exact; raises ModelError if one is not."""

    def set_scale(self, std: Any) -> None:
        """Starts from the transform coder's standard deviations."""


def rate(
    prior: Prior,
    latents: State,
    quality: jax.Array,
    key: jax.Array | None,
    *,
    exact: bool = True,
    extent: jax.Array | None = None,
    temperature: jax.Array | None = None,
    trellis: Trellis | None = None,
    known: State | None = None,
    maps: bool = False,
) -> tuple[dict[str, jax.Array], State]:
    """Differentiable bits of latents, and the latents as decoded.

    The bits are those of latents with uniform noise (or, without a key, of those that
    a file has); everything downstream sees rounded latents with
    straight-through gradients.

    Args:
        prior: the codec's.
        latents: `y` (and `z`), float32[N h w C] in latent steps.
        quality: int32[N], half steps.
        key: for the noise, or None for hard rounding.
        exact: use the integer networks; False gives their float twin.
        extent: int32[2], rows and columns at 1/16 that belong to the picture; latents
            beyond cost nothing. None when all do.
        temperature: with a key, latents are drawn to neighbouring integers, see
            `codax.entropy.quantisers.drawn`, instead of rounded beside noise.
        trellis: without a key, residuals are quantised dependently from its quality on,
            as files are.
        known: the decoded latents of stage 0, if these are of stage 1.
        maps: give bits by position.

    Returns:
        Bits by step, each float32[N], or [N h w] of maps; the decoded latents in steps.
    """
    state = {name: jnp.zeros_like(value) for name, value in latents.items()}
    sources = prior.sources
    stage = 0
    if known is not None:
        stage = 1
        state |= {name: value * sources[name].unit for name, value in known.items()}
    bits = {}
    for number, step in enumerate(prior.steps):
        # What was derived in stage 0 is derived again; a compiler does it once.
        of_stage = step.stage == stage if step.coded else step.stage <= stage
        if not of_stage or not step.applies(state):
            continue
        heads: tuple[jax.Array, ...] = ()
        if step.network is not None:
            reads = [state[name] for name in step.reads]
            heads = step.function(prior, *reads, quality, extent, exact=exact)
        if not step.coded:
            (state[step.target],) = heads
            continue
        value = step.take(latents[step.target])
        noise = None
        if key is not None:
            own = jax.random.fold_in(key, number)
            noise = jax.random.uniform(own, value.shape, minval=-0.5, maxval=0.5)
        source: Any = sources[step.target]
        if temperature is None:
            cost, kept = source.train(value, heads, quality, noise)
        else:
            cost, kept = source.anneal(value, heads, quality, noise, temperature)
        if trellis is not None and key is None and isinstance(source, ResidualSymbols):
            used = (quality >= trellis.told(trellis.start))[:, None, None, None]
            paid, points = _dependent(trellis, value, heads)
            # Counted tables have no gradient: that of plain residuals stands for it.
            paid = cost + jax.lax.stop_gradient(paid - cost)
            cost, kept = jnp.where(used, paid, cost), jnp.where(used, points, kept)
        if extent is not None:
            own = jnp.ceil(extent * prior.strides[step.target])
            cost, kept = grid_mask(cost, own), grid_mask(kept, own)
        where = step.where(*value.shape[1:3])
        coded = None if where is None else jnp.asarray(where)[..., None]
        if step.within:
            own = state[step.within] != 0
            coded = own if coded is None else own & coded
        if coded is not None:
            cost, kept = jnp.where(coded, cost, 0.0), jnp.where(coded, kept, 0.0)
        if step.layer:
            used = step.layer < layers_at(quality, layer_count(prior))
            cost = jnp.where(used[:, None, None, None], cost, 0.0)
        bits[step.name] = cost.sum(-1 if maps else (1, 2, 3))
        state[step.target] = step.put(state[step.target], kept)
    return bits, {name: state[name] / sources[name].unit for name in latents}


def _dependent(
    trellis: Trellis, value: jax.Array, heads: Heads
) -> tuple[jax.Array, jax.Array]:
    """Bits and kept latents of residuals [N h w k], quantised dependently."""
    channels = value.shape[-1]
    columns = [a.reshape(-1, channels).T for a in (value, *heads)]
    found = trellis.search(*columns, scan=jax.lax.scan)
    symbols, index = (part.T.reshape(value.shape) for part in found)
    bits, kept = trellis.bits(symbols, index), trellis.kept(symbols, index, heads[0])
    # Straight through, as rounding is elsewhere.
    return bits, value * 16 + jax.lax.stop_gradient(kept - value * 16)
