"""The coding order of a codec, and the interpreters that walk it.

A prior is a list of steps. A step either *derives* an array of the state from what is
known (the hyper-synthesis), or *codes* latents: it says which latents it covers, and
its network gives for each of its symbols the integers that the target's source asks
for (`codax.entropy.sources`: a mean and a table index, say) from everything known
before. Nothing else about order exists anywhere; `rate`, `encode` and `decode` below
walk the same list and so cannot disagree.

State arrays hold exact integers as float32, in the units of their source: `z` in
steps, `y` in sixteenths of a step; features in units of 1/64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from codax.codecs.container import MAX_QUALITY
from codax.entropy.coder import SymbolDecoder, TableSet
from codax.entropy.sources import Source
from codax.transforms.layers import grid_mask

__all__ = [
    "Network",
    "Prior",
    "Step",
    "SymbolSink",
    "decode",
    "encode",
    "layer_count",
    "layers_at",
    "positions",
    "rate",
]

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
        network: `(prior, *reads, quality, extent) -> heads` for a coding step, such as
            `(offset, index)`; `-> (array,)` for a derived one; None for static tables.
        coded: whether the step codes latents.
        take: picks the step's latents from the whole array, [N h w C] -> [N h w k].
        put: writes values [N h w k] into the array known so far.
        halo: how far, in cells of 1/16, an output of the network looks; multiple of 4.
        where: `(rows, columns) -> bool[rows columns]`, the positions that the step
            codes, or the array of the state, of one channel, that is not zero there;
            None for all. The rest of what `put` gets is zero.
        layer: of the streams of a file that can be cut, which holds the step.
        whole: a derived step that takes whole arrays at once, cut to the picture's own
            grids and as int32; its `extent` is the target's rows and columns. NumPy
            evaluates it, JAX in training.
    """

    name: str
    target: str
    reads: tuple[str, ...] = ()
    network: Network | None = None
    coded: bool = True
    take: Callable[[Any], Any] = lambda whole: whole
    put: Callable[[Any, Any], Any] = lambda known, values: values
    halo: int = 0
    where: Callable[[int, int], np.ndarray] | str | None = None
    layer: int = 0
    whole: bool = False

    def applies(self, state: Mapping[str, Any]) -> bool:
        """Whether a picture has what the step is about: a grey one has no chroma."""
        needed = (*self.reads, self.target) if self.coded else self.reads
        return all(name in state for name in needed)


class Prior(Protocol):
    """What interpreters, codec and training program ask of a codec's prior."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""

    @property
    def sources(self) -> Mapping[str, Source]:
        """By target of a coding step, how its latents are coded."""

    @property
    def channels(self) -> Mapping[str, int]:
        """Channels of each array of the state."""

    @property
    def strides(self) -> Mapping[str, float]:
        """Cells of each array of the state per cell of 1/16."""

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""

    def check_exact(self) -> None:
        """Checks that every layer is exact; raises ModelError if one is not."""

    def set_scale(self, std: Any) -> None:
        """Starts from the transform coder's standard deviations."""


def positions(
    step: Step, state: Mapping[str, Any], rows: int, columns: int
) -> np.ndarray:
    """Where a step codes, bool[rows columns], once the state has what decides it."""
    if step.where is None:
        return np.ones((rows, columns), bool)
    if isinstance(step.where, str):
        return state[step.where][0, :rows, :columns, 0] > 0
    return step.where(rows, columns)


def layer_count(prior: Prior) -> int:
    """Streams of a file with everything; 1 where files cannot be cut."""
    return 1 + max(step.layer for step in prior.steps)


def layers_at(quality: Any, count: int) -> Any:
    """How many of a codec's layers a quality in half steps has: 1 to count."""
    return (quality * count + (MAX_QUALITY - 1) + (quality == 0)) // MAX_QUALITY


