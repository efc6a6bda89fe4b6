"""Qualities 0..100 as the networks take them, under jit too."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.errors import ConfigError

__all__ = ["batch_steps"]


def batch_steps(quality: Any, batch: jax.Array) -> jax.Array:
    """Qualities 0..100 of a batch [N ...], one or N of them: int32[N], half steps.

    Raises:
        ConfigError: one is out of range, where it is known.
    """
    if not isinstance(quality, jax.core.Tracer):
        known = np.asarray(quality, np.float64)
        if not np.all((known >= 0) & (known <= 100)):
            raise ConfigError(f"quality is {quality}; expected 0 to 100")
    steps = jnp.round(2.0 * jnp.asarray(quality, jnp.float32)).astype(jnp.int32)
    return jnp.broadcast_to(steps, batch.shape[:1])
