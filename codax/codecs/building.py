"""From stored weights to networks that run: the JAX runtime of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codax.codecs.families import family
from codax.coding.running import Networks
from codax.coding.trees import abstract_model, fill_model, read_config

__all__ = ["build_networks"]


def build_networks(
    arrays: Mapping[str, np.ndarray], card: Mapping[str, Any], buckets: tuple[int, ...]
) -> Networks:
    """Builds the networks of a checkpoint.

    Args:
        arrays: float32 weights by path, see `codax.zoo.weights.unpack_weights`.
        card: the checkpoint's card.
        buckets: sides in cells of 16 pixels that networks are compiled for.

    Raises:
        ModelError: weights that do not fit or break the exactness bounds.
        ConfigError: an unknown family, or buckets that cannot hold any picture.
    """
    kind = family(card["codec"])
    config = read_config(kind.config, card["config"])
    graph, shapes = abstract_model(kind.networks, config)
    found = Networks(graph, fill_model(shapes, dict(arrays)), buckets)
    found.model.prior.check_exact()
    return found
