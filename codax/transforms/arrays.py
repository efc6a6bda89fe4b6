"""Arrays of NumPy or JAX: which module computes with one. Loads no JAX by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Array", "array_module"]

Array = Any
"""An array of NumPy or of JAX."""


def array_module(x: Array) -> Any:
    """The module that computes with x: NumPy for its arrays, else JAX's."""
    if isinstance(x, np.ndarray):
        return np
    import jax.numpy

    return jax.numpy
