"""Lossless coding of one 8-bit plane: a reversible predictor, then the range coder.

Used for alpha. Everything is a whole-array operation modulo 256, so that it takes
milliseconds; the inverse of a difference is a cumulative sum.

Source: the predictors none, left and up are those of PNG (ISO/IEC 15948, section 9);
the fourth is the difference in both directions, which a cumulative sum inverts.
"""

from __future__ import annotations

import numpy as np

from codax.entropy.bytes_coder import decode_bytes, encode_bytes
from codax.errors import FormatError

__all__ = ["decode_plane", "encode_plane"]

# Predictor number: the axes along which differences are taken.
_PREDICTORS: tuple[tuple[int, ...], ...] = ((), (1,), (0,), (0, 1))


def encode_plane(plane: np.ndarray) -> bytes:
    """Codes a plane with the predictor whose residuals have the least entropy.

    Args:
        plane: uint8[H W].

    Returns:
        The predictor's number (one byte), then the coded residuals, row by row.
    """
    residuals = [_predict(plane, axes) for axes in _PREDICTORS]
    costs = [_entropy(residual) for residual in residuals]
    best = int(np.argmin(costs))
    return bytes([best]) + encode_bytes(residuals[best].reshape(-1))


def decode_plane(data: bytes, height: int, width: int) -> np.ndarray:
    """Decodes what `encode_plane` wrote.

    Args:
        data: the coded bytes; may be hostile.
        height: rows; the caller has checked both sides against its limits.
        width: columns.

    Returns:
        uint8[H W].

    Raises:
        FormatError: the bytes are not those of such a plane.
    """
    if not data or data[0] >= len(_PREDICTORS):
        raise FormatError("plane has no known predictor; the file is damaged")
    plane = decode_bytes(data[1:], height * width).reshape(height, width)
    for axis in _PREDICTORS[data[0]]:
        plane = np.cumsum(plane, axis=axis, dtype=np.uint8)
    return plane


def _predict(plane: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Takes differences modulo 256 along `axes`; outside the plane all is 0."""
    for axis in axes:
        plane = np.diff(plane, axis=axis, prepend=np.uint8(0))
    return plane


def _entropy(plane: np.ndarray) -> float:
    """Returns the entropy of the values of a plane, in bits a value."""
    counts = np.bincount(plane.reshape(-1), minlength=256)
    shares = counts[counts > 0] / plane.size
    return float(-(shares * np.log2(shares)).sum())
