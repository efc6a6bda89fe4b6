"""Lossless coding of one 8-bit plane, used for alpha.

A reversible predictor and the range coder, or a lossless WebP picture, whichever takes
fewer bytes. The predictors are whole-array operations modulo 256, whose inverse is a
cumulative sum: they take a plane of any size, and next to nothing for plain ones. WebP
finds what repeats in masks, such as letters, where the learned lossless codec, made for
photographs, takes several times the bytes.

Source: the predictors none, left and up are those of PNG (ISO/IEC 15948, section 9);
the fourth is the difference in both directions, which a cumulative sum inverts. WebP:
RFC 9649.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from codax.entropy.bytes_coder import decode_bytes, encode_bytes
from codax.errors import FormatError
from codax.files.webp import decode_webp, encode_webp, fits_webp

__all__ = ["decode_plane", "encode_plane"]

# Predictor number: the axes along which differences are taken.
_PREDICTORS: tuple[tuple[int, ...], ...] = ((), (1,), (0,), (0, 1))
_WEBP = len(_PREDICTORS)


def encode_plane(plane: np.ndarray) -> bytes:
    """Codes a plane in the way that takes the fewest bytes.

    Args:
        plane: uint8[H W].

    Returns:
        The predictor's number (one byte), then the coded residuals, row by row; or the
        number of WebP, then a WebP file.
    """
    residuals = [_predict(plane, axes) for axes in _PREDICTORS]
    costs = [_entropy(residual) for residual in residuals]
    best = int(np.argmin(costs))
    predicted = bytes([best]) + encode_bytes(residuals[best].reshape(-1))
    if not fits_webp(*plane.shape):
        return predicted
    webp = encode_webp(Image.fromarray(plane))
    return min(predicted, bytes([_WEBP]) + webp, key=len)


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
    if not data or data[0] > _WEBP:
        raise FormatError("plane has no known predictor; the file is damaged")
    if data[0] == _WEBP:
        image = decode_webp(data[1:], height, width)
        # An array of its own: a view of Pillow's cannot be written to.
        return np.array(image.convert("RGB").getchannel("G"))
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
