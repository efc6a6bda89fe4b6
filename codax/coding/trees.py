"""Between trees of arrays or configurations and their flat or JSON forms."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.errors import ModelError

__all__ = [
    "abstract_model",
    "fill_model",
    "flatten",
    "metadata",
    "read_config",
    "unflatten_like",
]


def _name(path: tuple) -> str:
    """A path of tree keys as words joined by slashes."""
    words = []
    for key in path:
        for field in ("key", "name", "idx"):
            if hasattr(key, field):
                words.append(str(getattr(key, field)))
                break
    return "/".join(word for word in words if word != "value")


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Maps a tree of arrays to `path -> array` with host arrays."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): np.asarray(leaf) for path, leaf in leaves}


def metadata(state: Any, word: str) -> dict[str, Any]:
    """What the variables of a state say of themselves, by path.

    Args:
        state: of an `nnx` module.
        word: such as `stored`; variables that do not say it are left out.
    """
    return {
        "/".join(map(str, path)): variable.get_metadata()[word]
        for path, variable in nnx.to_flat_state(state)
        if word in variable.get_metadata()
    }


class _OneKey:
    """Stands for `nnx.Rngs` where only shapes count.

    The counters of `nnx.Rngs`, when traced, took half of the time that loading takes.
    """

    def params(self) -> jax.Array:
        """Any key will do."""
        return jax.random.key(0)


def abstract_model(networks: Callable[..., Any], config: Any) -> tuple[Any, Any]:
    """A model without its arrays.

    Args:
        networks: makes the module, `networks(config, rngs=...)`.
        config: the codec's configuration.

    Returns:
        The graph and the shapes of the state, as `nnx.split` gives them.
    """
    model = nnx.eval_shape(lambda: networks(config, rngs=_OneKey()))
    return nnx.split(model)


def unflatten_like(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Fills a tree of the same structure from `path -> array`.

    Raises:
        ModelError: an array is missing or has another shape.
    """

    def pick(path, leaf):
        name = _name(path)
        if name not in arrays:
            raise ModelError(f"array {name} is missing; was it made by another codec?")
        value = arrays[name]
        if value.shape != leaf.shape:
            raise ModelError(f"{name} has shape {value.shape}, expected {leaf.shape}")
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(pick, tree)


def fill_model(shapes: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Fills an abstract model state; arrays that it lacks are an error too.

    Raises:
        ModelError: an array is missing, unknown or of another shape.
    """
    known = {_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)}
    unknown = sorted(set(arrays) - known)
    if unknown:
        raise ModelError(f"weights: array {unknown[0]} is unknown to this codec")
    return unflatten_like(shapes, arrays)


def read_config(kind: type, fields: dict[str, Any]) -> Any:
    """Makes a frozen dataclass from its JSON fields, nested ones included.

    Raises:
        ModelError: a field is unknown or has another type.
    """
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in fields.items():
        if name not in hints:
            raise ModelError(f"card: {kind.__name__} has no field {name}")
        if dataclasses.is_dataclass(hints[name]):
            value = read_config(hints[name], value)
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    try:
        return kind(**values)
    except TypeError as error:
        raise ModelError(f"card: {kind.__name__}: {error}") from error
