"""What evaluates the networks of a checkpoint: ONNX Runtime, or JAX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codax.coding.sessions import Sessions
from codax.errors import ConfigError, UnsupportedError, needs_extra
from codax.zoo.graphs import has_graphs, read_graphs
from codax.zoo.weights import read_order

__all__ = ["RUNTIMES", "VARIABLE", "choose_runtime", "jax_networks", "onnx_sessions"]

RUNTIMES = ("auto", "onnx", "jax")
VARIABLE = "CODAX_RUNTIME"
"""Of the environment: what to take where nothing is said. Files are those of the
runtime as if it had been asked for; what they hold decodes equally in both."""


def choose_runtime(wanted: str | None, card: Mapping[str, Any]) -> str:
    """The runtime for a checkpoint: `onnx` or `jax`.

    Args:
        wanted: one of `RUNTIMES`; None for what the environment says, else `auto`:
            ONNX Runtime where the checkpoint has graphs for it. What is kept for
            decoding only runs there, whatever the environment says.
        card: the checkpoint's.

    Raises:
        ConfigError: no such runtime.
        UnsupportedError: one for which not all of the checkpoint was kept.
    """
    word = wanted or os.environ.get(VARIABLE) or "auto"
    if word not in RUNTIMES:
        named = "runtime" if wanted else f"${VARIABLE}"
        raise ConfigError(f"{named} is {word!r}; expected one of {', '.join(RUNTIMES)}")
    if card.get("decodes_only"):
        if wanted == "jax":
            _check_whole(card)
        return "onnx"
    if word == "auto":
        return "onnx" if has_graphs(card) else "jax"
    return word


def onnx_sessions(
    folder: Path,
    packed: Mapping[str, np.ndarray],
    card: Mapping[str, Any],
    **options: Any,
) -> Sessions:
    """A checkpoint's networks on ONNX Runtime.

    Args:
        folder: of the checkpoint.
        packed: its stored arrays.
        card: its card.
        **options: those of `Sessions`.

    Raises:
        ModelError: it has no graphs, or some that do not belong to it.
        UnsupportedError: no ONNX Runtime here, or one that is too old.
    """
    graphs, order = read_graphs(folder, card), read_order(folder)
    return Sessions(graphs, packed, order, card["graphs"]["tests"], **options)


def jax_networks(
    packed: Mapping[str, np.ndarray], card: Mapping[str, Any], **options: Any
) -> Any:
    """A checkpoint's networks on JAX, `codax.coding.running.Networks`.

    Args:
        packed: its stored arrays.
        card: its card.
        **options: those of `codax.face.building.build_networks`.

    Raises:
        UnsupportedError: JAX is not installed, or not all of the checkpoint was kept.
        ModelError: weights that do not fit or break the exactness bounds.
        ConfigError: an unknown family, or buckets that cannot hold any picture.
    """
    _check_whole(card)
    with needs_extra(f"{card['name']} on JAX"):
        # Imported late: JAX takes a second, and files need none.
        from codax.face.building import build_networks

    return build_networks(packed, card, **options)


def _check_whole(card: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of which only what decoding needs was kept."""
    if card.get("decodes_only"):
        raise UnsupportedError(
            f"{card['name']} is kept for decoding only, with ONNX Runtime; "
            "`codax models` lists those that do more"
        )
