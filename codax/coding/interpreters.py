"""The two interpreters of a coding order that make and read files. No JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from codax.coding.order import Run, State, Step, SymbolSink, Walked, steps_of
from codax.entropy.coder import SymbolDecoder, TableSet
from codax.entropy.sources import Heads, ResidualSymbols
from codax.entropy.trellis import Trellis

__all__ = ["decode", "encode"]


def encode(
    order: Walked,
    run: Run,
    latents: dict[str, np.ndarray],
    extents: Mapping[str, tuple[int, int]],
    tables: Mapping[str, TableSet],
    sinks: Sequence[SymbolSink],
    trellis: Trellis | None = None,
    known: State | None = None,
    search: bool = False,
    most: int | None = None,
) -> State:
    """Codes latents of one stage.

    Args:
        order: the codec's.
        run: evaluates a step's exact network.
        latents: by target, float32[1 h w C] in steps, on the padded grids.
        extents: by target, the rows and columns that are coded.
        tables: by target.
        sinks: a sink for each layer that is coded; takes the symbols of its steps in
            turn.
        trellis: quantise residuals dependently, with this.
        known: what coding stage 0 returned, to code stage 1; None for stage 0. What
            is derived and stands there already is not derived again.
        search: choose residuals without a trellis by bits and error, instead of
            rounding them.
        most: positions that are coded at a time, where a step codes some only; None
            for all, as a stream has them. For sinks that take a step in parts.

    Returns:
        By name what a decoder will have, also the arrays that are derived.
    """

    def code(step: Step, heads: list[np.ndarray], own: Any, shape) -> np.ndarray:
        source = order.sources[step.target]
        value = step.take(latents[step.target])[own]
        if trellis is not None and isinstance(source, ResidualSymbols):
            mean, scales = _by_channel(source, heads, shape)
            columns = value.reshape(-1, shape[-1]).T
            symbols, index = trellis.choose(columns, mean, scales)
            sinks[step.layer].put(symbols, index, trellis.tables)
            return trellis.kept(symbols, index, mean).T.reshape(shape)
        symbols = source.symbols(value, heads)
        index = source.index(heads, shape)
        if search and isinstance(source, ResidualSymbols):
            symbols = source.cheaper(symbols, value, heads, tables[step.target])
        sinks[step.layer].put(symbols.ravel(), index.ravel(), tables[step.target])
        return source.kept(symbols, heads)

    shapes = {name: value.shape for name, value in latents.items()}
    start = (known or {}) | _zeros(shapes)
    steps = steps_of(order, known is not None)
    return _walk(steps, run, start, extents, code, len(sinks), most)


def decode(
    order: Walked,
    run: Run,
    shapes: Mapping[str, tuple[int, ...]],
    extents: Mapping[str, tuple[int, int]],
    tables: Mapping[str, TableSet],
    coders: Sequence[SymbolDecoder],
    trellis: Trellis | None = None,
) -> dict[str, np.ndarray]:
    """Decodes latents; the arguments are those of `encode`.

    Args:
        order: the codec's.
        run: evaluates a step's exact network.
        shapes: by target, the padded shapes (1, h, w, C).
        extents: by target, the rows and columns that are coded.
        tables: by target.
        coders: of the streams of the first layers; arrays of further ones stay zero.
        trellis: residuals were quantised dependently, with this.

    Returns:
        By target, float32[1 h w C]: integers in the units of its source.

    Raises:
        FormatError: a stream is damaged.
    """

    def code(step: Step, heads: list[np.ndarray], own: Any, shape) -> np.ndarray:
        source = order.sources[step.target]
        coder = coders[step.layer]
        if trellis is not None and isinstance(source, ResidualSymbols):
            mean, scales = _by_channel(source, heads, shape)
            own_tables = trellis.tables
            symbols, index = trellis.walk(scales, lambda i: coder.get(i, own_tables))
            return trellis.kept(symbols, index, mean).T.reshape(shape)
        index = source.index(heads, shape)
        symbols = coder.get(index.ravel(), tables[step.target]).reshape(shape)
        return source.kept(symbols, heads)

    found = _walk(order.steps, run, _zeros(shapes), extents, code, len(coders))
    return {name: found[name] for name in shapes}


def _by_channel(
    source: ResidualSymbols, heads: Heads, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each symbol, integers[k n], as a trellis takes them."""
    parts = heads[0].astype(np.int32), source.index(heads, shape)
    mean, scales = (np.ascontiguousarray(p.reshape(-1, shape[-1]).T) for p in parts)
    return mean, scales


def _zeros(shapes: Mapping[str, tuple[int, ...]]) -> State:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _walk(
    steps: Sequence[Step],
    run: Run,
    start: State,
    extents: Mapping[str, tuple[int, int]],
    code: Callable[[Step, list[np.ndarray], Any, tuple[int, ...]], np.ndarray],
    layers: int,
    most: int | None = None,
) -> State:
    """Walks steps; `code` codes the picture's own part of each, of a shape."""
    state = dict(start)
    for step in steps:
        if step.layer >= layers:
            break
        if not step.applies(state) or (not step.coded and step.target in state):
            continue
        rows, columns = extents.get(step.target, (0, 0))
        where = step.positions(state, rows, columns) if step.coded else None
        if where is not None and not where.any():
            continue
        heads = run(step, state, where) if step.network is not None else ()
        if not step.coded:
            (state[step.target],) = heads
            continue
        target = state[step.target]
        width = step.width(target.shape[-1])
        if where is None:
            own: Any = np.s_[0, :rows, :columns]
            own_heads = [head[own] for head in heads]
            values = code(step, own_heads, own, (rows, columns, width))
        else:
            places, found = np.nonzero(where), []
            count = places[0].size
            for begin in range(0, count, most or count):
                piece = slice(begin, min(begin + (most or count), count))
                own = (0, *(place[piece] for place in places))
                own_heads = [head[piece] for head in heads]
                found.append(code(step, own_heads, own, (len(own[1]), width)))
            values = np.concatenate(found)
        step.write(target, values, where)
    return state
