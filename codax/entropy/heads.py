"""The last layers of priors, and what their outputs stand for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.entropy.exact import ExactDense, half_up, inward_clip
from codax.entropy.tables import (
    BINARY_COUNT,
    BINARY_STEP,
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
)
from codax.entropy.units import HEAD_LIMIT, UNIT

__all__ = ["head", "odds_bias", "odds_index", "scale_bias"]


def head(rngs: nnx.Rngs) -> Callable[..., ExactDense]:
    """Makes heads `(inputs, outputs, shift=4 for means, 8 for scales)`."""
    return partial(ExactDense, rngs=rngs, relu=False, limit=HEAD_LIMIT, gain=0.1)


def scale_bias(std: np.ndarray) -> jax.Array:
    """Biases with which scale heads start at standard deviations in latent steps."""
    index = (np.log(np.maximum(std, 0.11)) - LOG_SCALE_MIN) / LOG_SCALE_STEP
    return jnp.asarray(index * (16.0 / UNIT), jnp.float32)


def odds_bias(logit: Any) -> jax.Array:
    """Biases with which heads of decisions start at logits."""
    return jnp.asarray(np.asarray(logit, np.float32) / BINARY_STEP / 4.0)


def odds_index(raw: jax.Array, *, exact: bool = True) -> jax.Array:
    """The tables of decisions, 0..63, from a raw head in sixteenths of an index."""
    x = (raw + 8.0 * (BINARY_COUNT - 1)) * 2.0**-4
    return inward_clip(half_up(x) if exact else x, 0.0, BINARY_COUNT - 1.0)
