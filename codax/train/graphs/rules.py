"""JAX's operations as nodes of ONNX: those that the networks of codecs use.

Each rule takes the builder, the operands and the traced equation. Two functions are
nodes of their own, because a runtime has fast ones: `depthwise3x3` is a convolution by
channel (whose nine products are summed directly, so that integers stay exact), and
`clip` to 0..1 of x + 1/2 is a hard sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codax.errors import UnsupportedError
from codax.train.graphs.builder import (
    Builder,
    Deferred,
    Operand,
    Tensor,
    is_known,
    is_power_of_two,
    joined_shape,
)
from codax.train.graphs.shapes import SHAPE_RULES, Rule, all_full, result

__all__ = ["RULES", "SHORTCUTS", "fold"]

FOLDED = 1 << 16
"""Numbers of an array that tracing computes; larger ones are left to the graph."""


def fold(inputs: list[Operand], equation: Any) -> list[Operand] | None:
    """What an equation of known numbers gives; None where it has others."""
    shapes = [v.aval.shape for v in (*equation.invars, *equation.outvars)]
    sides = [side for shape in shapes for side in shape]
    if not all(map(is_known, inputs)) or not all(isinstance(s, int) for s in sides):
        return None
    if any(np.prod(v.aval.shape) > FOLDED for v in equation.outvars):
        return None
    full = [
        np.broadcast_to(value, v.aval.shape)
        for value, v in zip(inputs, equation.invars, strict=True)
    ]
    found = equation.primitive.bind(*full, **equation.params)
    parts = found if equation.primitive.multiple_results else [found]
    return [np.asarray(part) for part in parts]


# Element by element.


def _unary(kind: str) -> Rule:
    def rule(builder, inputs, equation):
        x = builder.tensor(inputs[0])
        if x.whole and kind in ("Round", "Floor"):
            return [x]
        (name,) = builder.emit(kind, x.name)
        whole = kind in ("Round", "Floor")
        return [Tensor(name, x.shape, x.dtype, x.fixed, whole)]

    return rule


def _binary(kind: str) -> Rule:
    def rule(builder, inputs, equation):
        dtype = equation.outvars[0].aval.dtype
        return [builder.binary(kind, *inputs, dtype=dtype)]

    return rule


def _add(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    for value, other in (inputs, inputs[::-1]):
        if _movable(value) and _one_a_channel(other, builder):
            return [builder.scaled(value, 1.0, other)]
    return [builder.binary("Add", *inputs)]


def _sub(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    value, other = inputs
    if _movable(value) and is_known(other) and other.dtype == np.float32:
        return _add(builder, [value, np.asarray(-other)], equation)
    return [builder.binary("Sub", *inputs)]


def _mul(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    for value, other in (inputs, inputs[::-1]):
        if _movable(value) and is_known(other) and other.size == 1:
            factor = other.reshape(())
            if is_power_of_two(factor):
                return [builder.scaled(value, float(factor), None)]
    return [builder.binary("Mul", *inputs)]


def _movable(value: Operand) -> bool:
    return not is_known(value) and value.dtype == np.float32


def _one_a_channel(value: Operand, builder: Builder) -> bool:
    """Whether a value is fixed, and of one number or one for each channel."""
    if is_known(value):
        return value.size == (value.shape[-1] if value.shape else 1)
    return value.fixed and all(side == 1 for side in value.shape[:-1])


def _not_equal(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    equal = builder.binary("Equal", *inputs, dtype=np.dtype(bool))
    (name,) = builder.emit("Not", equal.name)
    return [Tensor(name, equal.shape, np.dtype(bool), equal.fixed)]


def _select(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    which, no, yes = inputs
    if is_known(no) and no.dtype == np.float32 and not no.any() and not is_known(yes):
        # One pass over the array, where a choice takes three.
        return [builder.binary("Mul", yes, builder.cast(which, np.float32))]
    parts = [builder.tensor(part) for part in (which, yes, no)]
    (name,) = builder.emit("Where", *(part.name for part in parts))
    shape: Any = ()
    for part in parts:
        shape = joined_shape(shape, part.shape)
    fixed = all(part.fixed for part in parts)
    return [Tensor(name, shape, parts[1].dtype, fixed)]


def _convert(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    return [builder.cast(inputs[0], equation.params["new_dtype"])]


def _remainder(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    one, two = map(builder.tensor, inputs)
    (name,) = builder.emit("Mod", one.name, two.name, fmod=1)
    return [Tensor(name, joined_shape(one.shape, two.shape), one.dtype)]


def _whole_power(builder: Builder, inputs: list[Operand], equation: Any):
    if equation.params["y"] == 2:
        return [builder.binary("Mul", inputs[0], inputs[0])]
    exponent = np.float32(equation.params["y"])
    return [builder.binary("Pow", inputs[0], np.asarray(exponent))]


def _same(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    return list(inputs)


# Sums and products.


def _dot(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    (left, right), (batch_left, batch_right) = equation.params["dimension_numbers"]
    x, w = all_full(builder, inputs, equation)
    shape = tuple(equation.outvars[0].aval.shape)
    batches = len(batch_left)
    own = tuple(range(batches))
    if (
        (tuple(batch_left), tuple(batch_right)) != (own, own)
        or tuple(left) != (len(x.shape) - 1,)
        or tuple(right) != (batches,)
        or len(w.shape) > batches + 2
    ):
        raise UnsupportedError("graphs: a product of more than matrices is unknown")

    def make(scale: float, offset: Operand | None) -> Tensor:
        kernel = builder.tensor(builder.scaled(w, scale, None))
        if len(shape) == 2 and offset is not None:
            bias = _vector(builder, offset, shape[1])
            (name,) = builder.emit("Gemm", x.name, kernel.name, bias.name)
            return Tensor(name, shape, x.dtype, x.fixed and w.fixed)
        (name,) = builder.emit("MatMul", x.name, kernel.name)
        product = Tensor(name, shape, x.dtype, x.fixed and w.fixed)
        return product if offset is None else builder.binary("Add", product, offset)

    return [Deferred(make, shape, x.fixed and w.fixed)]


def _vector(builder: Builder, value: Operand, channels: int) -> Tensor:
    """A number, or one a channel, as a vector."""
    tensor = builder.tensor(value)
    if tensor.shape[-1:] == (channels,):
        return builder.reshape(tensor, (channels,))
    return builder.full(builder.reshape(tensor, (1,)), (channels,))


def _sum(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    (x,) = all_full(builder, inputs, equation)
    axes = builder.dims(equation.params["axes"])
    (name,) = builder.emit("ReduceSum", x.name, axes, keepdims=0)
    return [result(name, equation, [x])]


def _arg_min(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    (x,) = all_full(builder, inputs, equation)
    (axis,) = equation.params["axes"]
    (name,) = builder.emit("ArgMin", x.name, axis=axis, keepdims=0)
    aval = equation.outvars[0].aval
    found = Tensor(name, tuple(aval.shape), np.dtype(np.int64))
    return [builder.cast(found, aval.dtype)]


# Functions that are nodes of their own.


def _depthwise(builder: Builder, inputs: list[Operand], equation: Any):
    x, kernel = all_full(builder, inputs, equation)
    if kernel.shape[:2] != (3, 3):
        raise UnsupportedError(f"graphs: depthwise kernel of {kernel.shape[:2]}")
    channels = kernel.shape[2]
    (moved,) = builder.emit("Transpose", x.name, perm=[0, 3, 1, 2])
    shape = tuple(equation.outvars[0].aval.shape)

    def make(scale: float, offset: Operand | None) -> Tensor:
        own = builder.tensor(builder.scaled(kernel, scale, None))
        (name,) = builder.emit("Transpose", own.name, perm=[2, 0, 1])
        turned = Tensor(name, (channels, 3, 3), np.float32, kernel.fixed)
        weights = builder.reshape(turned, (channels, 1, 3, 3)).name
        operands = [moved, weights]
        if offset is not None:
            operands.append(_vector(builder, offset, channels).name)
        (name,) = builder.emit("Conv", *operands, group=channels, pads=[1, 1, 1, 1])
        (name,) = builder.emit("Transpose", name, perm=[0, 2, 3, 1])
        return Tensor(name, shape, np.float32, x.fixed and kernel.fixed)

    return [Deferred(make, shape, x.fixed and kernel.fixed)]


def _take(builder: Builder, inputs: list[Operand], equation: Any) -> Any:
    """Rows of an array; ONNX, too, counts negative indices from the end."""
    numbers = _gather_inside(equation)
    if len(numbers.start_index_map) != 1 or all(map(is_known, inputs)):
        return None
    x, index = all_full(builder, inputs, equation)
    (axis,) = numbers.start_index_map
    (name,) = builder.emit("Gather", x.name, index.name, axis=axis)
    return [result(name, equation, [x, index])]


def _take_along(builder: Builder, inputs: list[Operand], equation: Any) -> Any:
    """The numbers of an array that indices of as many axes pick along one."""
    (axis,) = _gather_inside(equation).start_index_map
    x, index = all_full(builder, inputs, equation)
    (name,) = builder.emit("GatherElements", x.name, index.name, axis=axis)
    return [result(name, equation, [x, index])]


def _gather_inside(equation: Any) -> Any:
    """The dimension numbers of the one gather of a function."""
    inner = equation.params["jaxpr"].jaxpr
    (gather,) = (e for e in inner.eqns if e.primitive.name == "gather")
    return gather.params["dimension_numbers"]


def _clip(builder: Builder, inputs: list[Operand], equation: Any) -> Any:
    """A clip to known limits; None where they are not."""
    value, low, high = inputs
    if is_known(value) or not (is_known(low) and is_known(high)):
        return None
    if low.size > 1 or high.size > 1:
        return None
    limits = (float(low.reshape(())), float(high.reshape(())))
    if isinstance(value, Deferred) and value.plain is not None and limits == (0, 1):
        offset = value.offset
        if is_known(offset) and offset.size == 1 and value.tensor is None:
            beta = float(offset.reshape(()))
            (name,) = builder.emit(
                "HardSigmoid", value.plain.name, alpha=value.scale, beta=beta
            )
            return [Tensor(name, value.plain.shape, np.float32, value.fixed)]
    x = builder.tensor(value)
    ends = [builder.number(np.asarray(limit, x.dtype)) for limit in limits]
    (name,) = builder.emit("Clip", x.name, *ends)
    return [Tensor(name, x.shape, x.dtype, x.fixed, x.whole)]


SHORTCUTS: dict[str, Callable[[Builder, list[Operand], Any], Any]] = {
    "_take": _take,
    "take_along_axis": _take_along,
    "depthwise3x3": _depthwise,
    "clip": _clip,
    "inward_clip": _clip,
}
"""By the name of a function that is called; None means that it is walked through."""

RULES: dict[str, Rule] = {
    **SHAPE_RULES,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _binary("Div"),
    "rem": _remainder,
    "max": _binary("Max"),
    "min": _binary("Min"),
    "pow": _binary("Pow"),
    "integer_pow": _whole_power,
    "eq": _binary("Equal"),
    "ne": _not_equal,
    "lt": _binary("Less"),
    "le": _binary("LessOrEqual"),
    "gt": _binary("Greater"),
    "ge": _binary("GreaterOrEqual"),
    "and": _binary("And"),
    "or": _binary("Or"),
    "not": _unary("Not"),
    "neg": _unary("Neg"),
    "sign": _unary("Sign"),
    "abs": _unary("Abs"),
    "floor": _unary("Floor"),
    "round": _unary("Round"),
    "exp": _unary("Exp"),
    "log": _unary("Log"),
    "tanh": _unary("Tanh"),
    "logistic": _unary("Sigmoid"),
    "sqrt": _unary("Sqrt"),
    "select_n": _select,
    "convert_element_type": _convert,
    "stop_gradient": _same,
    "copy": _same,
    "dot_general": _dot,
    "reduce_sum": _sum,
    "argmin": _arg_min,
}
