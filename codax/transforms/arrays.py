"""Arrays of NumPy or JAX: which module computes with one, blocks of pixels.

Loads no JAX by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Array", "array_module", "depth_to_space", "space_to_depth"]

Array = Any
"""An array of NumPy or of JAX."""


def array_module(x: Array) -> Any:
    """The module that computes with x: NumPy for its arrays, else JAX's."""
    if isinstance(x, np.ndarray):
        return np
    import jax.numpy

    return jax.numpy


def space_to_depth(x: Array, size: int) -> Array:
    """Folds blocks of pixels into channels: [N H W C] -> [N H/s W/s s*s*C].

    The channel order is (row in block, column in block, channel).
    """
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // size, w // size, size * size * c)


def depth_to_space(x: Array, size: int) -> Array:
    """The inverse of `space_to_depth`."""
    n, h, w, c = x.shape
    inner = c // (size * size)
    x = x.reshape(n, h, w, size, size, inner).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * size, w * size, inner)
