"""The optimiser of a run: clipping, SOAP or Adam, weight decay, shares of the rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from codax.train.config import TrainConfig
from codax.train.soap import scale_by_soap

__all__ = ["is_under", "make_optimizer", "norm_of", "updates_counted"]

LINEAR = ("klt",)


def is_under(path: tuple, names: tuple[str, ...]) -> bool:
    """Whether a path of tree keys goes through one of the names."""
    return any(getattr(key, "key", None) in names for key in path)


def updates_counted(state: Mapping[str, Any]) -> Any:
    """The updates that a state's optimiser has made; None if it counts none.

    One's own optimiser may count nothing, or several times.
    """
    counts = optax.tree_utils.tree_get_all_with_path(state["opt"], "count")
    return counts[0][1] if counts else None


def norm_of(tree: Any) -> jax.Array:
    """The norm of all arrays together.

    Of one row: sums of each array would be compiled for every shape.
    """
    row = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
    return jnp.sqrt(jnp.sum(row * row))


def make_optimizer(
    config: TrainConfig, inner: optax.GradientTransformation | None = None
) -> optax.GradientTransformation:
    """Clipping, optimiser, weight decay, and the linear matrices' share of the rate.

    Args:
        config: names `soap` or `adam` and their constants.
        inner: one's own in their place, which gives updates at rate 1; the learning
            rate and its schedule stay the run's.
    """
    if inner is None:
        constants = (*config.betas, config.epsilon)
        make = scale_by_soap if config.optimizer == "soap" else optax.scale_by_adam
        inner = make(*constants)
    share = config.weight_decay
    decay = [optax.add_decayed_weights(share)] if share else []

    def clipped(updates):
        share = config.clip / jnp.maximum(norm_of(updates), config.clip)
        return jax.tree.map(lambda u: share * u, updates)

    def linear_share(updates):
        def scale(path, u):
            return u * (config.linear_rate if is_under(path, LINEAR) else 1.0)

        return jax.tree_util.tree_map_with_path(scale, updates)

    return optax.chain(
        optax.stateless(lambda updates, params: clipped(updates)),
        inner,
        *decay,
        optax.stateless(lambda updates, params: linear_share(updates)),
    )
