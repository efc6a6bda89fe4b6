"""The graphs of a codec's networks, traced from the modules that train.

A graph for the analysis, one for each step of the coding order that has a network, one
for the synthesis. They hold no weights: a graph names the stored arrays that it takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export
from onnx import helper

from codax.coding.oracle import Oracle
from codax.coding.order import CELL, Order
from codax.coding.running import latents_of, pixels_of
from codax.coding.sessions import PROBE_QUALITY, Graph, probe, probe_sum
from codax.coding.trees import flatten, metadata
from codax.entropy.units import STORED
from codax.errors import ModelError, UnsupportedError
from codax.train.graphs.builder import Builder, Deferred, Operand, Tensor
from codax.train.graphs.rules import RULES, SHORTCUTS, fold
from codax.zoo.graphs import note_graphless, write_graphs
from codax.zoo.weights import DEFAULT, TABLES

__all__ = ["add_graphs", "graphs_of", "probe_sums"]

CELLS = 4
"""Sides of a graph's pictures are multiples of so many cells of 1/16."""


def graphs_of(model: Any, packed: Mapping[str, np.ndarray]) -> dict[str, Graph]:
    """The graphs of a codec by the name of the network.

    Args:
        model: an `nnx` module.
        packed: its stored arrays by path.

    Returns:
        `analysis`, `synthesis` and steps by their names. A lossless codec
        has no analysis and no synthesis: its wavelet is integers of NumPy.

    Raises:
        UnsupportedError: a network does something that is not known here.
    """
    tracer = _Tracer(model, packed)
    prior = model.prior
    found = {}
    if all(not step.whole for step in prior.steps):
        found["analysis"] = tracer.graph(
            "analysis",
            latents_of,
            {"rgb": (float(CELL), 3, np.uint8)},
            halo=model.analysis_halo,
        )
        found["synthesis"] = tracer.graph(
            "synthesis",
            lambda *args: {"rgb": pixels_of(*args)},
            {
                name: (prior.strides[name], prior.channels[name], np.int32)
                for name in model.synthesis_reads
            },
            halo=model.synthesis_halo,
            **_integers(model),
        )
    for step in prior.steps:
        if step.network is None or step.whole:
            continue
        reads = {
            name: (prior.strides[name], prior.channels[name], np.float32)
            for name in step.reads
        }
        found[step.name] = tracer.graph(step.name, _of_step(step), reads)
    return found


