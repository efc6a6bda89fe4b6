"""What an ONNX graph is built from: nodes, constants, free sides, deferred sums.

A graph's pictures have any number of rows and columns: JAX traces networks with its
symbolic dimensions, and wherever one is needed as a number the graph computes it from
the shape of its first input. Equal nodes are made once.

Sums and products with fixed numbers are deferred: a layer's `floor((x w + b) 2**-s)`
becomes a product with the weights `w 2**-s` and a bias of `b 2**-s + 1/2` in one node,
which saves passes over large arrays. Only powers of two are moved, so that every value
stays what it was, bit for bit.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import frexp
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from codax.coding.sessions import Graph
from codax.errors import UnsupportedError

__all__ = [
    "Builder",
    "Deferred",
    "Operand",
    "Tensor",
    "is_known",
    "is_power_of_two",
    "joined_shape",
]

OPSET, IR_VERSION = 17, 8
"""Of ONNX: read by every ONNX Runtime since 1.14."""
Shape = tuple[Any, ...]
"""Numbers and symbolic dimensions."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph.

    Attributes:
        name: in the graph.
        shape: as it is there: 1 where the traced value is the same along an axis.
        dtype: of NumPy.
        fixed: whether it depends on weights and constants alone.
        whole: whether it holds whole numbers, so that rounding does nothing.
    """

    name: str
    shape: Shape
    dtype: Any
    fixed: bool = False
    whole: bool = False


@dataclass
class Deferred:
    """`value * scale + offset`, to be made when it is used.

    Attributes:
        make: gives the tensor for a scale and an offset.
        shape: of the result.
        scale: a power of two.
        offset: a fixed value, of one number or one a channel.
        plain: the value, where it is there already; None where `make` computes it.
        tensor: the result, once it was used.
    """

    make: Callable[[float, Operand | None], Tensor]
    shape: Shape
    fixed: bool
    scale: float = 1.0
    offset: Operand | None = None
    plain: Tensor | None = None
    tensor: Tensor | None = None
    dtype: Any = np.float32


Operand = Tensor | Deferred | np.ndarray


def is_known(value: Any) -> bool:
    """Whether a value is there as numbers."""
    return isinstance(value, np.ndarray)


@dataclass
class Builder:
    """A graph in the making.

    Attributes:
        sides: the names of free sides to the graph's int64[1] of each.
    """

    nodes: list[Any] = field(default_factory=list)
    constants: dict[Any, Any] = field(default_factory=dict)
    made: dict[Any, list[str]] = field(default_factory=dict)
    sides: dict[str, str] = field(default_factory=dict)

    def emit(
        self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any
    ) -> list[str]:
        """Adds a node, or finds the equal one; returns the names of its outputs."""
        key = (kind, inputs, outputs, repr(sorted(attributes.items())))
        if key not in self.made:
            names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
            self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
            self.made[key] = names
        return self.made[key]

    def number(self, value: Any, dtype: Any = None) -> str:
        """The name of a constant."""
        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            name = f"c{len(self.constants)}"
            self.constants[key] = numpy_helper.from_array(array, name)
        return self.constants[key].name

    def weight(self, path: str, like: np.ndarray, factor: float) -> Deferred:
        """A stored array, which is given when the graph is loaded.

        Args:
            path: its stored name.
            like: of its shape and type.
            factor: units of what is stored in one of its own.
        """
        if path not in self.constants:
            tensor = TensorProto(name=path, dims=like.shape)
            tensor.data_type = helper.np_dtype_to_tensor_dtype(like.dtype)
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="weights")
            self.constants[path] = tensor
        name = path
        if like.dtype != np.float32:
            (name,) = self.emit("Cast", path, to=TensorProto.FLOAT)
        whole = like.dtype.kind == "i"
        plain = Tensor(name, like.shape, np.float32, fixed=True, whole=whole)
        return self.scaled(plain, 1.0 / factor, None)

    # Deferred sums.

    def scaled(
        self, value: Operand, scale: float, offset: Operand | None
    ) -> Deferred | Any:
        """`value * scale + offset`, deferred.

        Args:
            value: float32; no numbers.
            scale: a power of two.
            offset: fixed; None for none.
        """
        if not isinstance(value, Deferred) or value.tensor is not None:
            plain = self.tensor(value)
            value = Deferred(
                lambda s, o: self._plain(plain, s, o),
                plain.shape,
                plain.fixed,
                plain=plain,
            )
        moved = value.offset
        if moved is not None and scale != 1.0:
            moved = self.tensor(self.scaled(self.tensor(moved), scale, None))
        if moved is not None and offset is not None:
            moved = self.binary("Add", moved, offset)
        elif moved is None:
            moved = offset
        fixed = value.fixed
        return Deferred(
            value.make, value.shape, fixed, value.scale * scale, moved, value.plain
        )

    def _plain(self, value: Tensor, scale: float, offset: Operand | None) -> Tensor:
        if scale != 1.0:
            value = self.binary("Mul", value, np.float32(scale))
        return value if offset is None else self.binary("Add", value, offset)

    def tensor(self, value: Operand, dtype: Any = None) -> Tensor:
        """The value in the graph, made now if it was deferred."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, Deferred):
            if value.tensor is None:
                value.tensor = value.make(value.scale, value.offset)
            return value.tensor
        array = np.asarray(value, dtype)
        return Tensor(self.number(array), array.shape, array.dtype, fixed=True)

    def binary(self, kind: str, left: Operand, right: Operand, dtype=None) -> Tensor:
        """A node of two operands, which are broadcast."""
        one, two = self.tensor(left), self.tensor(right)
        (name,) = self.emit(kind, one.name, two.name)
        return Tensor(
            name,
            joined_shape(one.shape, two.shape),
            one.dtype if dtype is None else dtype,
            one.fixed and two.fixed,
        )

    # Shapes.

    def dims(self, shape: Sequence[Any]) -> str:
        """A shape as int64[n]."""
        if all(isinstance(side, int | np.integer) for side in shape):
            return self.number(np.array(shape, np.int64))
        parts = [self.side(side) for side in shape]
        return parts[0] if len(parts) == 1 else self.emit("Concat", *parts, axis=0)[0]

    def side(self, side: Any) -> str:
        """One number of a shape, as int64[1]."""
        if isinstance(side, int | np.integer):
            return self.number(np.array([side], np.int64))
        # The text of a symbolic dimension is what JAX documents of it.
        return self._expression(ast.parse(str(side), mode="eval").body)

    def _expression(self, node: ast.AST) -> str:
        match node:
            case ast.Name(id=name):
                return self.sides[name]
            case ast.Constant(value=int(value)):
                return self.number(np.array([value], np.int64))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.emit("Neg", self._expression(operand))[0]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                parts = self._expression(left), self._expression(right)
                return self.emit(_ARITHMETIC[type(op)], *parts)[0]
            case ast.Call(func=ast.Name(id="floordiv"), args=[left, right]):
                # Sides are not negative.
                parts = self._expression(left), self._expression(right)
                return self.emit("Div", *parts)[0]
        raise UnsupportedError(f"graphs: the dimension {ast.unparse(node)} is unknown")

    def reshape(self, value: Operand, shape: Shape) -> Tensor:
        """Another shape of as many numbers."""
        tensor = self.tensor(value)
        if tensor.shape == shape:
            return tensor
        free = [side for side in shape if not isinstance(side, int | np.integer)]
        target = [side if side not in free else -1 for side in shape]
        dims = self.dims(target if len(free) <= 1 else shape)
        (name,) = self.emit("Reshape", tensor.name, dims)
        return Tensor(name, shape, tensor.dtype, tensor.fixed, tensor.whole)

    def full(self, value: Operand, shape: Shape) -> Tensor:
        """The value with all its copies along axes where it is the same."""
        tensor = self.tensor(value)
        if tensor.shape == tuple(shape):
            return tensor
        (name,) = self.emit("Expand", tensor.name, self.dims(shape))
        return Tensor(name, tuple(shape), tensor.dtype, tensor.fixed)

    def cast(self, value: Operand, dtype: Any) -> Tensor:
        """The value as another type."""
        tensor = self.tensor(value)
        if tensor.dtype == dtype:
            return tensor
        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        (name,) = self.emit("Cast", tensor.name, to=to)
        whole = tensor.whole or np.dtype(tensor.dtype).kind in "iub"
        return Tensor(name, tensor.shape, np.dtype(dtype), tensor.fixed, whole)

    # The end.

    def finish(
        self,
        name: str,
        inputs: list[Any],
        outputs: list[Any],
        facts: Mapping[str, Any],
    ) -> Graph:
        """The graph.

        Args:
            name: of the graph.
            inputs: ONNX's value infos.
            outputs: likewise; nodes that none of them needs are left out.
            facts: metadata of the model.
        """
        needed = {value.name for value in outputs}
        kept = []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        constants = [c for c in self.constants.values() if c.name in needed]
        graph = helper.make_graph(kept[::-1], name, inputs, outputs, constants)
        model = helper.make_model(
            graph,
            producer_name="codax",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, {key: str(fact) for key, fact in facts.items()})
        own = [c.name for c in constants if c.data_location == TensorProto.EXTERNAL]
        return Graph(model.SerializeToString(deterministic=True), tuple(sorted(own)))


_ARITHMETIC = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}


def joined_shape(one: Shape, two: Shape) -> Shape:
    """What two shapes broadcast to."""
    size = max(len(one), len(two))
    one, two = (1,) * (size - len(one)) + one, (1,) * (size - len(two)) + two
    return tuple(b if a == 1 else a for a, b in zip(one, two, strict=True))


def is_power_of_two(value: Any) -> bool:
    """Whether a number is a power of two; none is negative."""
    return value > 0 and frexp(float(value))[0] == 0.5