class SymbolSink(Protocol):
    """What `encode` hands symbols to: `SymbolEncoder` or `CostMeter`."""

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Takes the symbols of a step and their tables."""


def rate(
    prior: Prior,
    latents: State,
    quality: jax.Array,
    key: jax.Array | None,
    *,
    exact: bool = True,
    extent: jax.Array | None = None,
    temperature: jax.Array | None = None,
) -> tuple[dict[str, jax.Array], State]:
    """Differentiable bits of latents, and the latents as decoded.

    The bits are those of latents with uniform noise (or, without a key, of the rounded
    ones, as a file has them); everything downstream sees rounded latents with
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

    Returns:
        Bits by step, each float32[N]; the decoded latents in steps.
    """
    state = {name: jnp.zeros_like(value) for name, value in latents.items()}
    sources = prior.sources
    bits = {}
    for number, step in enumerate(prior.steps):
        if not step.applies(state):
            continue
        heads: tuple[jax.Array, ...] = ()
        if step.network is not None:
            reads = [state[name] for name in step.reads]
            heads = step.network(prior, *reads, quality, extent, exact=exact)
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
        if extent is not None:
            own = jnp.ceil(extent * prior.strides[step.target])
            cost, kept = grid_mask(cost, own), grid_mask(kept, own)
        if step.where is not None:
            if isinstance(step.where, str):
                coded = state[step.where] > 0
            else:
                coded = jnp.asarray(step.where(*value.shape[1:3]))[..., None]
            cost, kept = jnp.where(coded, cost, 0.0), jnp.where(coded, kept, 0.0)
        if step.layer:
            used = step.layer < layers_at(quality, layer_count(prior))
            cost = jnp.where(used[:, None, None, None], cost, 0.0)
        bits[step.name] = cost.sum((1, 2, 3))
        state[step.target] = step.put(state[step.target], kept)
    return bits, {name: state[name] / sources[name].unit for name in latents}


def encode(
    prior: Prior,
    run: Run,
    latents: dict[str, np.ndarray],
    extents: Mapping[str, tuple[int, int]],
    tables: Mapping[str, TableSet],
    sinks: Sequence[SymbolSink],
) -> State:
    """Codes latents.

    Args:
        prior: the codec's.
        run: evaluates a step's exact network.
        latents: by target, float32[1 h w C] in steps, on the padded grids.
        extents: by target, the rows and columns that are coded.
        tables: by target.
        sinks: a sink for each layer that is coded; takes the symbols of its steps in
            turn.

    Returns:
        By target, what a decoder will have.
    """

    def code(step: Step, heads: list[np.ndarray], own: Any, shape) -> np.ndarray:
        source = prior.sources[step.target]
        symbols = source.symbols(step.take(latents[step.target])[own], heads)
        index = source.index(heads, shape)
        sinks[step.layer].put(symbols.ravel(), index.ravel(), tables[step.target])
        return source.kept(symbols, heads)

    shapes = {name: value.shape for name, value in latents.items()}
    return _walk(prior, run, shapes, extents, code, len(sinks))


def decode(
    prior: Prior,
    run: Run,
    shapes: Mapping[str, tuple[int, ...]],
    extents: Mapping[str, tuple[int, int]],
    tables: Mapping[str, TableSet],
    streams: Sequence[bytes],
) -> dict[str, np.ndarray]:
    """Decodes latents; the arguments are those of `encode`.

    Args:
        prior: the codec's.
        run: evaluates a step's exact network.
        shapes: by target, the padded shapes (1, h, w, C).
        extents: by target, the rows and columns that are coded.
        tables: by target.
        streams: from a `SymbolEncoder` each, of the first layers; those of further
            layers stay zero.

    Returns:
        By target, float32[1 h w C]: integers in the units of its source.

    Raises:
        FormatError: a stream is damaged.
    """
    coders = [SymbolDecoder(stream) for stream in streams]

    def code(step: Step, heads: list[np.ndarray], own: Any, shape) -> np.ndarray:
        source = prior.sources[step.target]
        index = source.index(heads, shape)
        coder = coders[step.layer]
        symbols = coder.get(index.ravel(), tables[step.target]).reshape(shape)
        return source.kept(symbols, heads)

    return _walk(prior, run, shapes, extents, code, len(streams))


def _walk(
    prior: Prior,
    run: Run,
    shapes: Mapping[str, tuple[int, ...]],
    extents: Mapping[str, tuple[int, int]],
    code: Callable[[Step, list[np.ndarray], Any, tuple[int, ...]], np.ndarray],
    layers: int,
) -> dict[str, np.ndarray]:
    """Walks the order; `code` codes the picture's own part of each step, of a shape."""
    state: State = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for step in prior.steps:
        if step.layer >= layers:
            break
        if not step.applies(state):
            continue
        heads = run(step, state) if step.network is not None else ()
        if not step.coded:
            (state[step.target],) = heads
            continue
        rows, columns = extents[step.target]
        own: Any = np.s_[0, :rows, :columns]
        if step.where is not None:
            own = (0, *np.nonzero(positions(step, state, rows, columns)))
        values = np.zeros_like(step.take(state[step.target]))
        own_heads = [head[own] for head in heads]
        values[own] = code(step, own_heads, own, values[own].shape)
        state[step.target] = step.put(state[step.target], values)
    return {name: state[name] for name in shapes}
