"""The oracle: a NumPy evaluation of the exact networks, by their graphs. No JAX.

A graph's operations are evaluated one by one in float64, which is exact for whole
numbers to 2**53, so that nothing is left to a runtime. It is the reference of the
tests, and `--oracle` decodes with it where a machine's ONNX Runtime is in doubt.

Source: onnx.proto3 and the operators of ONNX 1.17, opset 17.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codax.coding.evaluating import Network, running
from codax.coding.messages import fields, number, numbers
from codax.coding.order import Order, Run, Step
from codax.coding.sessions import Graph
from codax.coding.tiles import BUCKETS
from codax.errors import ModelError, UnsupportedError

__all__ = ["Oracle", "Program"]

# Numbers of fields, by message.
_MODEL_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # GraphProto
_FROM, _TO, _KIND, _ATTRIBUTE = 1, 2, 4, 5  # NodeProto
_KEY, _WHOLE, _WHOLES = 1, 3, 8  # AttributeProto
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9  # TensorProto
_TYPES = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
}
"""Of NumPy, by ONNX's number."""


class Oracle:
    """The exact networks of a codec, evaluated by NumPy; slow."""

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        packed: Mapping[str, np.ndarray],
        order: Order,
    ):
        """Takes the parts of a checkpoint.

        Args:
            graphs: by the name of the network.
            packed: stored arrays by path.
            order: the coding order.
        """
        self.order = order
        self._graphs, self._packed = graphs, packed
        self._programs: dict[str, Program] = {}

    def steps(
        self,
        height: int,
        width: int,
        quality: int,
        *,
        shifts: Mapping[str, int] | None = None,
    ) -> Run:
        """What evaluates a step's exact network, see `Sessions.steps`."""

        def network_of(step: Step) -> tuple[Network, list[int]]:
            network, count = self.network(step, quality)
            return network, [step.width(self.order.channels[step.target])] * count

        return running(self.order, (height, width), network_of, BUCKETS, shifts)

    def network(self, step: Step, quality: int) -> tuple[Network, int]:
        """A step's network, `(*windows, extent) -> arrays`, and how many it gives.

        Args:
            step: one that has a network of its own.
            quality: half steps 0..200.

        Raises:
            ModelError: it has no graph.
            UnsupportedError: the graph has an operation that no exact network needs.
        """
        name = str(step.network)
        if name not in self._programs:
            if name not in self._graphs:
                raise ModelError(f"graphs: there is none of {name!r}")
            self._programs[name] = Program.read(self._graphs[name], self._packed)
        program, told = self._programs[name], np.array([quality], np.int32)

        def call(*args: np.ndarray) -> tuple[np.ndarray, ...]:
            *windows, extent = args
            return program(*windows, told, extent)

        return call, len(program.outputs)


