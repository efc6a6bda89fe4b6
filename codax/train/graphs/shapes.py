"""Operations of JAX that move numbers, as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codax.errors import UnsupportedError
from codax.train.graphs.builder import Builder, Deferred, Operand, Tensor, is_known

__all__ = ["SHAPE_RULES", "Rule", "all_full", "result"]

Rule = Callable[[Builder, list[Operand], Any], list[Operand]]
LAST = np.iinfo(np.int64).max


def _reshape(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    value, shape = inputs[0], tuple(equation.outvars[0].aval.shape)
    had = tuple(equation.invars[0].aval.shape)
    if (
        isinstance(value, Deferred)
        and value.tensor is None
        and value.plain is None
        and value.shape == had
        and had[-1:] == shape[-1:]
    ):
        # What is one a channel stays so.
        make = value.make
        moved = Deferred(
            lambda s, o: builder.reshape(make(s, o), shape), shape, value.fixed
        )
        return [builder.scaled(moved, value.scale, value.offset)]
    return [builder.reshape(builder.full(value, had), shape)]


def _broadcast(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    """Only moves axes: what is the same along an axis is not copied."""
    value = inputs[0]
    rank = len(equation.outvars[0].aval.shape)
    places = equation.params["broadcast_dimensions"]
    if tuple(places) == tuple(range(rank - len(places), rank)):
        return [value]
    shape = [1] * rank
    own = (1,) * (len(places) - len(value.shape)) + tuple(value.shape)
    for place, side in zip(places, own, strict=True):
        shape[place] = side
    if is_known(value):
        return [value.reshape(shape)]
    return [builder.reshape(value, tuple(shape))]


def _squeeze(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    value = builder.tensor(inputs[0])
    rank = len(equation.invars[0].aval.shape)
    gone = [axis % rank for axis in equation.params["dimensions"]]
    own = (1,) * (rank - len(value.shape)) + tuple(value.shape)
    shape = tuple(side for axis, side in enumerate(own) if axis not in gone)
    return [builder.reshape(value, shape)]


def _transpose(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    x = builder.full(inputs[0], equation.invars[0].aval.shape)
    order = [int(axis) for axis in equation.params["permutation"]]
    (name,) = builder.emit("Transpose", x.name, perm=order)
    return [Tensor(name, tuple(x.shape[a] for a in order), x.dtype, x.fixed, x.whole)]


def result(name: str, equation: Any, inputs: list[Tensor], k: int = 0) -> Tensor:
    """The tensor of an equation's result, with all its copies along axes."""
    aval = equation.outvars[k].aval
    fixed = all(value.fixed for value in inputs)
    return Tensor(name, tuple(aval.shape), aval.dtype, fixed)


def all_full(builder: Builder, inputs: list[Operand], equation: Any) -> list[Tensor]:
    """Operands with all their copies along axes."""
    return [
        builder.full(value, v.aval.shape)
        for value, v in zip(inputs, equation.invars, strict=True)
    ]


def _concatenate(builder: Builder, inputs: list[Operand], equation: Any):
    parts = all_full(builder, inputs, equation)
    names = [part.name for part in parts]
    (name,) = builder.emit("Concat", *names, axis=equation.params["dimension"])
    return [result(name, equation, parts)]