def probe_sums(
    model: Any, graphs: Mapping[str, Graph], packed: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """What the exact networks give for a fixed input, by the name of the step.

    By the oracle: a NumPy that computes whole numbers right.

    Args:
        model: an `nnx` module.
        graphs: what `graphs_of` made of it.
        packed: its stored arrays by path.

    Raises:
        ModelError: JAX finds others by the module.
    """
    prior = model.prior
    order = Order.of(prior)
    oracle = Oracle(graphs, packed, order)
    quality, found = np.array([PROBE_QUALITY], np.int32), {}
    for step, own in zip(prior.steps, order.steps, strict=True):
        if step.network is None or step.whole:
            continue
        *reads, extent = probe(order, step)
        network, _ = oracle.network(own, PROBE_QUALITY)
        found[step.name] = probe_sum(network(*reads, extent))
        other = probe_sum(step.function(prior, *reads, quality, extent))
        if other != found[step.name]:
            raise ModelError(
                f"step {step.name}: its graph gives other numbers than its network"
            )
    return found


def add_graphs(folder: Path, model: Any, packed: Mapping[str, np.ndarray]) -> None:
    """Writes the graphs of a codec into its checkpoint folder.

    A network that does what no graph can hold is no error: its codec runs on JAX, and
    the card says why.

    Args:
        folder: of the checkpoint, with a card.
        model: an `nnx` module.
        packed: its stored arrays by path, those that it shares with others as well.

    Raises:
        ModelError: as of `probe_sums`.
    """
    try:
        graphs = graphs_of(model, packed)
        write_graphs(folder, graphs, probe_sums(model, graphs, packed))
    except UnsupportedError as error:
        note_graphless(folder, str(error))


def _integers(model: Any) -> dict[str, Any]:
    """What a codec whose latents are tokens, or to learn on, says of them."""
    if hasattr(model, "latent_channels"):
        return {"latent_channels": model.latent_channels}
    if not hasattr(model, "vocabulary"):
        return {}
    counts = model.token_counts()
    return {
        "vocabulary": " ".join(map(str, model.vocabulary)),
        "token_counts": " ".join(map(str, counts)),
    }


def _of_step(step: Any) -> Callable[..., Any]:
    def network(model, *args):
        found = step.function(model.prior, *args)
        if not step.coded:
            return {step.target: found[0]}
        return {f"head{k}": head for k, head in enumerate(found)}

    return network


class _Tracer:
    """Traces functions of one model."""

    def __init__(self, model: Any, packed: Mapping[str, np.ndarray]):
        self._graphdef, state = nnx.split(model)
        self._packed = packed
        self._stored = metadata(state, "stored")
        self._paths = list(flatten(state))
        leaves, self._structure = jax.tree.flatten(state)
        self._shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]

    def graph(
        self,
        name: str,
        function: Callable[..., Any],
        reads: Mapping[str, tuple[float, int, Any]],
        **facts: Any,
    ) -> Graph:
        """The graph of a function `(model, *reads, quality, extent)`.

        Args:
            name: of the graph.
            function: gives arrays by name.
            reads: by name, an input's cells per cell of 1/16, channels and type.
            **facts: metadata of the graph.
        """
        rows, columns = export.symbolic_shape("rows, columns")
        specs, inputs = [], []
        for read, (stride, channels, dtype) in reads.items():
            factor = int(CELLS * stride)
            shape = (1, factor * rows, factor * columns, channels)
            specs.append(jax.ShapeDtypeStruct(shape, dtype))
            inputs.append(_info(read, dtype, shape))
        specs += [jax.ShapeDtypeStruct((n,), jnp.int32) for n in (1, 2)]
        inputs += [_info(n, np.int32, (k,)) for n, k in (("quality", 1), ("extent", 2))]

        def call(leaves, *args):
            state = jax.tree.unflatten(self._structure, leaves)
            return function(nnx.merge(self._graphdef, state), *args)

        try:
            closed, out = jax.make_jaxpr(call, return_shape=True)(self._shapes, *specs)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise UnsupportedError(
                f"graph {name}: cannot be traced with free sides: {reason}"
            ) from None
        walk = _Walk(Builder())
        first, (stride, _, _) = next(iter(reads.items()))
        for place, side in enumerate(("rows", "columns"), 1):
            (own,) = walk.builder.emit("Shape", first, start=place, end=place + 1)
            cells = walk.builder.number(np.array([CELLS * stride], np.int64))
            walk.builder.sides[side] = walk.builder.emit("Div", own, cells)[0]
        weights = [self._weight(walk.builder, path) for path in self._paths]
        given = [
            Tensor(info.name, tuple(spec.shape), np.dtype(spec.dtype))
            for info, spec in zip(inputs, specs, strict=True)
        ]
        results = walk.run(closed.jaxpr, closed.consts, [*weights, *given])
        outputs = []
        for own, var, value in zip(
            sorted(out), closed.jaxpr.outvars, results, strict=True
        ):
            full = walk.builder.full(value, var.aval.shape)
            walk.builder.nodes.append(
                helper.make_node("Identity", [full.name], [own], own)
            )
            outputs.append(_info(own, var.aval.dtype, var.aval.shape))
        return walk.builder.finish(name, inputs, outputs, facts)

    def _weight(self, builder: Builder, path: str) -> Operand:
        """The array of a path as training has it, from what is stored."""
        word = self._stored.get(path, DEFAULT)
        if word.startswith(TABLES):
            return builder.weight(word, self._packed[word], 1.0)
        return builder.weight(path, self._packed[path], STORED[word][1])


def _info(name: str, dtype: Any, shape: tuple[Any, ...]) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    sides = [side if isinstance(side, int) else str(side) for side in shape]
    return helper.make_tensor_value_info(name, kind, sides)


class _Walk:
    """Walks a traced function and builds its graph."""

    def __init__(self, builder: Builder):
        self.builder = builder

    def run(self, jaxpr: Any, consts: Any, args: Any) -> list[Operand]:
        """The results of a traced function of operands."""
        values: dict[Any, Operand] = {}
        uses = Counter(
            atom
            for atom in (*(v for e in jaxpr.eqns for v in e.invars), *jaxpr.outvars)
            if not hasattr(atom, "val")
        )

        def read(atom):
            if hasattr(atom, "val"):
                return np.asarray(atom.val, atom.aval.dtype)
            value = values[atom]
            if isinstance(value, Deferred) and uses[atom] > 1:
                # Made once, however often it is used.
                return self.builder.tensor(value)
            return value

        for var, value in zip(jaxpr.constvars, consts, strict=True):
            values[var] = np.asarray(value)
        for var, value in zip(jaxpr.invars, args, strict=True):
            values[var] = value
        for equation in jaxpr.eqns:
            found = self._apply(equation, [read(atom) for atom in equation.invars])
            for var, value in zip(equation.outvars, found, strict=True):
                values[var] = value
        return [read(atom) for atom in jaxpr.outvars]

    def _apply(self, equation: Any, inputs: list[Operand]) -> list[Operand]:
        name, params = equation.primitive.name, equation.params
        inner = next((params[k] for k in ("jaxpr", "call_jaxpr") if k in params), None)
        if inner is not None:
            shortcut = SHORTCUTS.get(_name(inner))
            found = shortcut(self.builder, inputs, equation) if shortcut else None
            if found is not None:
                return found
            if hasattr(inner, "jaxpr"):
                return self.run(inner.jaxpr, inner.consts, inputs)
            return self.run(inner, (), inputs)
        found = fold(inputs, equation) if inputs else None
        if found is not None:
            return found
        if name not in RULES:
            raise UnsupportedError(f"graphs: the operation {name} is unknown")
        return RULES[name](self.builder, inputs, equation)


def _name(inner: Any) -> str:
    """Of the function that was traced."""
    return getattr(inner, "jaxpr", inner).debug_info.func_name