@dataclass(frozen=True)
class _Node:
    """An operation of a graph."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, list[int]]


@dataclass(frozen=True)
class Program:
    """A graph that NumPy evaluates.

    Attributes:
        nodes: its operations in turn.
        known: constants and weights by name.
        inputs: names of what it takes.
        outputs: names of what it gives.
    """

    nodes: tuple[_Node, ...]
    known: Mapping[str, np.ndarray]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def read(cls, graph: Graph, packed: Mapping[str, np.ndarray]) -> Program:
        """Reads a graph.

        Args:
            graph: of ONNX.
            packed: stored arrays by path, those that it names among them.

        Raises:
            ModelError: a weight is missing.
        """
        parts: dict[int, list[bytes]] = {}
        (own,) = (own for field, own, _ in fields(graph.model) if field == _MODEL_GRAPH)
        for field, part, _ in fields(own):
            parts.setdefault(field, []).append(part)
        known = dict(_read_tensor(part) for part in parts.get(_INITIALIZER, []))
        for path in graph.weights:
            if path not in packed:
                raise ModelError(f"weights: {path} is missing")
            known[path] = _wide(packed[path])
        return cls(
            nodes=tuple(map(_read_node, parts.get(_NODE, []))),
            known={name: value for name, value in known.items() if value is not None},
            inputs=tuple(_name_of(part) for part in parts.get(_INPUT, [])),
            outputs=tuple(_name_of(part) for part in parts[_OUTPUT]),
        )

    def __call__(self, *args: np.ndarray) -> tuple[np.ndarray, ...]:
        """Evaluates it.

        Args:
            *args: its inputs in turn.

        Returns:
            Its outputs, floats as float32 (exact where the float64 values fit).

        Raises:
            UnsupportedError: an operation that no exact network needs.
        """
        values = dict(self.known)
        given = map(_wide, args)
        values |= dict(zip(self.inputs, given, strict=True))
        uses = Counter(name for node in self.nodes for name in node.inputs)
        uses.update(self.outputs)
        for node in self.nodes:
            if node.kind not in _RULES:
                raise UnsupportedError(
                    f"oracle: operation {node.kind} is not part of exact networks"
                )
            inputs = [values[name] if name else None for name in node.inputs]
            (target,) = node.outputs
            values[target] = _RULES[node.kind](node.attributes, *inputs)
            for name in node.inputs:
                uses[name] -= 1
                if name and not uses[name]:
                    del values[name]
        return tuple(values[name].astype(np.float32) for name in self.outputs)


def _wide(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _name_of(info: bytes) -> str:
    """Of a value that goes in or out."""
    return next(own for field, own, _ in fields(info) if field == 1).decode()


def _read_tensor(tensor: bytes) -> tuple[str, np.ndarray | None]:
    """The name of a constant and its value; None of weights, which lie elsewhere."""
    name, kind, raw, dims = "", 0, None, []
    for field, own, _ in fields(tensor):
        if field == _DIMS:
            dims += numbers(own)
        elif field == _TYPE:
            kind = number(own)
        elif field == _NAME:
            name = own.decode()
        elif field == _RAW:
            raw = own
    if raw is None:
        return name, None
    little = np.dtype(_TYPES[kind]).newbyteorder("<")
    return name, _wide(np.frombuffer(raw, little).astype(_TYPES[kind]).reshape(dims))


def _read_node(node: bytes) -> _Node:
    inputs, outputs, kind, attributes = [], [], "", {}
    for field, own, _ in fields(node):
        if field == _FROM:
            inputs.append(own.decode())
        elif field == _TO:
            outputs.append(own.decode())
        elif field == _KIND:
            kind = own.decode()
        elif field == _ATTRIBUTE:
            values, key = [], ""
            for part, value, _ in fields(own):
                if part == _KEY:
                    key = value.decode()
                elif part in (_WHOLE, _WHOLES):
                    values += numbers(value)
            attributes[key] = values
    return _Node(kind, tuple(inputs), tuple(outputs), attributes)


# Operations, `(attributes, *inputs) -> array`. What is whole comes as whole numbers,
# what ONNX has as float32 as float64.

_Rule = Callable[..., np.ndarray]


def _plain(function: Callable[..., Any]) -> _Rule:
    return lambda attributes, *inputs: function(*inputs)


def _divide(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    if one.dtype.kind == "f":
        return one / two
    return (np.sign(one) * np.sign(two) * (np.abs(one) // np.abs(two))).astype(
        one.dtype
    )


def _shape(attributes: Any, x: np.ndarray) -> np.ndarray:
    begin, end = (attributes.get(word, [None])[0] for word in ("start", "end"))
    return np.array(x.shape[begin:end], np.int64)


def _cast(attributes: Any, x: np.ndarray) -> np.ndarray:
    kind = np.dtype(_TYPES[attributes["to"][0]])
    return x.astype(np.float64 if kind.kind == "f" else kind)


def _slice(attributes: Any, x, begins, ends, axes, steps=None) -> np.ndarray:
    steps = np.ones_like(begins) if steps is None else steps
    where = [slice(None)] * x.ndim
    for axis, begin, end, step in zip(axes, begins, ends, steps, strict=True):
        # The end of a whole axis that is turned around lies before all numbers.
        last = None if step < 0 and end < -x.shape[axis] else int(end)
        where[axis] = slice(int(begin), last, int(step))
    return x[tuple(where)]


def _gather(attributes: Any, x: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take(x, index, attributes.get("axis", [0])[0])


def _gather_elements(attributes: Any, x: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.take_along_axis(x, index, attributes.get("axis", [0])[0])


def _pad(attributes: Any, x: np.ndarray, widths: np.ndarray, value: Any) -> np.ndarray:
    pairs = widths.reshape(2, -1).T.tolist()
    return np.pad(x, pairs, constant_values=value)


def _clip(attributes: Any, x: np.ndarray, low: Any, high: Any) -> np.ndarray:
    return np.clip(x, low, high)


def _convolve(attributes: Any, x, kernel, bias=None) -> np.ndarray:
    """Each channel by itself, 3x3, zeros beyond the border: [1 C h w]."""
    channels, height, width = x.shape[1:]
    by_channel = attributes.get("group", [1]) == [channels]
    if (
        not by_channel
        or attributes.get("pads") != [1] * 4
        or kernel.shape[2:] != (3, 3)
    ):
        raise UnsupportedError("oracle: only depthwise 3x3 convolutions are exact")
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = np.zeros_like(x)
    for i in range(3):
        for j in range(3):
            part = padded[:, :, i : i + height, j : j + width]
            total += part * kernel[:, 0, i, j][:, None, None]
    return total if bias is None else total + bias[:, None, None]


def _multiply_add(attributes: Any, x, kernel, bias=None) -> np.ndarray:
    return x @ kernel if bias is None else x @ kernel + bias


def _axes(axes: np.ndarray | None) -> tuple[int, ...] | None:
    return None if axes is None else tuple(axes.tolist())


_RULES: dict[str, _Rule] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda attributes, *parts: np.concatenate(parts, attributes["axis"][0]),
    "Conv": _convolve,
    "Div": _plain(_divide),
    "Equal": _plain(np.equal),
    "Expand": lambda _, x, shape: x * np.ones(shape, x.dtype),
    "Floor": _plain(np.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gemm": _multiply_add,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": _plain(np.asarray),
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "MatMul": _plain(np.matmul),
    "Max": _plain(np.maximum),
    "Min": _plain(np.minimum),
    "Mod": _plain(np.fmod),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Pad": _pad,
    "Range": lambda _, begin, end, step: np.arange(begin, end, step),
    "ReduceSum": lambda attributes, x, axes=None: x.sum(
        _axes(axes), keepdims=attributes.get("keepdims", [1]) == [1]
    ),
    "Reshape": lambda _, x, shape: x.reshape(shape),
    "Round": _plain(np.round),
    "Shape": _shape,
    "Sign": _plain(np.sign),
    "Slice": _slice,
    "Squeeze": lambda _, x, axes=None: np.squeeze(x, _axes(axes)),
    "Sub": _plain(np.subtract),
    "Tile": _plain(np.tile),
    "Transpose": lambda attributes, x: x.transpose(attributes["perm"]),
    "Unsqueeze": lambda _, x, axes: np.expand_dims(x, tuple(axes.tolist())),
    "Where": _plain(np.where),
}