def _stack(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    parts = all_full(builder, inputs, equation)
    axis = builder.number(np.array([equation.params["axis"]], np.int64))
    names = [builder.emit("Unsqueeze", part.name, axis)[0] for part in parts]
    (name,) = builder.emit("Concat", *names, axis=equation.params["axis"])
    return [result(name, equation, parts)]


def _tile(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    (x,) = all_full(builder, inputs, equation)
    (name,) = builder.emit("Tile", x.name, builder.dims(equation.params["reps"]))
    return [result(name, equation, [x])]


def _split(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    (x,) = all_full(builder, inputs, equation)
    sizes = builder.dims(equation.params["sizes"])
    count = len(equation.outvars)
    names = builder.emit(
        "Split", x.name, sizes, axis=equation.params["axis"], outputs=count
    )
    return [result(name, equation, [x], k) for k, name in enumerate(names)]


def _pad(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    x = builder.full(inputs[0], equation.invars[0].aval.shape)
    low, high, between = zip(*equation.params["padding_config"], strict=True)
    if any(between):
        raise UnsupportedError("graphs: padding between numbers is unknown")
    value = builder.tensor(inputs[1]).name
    (name,) = builder.emit("Pad", x.name, builder.dims([*low, *high]), value)
    return [result(name, equation, [x])]


def _slice(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    (x,) = all_full(builder, inputs, equation)
    params = equation.params
    steps = params["strides"] or (1,) * len(x.shape)
    limits = [
        (axis, *limit)
        for axis, limit in enumerate(
            zip(params["start_indices"], params["limit_indices"], steps, strict=True)
        )
        if limit != (0, x.shape[axis], 1)
    ]
    if not limits:
        return [x]
    axes, begins, ends, steps = zip(*limits, strict=True)
    parts = [builder.dims(part) for part in (begins, ends, axes, steps)]
    (name,) = builder.emit("Slice", x.name, *parts)
    return [result(name, equation, [x])]


def _reverse(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    (x,) = all_full(builder, inputs, equation)
    axes = equation.params["dimensions"]
    parts = [[-1] * len(axes), [-LAST] * len(axes), axes, [-1] * len(axes)]
    (name,) = builder.emit("Slice", x.name, *map(builder.dims, parts))
    return [result(name, equation, [x])]


def _gather(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    """Rows along one axis by an array of indices, or a window at one place."""
    numbers = equation.params["dimension_numbers"]
    sizes = equation.params["slice_sizes"]
    x, index = builder.full(inputs[0], equation.invars[0].aval.shape), inputs[1]
    if is_known(index) and index.ndim == 1:
        axes, gone = numbers.start_index_map, numbers.collapsed_slice_dims
        begins = [int(place) for place in index]
        ends = [b + sizes[axis] for b, axis in zip(begins, axes, strict=True)]
        parts = [builder.dims(part) for part in (begins, ends, axes)]
        (name,) = builder.emit("Slice", x.name, *parts)
        window = Tensor(name, tuple(sizes), x.dtype, x.fixed)
        rest = tuple(s for axis, s in enumerate(sizes) if axis not in gone)
        return [builder.reshape(window, rest)]
    index = builder.full(index, equation.invars[1].aval.shape)
    if numbers.operand_batching_dims or len(numbers.start_index_map) != 1:
        raise UnsupportedError("graphs: a gather of more than rows is unknown")
    (axis,) = numbers.start_index_map
    rows = builder.reshape(index, tuple(index.shape[:-1]))
    rank = len(index.shape) - 1
    after = [k + (rank if k >= axis else 0) for k in range(len(x.shape) - 1)]
    if numbers.collapsed_slice_dims != (axis,) or list(numbers.offset_dims) != after:
        raise UnsupportedError("graphs: a gather of more than rows is unknown")
    (name,) = builder.emit("Gather", x.name, rows.name, axis=axis)
    return [result(name, equation, [x, index])]


def _iota(builder: Builder, inputs: list[Operand], equation: Any) -> list[Operand]:
    axis, aval = equation.params["dimension"], equation.outvars[0].aval
    side, shape = aval.shape[axis], [1] * len(aval.shape)
    shape[axis] = side
    if isinstance(side, int):
        return [np.arange(side, dtype=aval.dtype).reshape(shape)]
    zero, one = (builder.number(np.int64(k)) for k in (0, 1))
    (scalar,) = builder.emit("Squeeze", builder.side(side))
    (name,) = builder.emit("Range", zero, scalar, one)
    row = builder.cast(Tensor(name, (side,), np.dtype(np.int64)), aval.dtype)
    return [builder.reshape(row, tuple(shape))]


def _dim_as_value(builder: Builder, inputs: list[Operand], equation: Any):
    (name,) = builder.emit("Squeeze", builder.side(equation.params["dim"]))
    aval = equation.outvars[0].aval
    return [builder.cast(Tensor(name, (), np.dtype(np.int64)), aval.dtype)]


SHAPE_RULES: dict[str, Rule] = {
    "reshape": _reshape,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "concatenate": _concatenate,
    "stack": _stack,
    "tile": _tile,
    "split": _split,
    "pad": _pad,
    "slice": _slice,
    "rev": _reverse,
    "gather": _gather,
    "iota": _iota,
    "dim_as_value": _dim_as_value,
}
