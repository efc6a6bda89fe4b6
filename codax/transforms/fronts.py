"""The linear fronts of the transforms: pictures to 192 channels at 1/8, 768 at 1/16.

`space-to-depth` folds blocks of pixels. `wavelet` splits a picture into packets of the
9/7 wavelet, which overlap: three levels give 64 bands of three colours at 1/8, a fourth
level of each of them 256 at 1/16. Both are undone exactly, but for rounding.

A picture's bands are mirrored at its own border, as the wavelet does at the end of an
array, wherever the picture ends in an array of a bucket's or a tile's size.

Source: wavelet packets: Coifman and Wickerhauser 1992; 9/7: Antonini et al. 1992.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.transforms.arrays import array_module, depth_to_space, space_to_depth
from codax.transforms.wavelet import Array, dwt2, idwt2

__all__ = ["FRONTS", "REACH", "join_coarse", "join_fine", "octaves", "split"]

FRONTS = ("space-to-depth", "wavelet")
REACH = 4
"""How far, in cells of 1/16, a band of the wavelet's fourth level looks: 60 pixels."""
FINE_LEVELS = 3
MARGIN = 8
"""Mirrored samples beyond an array's end; a level looks 4 of them far."""

Extent = Any
"""int32[2], rows and columns of cells of 1/16 that belong to a picture, or None."""


def octaves() -> list[np.ndarray]:
    """The wavelet's channels at 1/16 by octave, coarse to fine.

    Returns:
        Indices of the low band and level 4 (12), level 3 (36), level 2 (144) and
        level 1 (576), in the order that `split` gives.
    """
    index = np.arange(768).reshape(4, 64, 3).transpose(1, 0, 2).reshape(64, 12)
    # Bands at 1/8 come with those of the first level's low band first.
    ends = (0, 1, 4, 16, 64)
    return [index[a:b].ravel() for a, b in pairwise(ends)]


def split(x: Array, front: str, extent: Extent = None) -> tuple[Array, Array]:
    """Splits pictures.

    Args:
        x: float32[N H W 3], sides multiples of 16.
        front: one of `FRONTS`.
        extent: the picture's own cells, or None when all are.

    Returns:
        float32[N H/8 W/8 192], and float32[N H/16 W/16 768], which holds the same.
        Blocks are in the order (row, column, channel) here, and in that of
        `codax.transforms.klt.block_order` where they are joined.
    """
    if front == "space-to-depth":
        return space_to_depth(x, 8), space_to_depth(x, 16)
    # All bands of a level at once: few operations, quick to compile.
    fine = x
    for level in range(FINE_LEVELS):
        parts = [_colours(p) for p in _split(fine, 16 >> level, extent)]
        fine = _flat(array_module(x).stack(parts, -2), 2)
    return fine, array_module(x).concatenate(_split(fine, 2, extent), -1)


def join_coarse(coarse: Array, front: str, extent: Extent = None) -> Array:
    """The channels at 1/8 of those at 1/16."""
    if front == "space-to-depth":
        return depth_to_space(coarse, 2)
    c = coarse.shape[-1] // 4
    return _join([coarse[..., k * c : (k + 1) * c] for k in range(4)], 2, extent)


def join_fine(fine: Array, front: str, extent: Extent = None) -> Array:
    """The picture of the channels at 1/8."""
    if front == "space-to-depth":
        return depth_to_space(fine, 8)
    for level in reversed(range(FINE_LEVELS)):
        bands = fine.reshape(*fine.shape[:-1], -1, 4, 3)
        parts = [_flat(bands[..., k, :], 1) for k in range(4)]
        fine = _join(parts, 16 >> level, extent)
    return fine


def _colours(x: Array) -> Array:
    """Channels as bands of three colours: [... 3n] -> [... n 3]."""
    return x.reshape(*x.shape[:-1], -1, 3)


def _flat(x: Array, axes: int) -> Array:
    """Joins the last axis and so many before it."""
    return x.reshape(*x.shape[: -1 - axes], -1)


def _split(x: Array, cells: int, extent: Extent) -> list[Array]:
    """One level of an array with so many samples a cell of 1/16."""
    if extent is None:
        return list(dwt2(x))
    h, w = x.shape[1:3]
    for axis in (1, 2):
        place = jnp.arange(x.shape[axis] + MARGIN)
        x = jnp.take(x, _mirrored(place, cells * extent[axis - 1]), axis)
    return [band[:, : h // 2, : w // 2] for band in dwt2(x)]


def _join(bands: list[Array], cells: int, extent: Extent) -> Array:
    """Undoes one level; its result has so many samples a cell of 1/16."""
    if extent is None:
        return idwt2(bands)
    h, w = bands[0].shape[1:3]
    found = []
    for number, band in enumerate(bands):
        # lh and hh are high down, hl and hh across.
        for axis, high in ((1, number % 2), (2, number // 2)):
            place = 2 * jnp.arange(band.shape[axis] + MARGIN // 2) + high
            place = _mirrored(place, cells * extent[axis - 1])
            band = jnp.take(band, place // 2, axis)
        found.append(band)
    return idwt2(found)[:, : 2 * h, : 2 * w]


def _mirrored(place: jax.Array, side: jax.Array) -> jax.Array:
    """Places in a signal of an even side that is mirrored about its last sample."""
    period = 2 * (side - 1)
    inside = place % period
    return jnp.minimum(inside, period - inside)
