"""Batches of pictures and their qualities, as networks take them, under jit too."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.errors import ConfigError

__all__ = ["batch_steps", "check_pictures", "whole_cells"]


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


def check_pictures(images: Any) -> None:
    """Checks the shape of a batch [N H W 3].

    Raises:
        ConfigError: it is another.
    """
    if len(images.shape) != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ConfigError(f"images: got shape {images.shape}, expected [N H W 3]")


def whole_cells(images: Any, cell: int) -> jax.Array:
    """Pictures as float32, with edges repeated to whole cells of so many pixels."""
    missing = [(0, -side % cell) for side in images.shape[1:3]]
    x = jnp.asarray(images).astype(jnp.float32)
    return jnp.pad(x, ((0, 0), *missing, (0, 0)), mode="edge")
