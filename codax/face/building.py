"""Between stored weights and networks: the JAX runtime of a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from codax.codecs.families import family
from codax.coding.forks import check_fork
from codax.coding.running import Networks
from codax.coding.tiles import BUCKETS
from codax.coding.trees import (
    abstract_model,
    fill_model,
    flatten,
    metadata,
    read_config,
)
from codax.zoo.weights import pack_weights, unpack_weights

__all__ = ["build_networks", "pack_model", "unpack_checkpoint"]

Arrays = Mapping[str, np.ndarray]


def build_networks(
    packed: Arrays, card: Mapping[str, Any], buckets: tuple[int, ...] = BUCKETS
) -> Networks:
    """Builds the networks of a checkpoint.

    Args:
        packed: stored arrays by path, see `codax.zoo.weights`.
        card: the checkpoint's card.
        buckets: sides in cells of 16 pixels that networks are compiled for.

    Raises:
        ModelError: weights that do not fit or break the exactness bounds, or a coding
            order that cannot be walked.
        ConfigError: an unknown family, or buckets that cannot hold any picture.
        UnsupportedError: the process was forked after JAX was used.
    """
    check_fork()
    # A codec may meet its first call while a function of its user's is being traced.
    with jax.ensure_compile_time_eval():
        graph, shapes = _abstract(card)
        arrays = unpack_weights(packed, metadata(shapes, "stored"))
        found = Networks(graph, fill_model(shapes, arrays), buckets)
        found.model.prior.check_exact()
    return found


def unpack_checkpoint(packed: Arrays, card: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The float32 weights of a checkpoint by path, as training holds them.

    Raises:
        ModelError: they do not belong to the card.
        ConfigError: an unknown family.
    """
    return unpack_weights(packed, metadata(_abstract(card)[1], "stored"))


def _abstract(card: Mapping[str, Any]) -> tuple[Any, Any]:
    kind = family(card["codec"])
    return abstract_model(kind.networks, read_config(kind.config, card["config"]))


def pack_model(model: Any) -> dict[str, np.ndarray]:
    """The stored weights and tables of networks.

    Variables say how they are stored, sources make their tables.

    Args:
        model: an `nnx` module with `prior`.

    Raises:
        ModelError: a value is not finite or beyond its range.
    """
    state = nnx.state(model)
    packed = pack_weights(flatten(state), metadata(state, "stored"))
    for source in model.prior.sources.values():
        packed |= source.pack()
    return packed
