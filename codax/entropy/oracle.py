"""The oracle: a NumPy evaluation of the exact networks, without XLA.

A network is traced to JAX's intermediate form (nothing is compiled or run) and its
operations are evaluated one by one in float64, which is exact for integers to 2**53.
So there is no second description of any network. It is the reference of the tests, and
`--oracle` decodes with it when a machine's XLA is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from codax.errors import UnsupportedError

__all__ = ["evaluate"]


def evaluate(function: Callable[..., Any], *args: np.ndarray) -> tuple[np.ndarray, ...]:
    """Evaluates a function of arrays in NumPy.

    Args:
        function: traceable, returns a tuple of arrays.
        *args: its arguments.

    Returns:
        The results, floats as float32 (exact where the float64 values fit).

    Raises:
        UnsupportedError: it uses an operation that no exact network needs.
    """
    closed = jax.make_jaxpr(function)(*args)
    results = _run(closed.jaxpr, closed.consts, args)
    return tuple(r.astype(np.float32) for r in results)


def _wide(x: Any) -> np.ndarray:
    x = np.asarray(x)
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _run(jaxpr: Any, consts: Any, args: Any) -> list[np.ndarray]:
    values: dict[Any, np.ndarray] = {}

    def read(atom):
        if hasattr(atom, "val"):
            return _wide(atom.val)
        return values[atom]

    for var, value in zip(jaxpr.constvars, consts, strict=True):
        values[var] = _wide(value)
    for var, value in zip(jaxpr.invars, args, strict=True):
        values[var] = _wide(value)
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        results = _apply(equation, inputs)
        for var, value in zip(equation.outvars, results, strict=True):
            values[var] = value
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Evaluates one operation."""
    name, params = equation.primitive.name, equation.params
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in params:
            inner = params[key]
            if hasattr(inner, "jaxpr"):
                return _run(inner.jaxpr, inner.consts, inputs)
            return _run(inner, (), inputs)
    if name in _SIMPLE:
        return [_SIMPLE[name](*inputs)]
    if name in _SHAPED:
        return [_SHAPED[name](inputs, params, equation.outvars[0].aval)]
    raise UnsupportedError(f"oracle: operation {name} is not part of exact networks")


def _dot(inputs, params, aval):
    (left, right), batch = params["dimension_numbers"]
    if (tuple(left), tuple(right), *map(tuple, batch)) == ((2,), (1,), (0,), (0,)):
        return inputs[0] @ inputs[1]
    if any(batch):
        raise UnsupportedError("oracle: only batches of matrices can be multiplied")
    return np.tensordot(inputs[0], inputs[1], (tuple(left), tuple(right)))


def _pad(inputs, params, aval):
    widths = [(low, high) for low, high, _ in params["padding_config"]]
    return np.pad(inputs[0], widths, constant_values=float(inputs[1]))


def _slice(inputs, params, aval):
    steps = params["strides"] or (1,) * inputs[0].ndim
    begin, end = params["start_indices"], params["limit_indices"]
    return inputs[0][tuple(map(slice, begin, end, steps))]


def _broadcast(inputs, params, aval):
    shape = [1] * len(aval.shape)
    for source, target in enumerate(params["broadcast_dimensions"]):
        shape[target] = inputs[0].shape[source]
    return np.broadcast_to(inputs[0].reshape(shape), aval.shape)


def _gather(inputs, params, aval):
    """Rows of a table along axis 0, the only gather that exact networks use."""
    table, index = inputs
    numbers = params["dimension_numbers"]
    if numbers.start_index_map != (0,) or numbers.collapsed_slice_dims != (0,):
        raise UnsupportedError("oracle: only gathers of whole rows are supported")
    rows = np.clip(index[..., 0].astype(np.int64), 0, table.shape[0] - 1)
    return table[rows].reshape(aval.shape)


def _iota(inputs, params, aval):
    axis = params["dimension"]
    shape = [1] * len(aval.shape)
    shape[axis] = aval.shape[axis]
    row = np.arange(aval.shape[axis], dtype=aval.dtype).reshape(shape)
    return np.broadcast_to(row, aval.shape)


def _convert(inputs, params, aval):
    kind = np.dtype(params["new_dtype"])
    return inputs[0].astype(np.float64 if kind.kind == "f" else kind)


def _power(inputs, params, aval):
    return inputs[0] ** params["y"]


def _integer_div(a, b):
    if a.dtype.kind != "f":
        return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
    return a / b


def _remainder(a, b):
    return np.fmod(a, b)


_SIMPLE: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _integer_div,
    "rem": _remainder,
    "neg": np.negative,
    "sign": np.sign,
    "abs": np.abs,
    "floor": np.floor,
    "max": np.maximum,
    "min": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "clamp": lambda low, x, high: np.clip(x, low, high),
    "select_n": lambda which, no, yes: np.where(which, yes, no),
    "round": np.round,
    "copy": np.array,
    "stop_gradient": np.array,
}
_SHAPED: dict[str, Callable[..., Any]] = {
    "dot_general": _dot,
    "pad": _pad,
    "slice": _slice,
    "broadcast_in_dim": _broadcast,
    "gather": _gather,
    "iota": _iota,
    "convert_element_type": _convert,
    "integer_pow": _power,
    "reshape": lambda inputs, params, aval: inputs[0].reshape(aval.shape),
    "squeeze": lambda inputs, params, aval: inputs[0].reshape(aval.shape),
    "expand_dims": lambda inputs, params, aval: inputs[0].reshape(aval.shape),
    "transpose": lambda inputs, params, aval: inputs[0].transpose(
        params["permutation"]
    ),
    "stack": lambda inputs, params, aval: np.stack(inputs, params["axis"]),
    "tile": lambda inputs, params, aval: np.tile(inputs[0], params["reps"]),
    "concatenate": lambda inputs, params, aval: np.concatenate(
        inputs, params["dimension"]
    ),
}
