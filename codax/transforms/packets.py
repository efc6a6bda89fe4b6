"""Wavelet packets in whole numbers: pictures to 192 bands at 1/8, and back.

Three levels of a 9/7 wavelet, every band split again. Each lifting step adds to every
second sample a share of both neighbours, rounded, so that samples stay whole numbers;
float32 holds all that occurs (`LIMIT`), and every runtime gives the same bands. The way
back takes floats as they come, without rounding.

    columns:  even, odd -> steps -> low, high        rows: the same
    channels: [low across, high across] of what was, then [low down, high down] of that

The picture is mirrored about its last sample wherever it ends in an array, at every
level, as the wavelet does at the end of an array.

Source: Coifman and Wickerhauser 1992 (packets); Calderbank, Daubechies, Sweldens and
Yeo 1998 (rounded lifting). The steps are those of Antonini et al. 1992 with factors of
at most seven bits, of which the high band of a constant is 0 but for 0.1 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["BANDS", "LIMIT", "SCALE", "join", "limits", "split", "synthesis_norms"]

LEVELS = 3
BANDS = 3 * 4**LEVELS
"""Channels at 1/8."""
SCALE = 4
"""Bands are in quarters of a level, so that rounding is small beside them."""
MIDDLE = 128.0
STEPS = ((-51, 5), (-1, 4), (55, 6), (57, 7))
"""Numerator and shift of the lifting steps, predict and update in turn."""
LIMIT = 2**21
"""What a lifting step multiplies stays below this, a test says, and so does the sum."""

Lift = Callable[[jax.Array, int, int], jax.Array]
"""What a step adds, of the sum of neighbours, its numerator and its shift."""


def _rounded(total: jax.Array, numerator: int, shift: int) -> jax.Array:
    # The product is a whole number, and a power of two keeps its bits.
    return jnp.floor(total * float(numerator) * 2.0**-shift + 0.5)


def _plain(total: jax.Array, numerator: int, shift: int) -> jax.Array:
    return total * (numerator / 2**shift)


def split(x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
    """Bands of pictures.

    Args:
        x: float32[N H W 3], whole numbers 0..255, sides multiples of 16.
        extent: int32[2], rows and columns of cells of 16 pixels that belong to the
            picture; None when all do.

    Returns:
        float32[N H/8 W/8 192], whole numbers.
    """
    return _split((x - MIDDLE) * float(SCALE), extent, _rounded)


def _split(x: jax.Array, extent: jax.Array | None, lift: Lift) -> jax.Array:
    for level in range(LEVELS):
        for axis in (2, 1):
            low, high = _forward(x, axis, _pairs(extent, axis, level), lift)
            x = jnp.concatenate([low, high], -1)
    return x


def join(bands: jax.Array, extent: jax.Array | None = None) -> jax.Array:
    """Pictures of bands: what `split` undoes, but for rounding.

    Args:
        bands: float32[N h w 192].
        extent: as of `split`.

    Returns:
        float32[N 8h 8w 3], about 0..255.
    """
    for level in reversed(range(LEVELS)):
        for axis in (1, 2):
            low, high = jnp.split(bands, 2, -1)
            bands = _back(low, high, axis, _pairs(extent, axis, level))
    return bands / float(SCALE) + MIDDLE


def synthesis_norms() -> np.ndarray:
    """The norm of what a 1 in each band adds to a picture, float64[192]."""
    side = 16
    ones = jnp.zeros((BANDS, side, side, BANDS))
    ones = ones.at[jnp.arange(BANDS), side // 2, side // 2, jnp.arange(BANDS)].set(1.0)
    added = np.asarray(jax.jit(join)(ones), np.float64) - MIDDLE
    return np.sqrt((added**2).sum((1, 2, 3)))


def limits() -> np.ndarray:
    """How far each band reaches, of any picture: float64[192].

    The sums of absolute values of the linear filters for samples in +-128, and 1/2 more
    for the rounding of each of 24 steps.
    """
    side, cell = 64, 8
    place = jnp.arange(cell**2)
    ones = jnp.zeros((cell**2, side, side, 1))
    ones = ones.at[place, side // 2 + place // cell, side // 2 + place % cell].set(1.0)
    found = np.asarray(jax.jit(lambda x: _split(x, None, _plain))(ones), np.float64)
    steps = 2 * LEVELS * len(STEPS)
    return np.repeat(np.abs(found).sum((0, 1, 2)), 3) * (MIDDLE * SCALE + steps / 2)


def _pairs(extent: Any, axis: int, level: int) -> Any:
    """Pairs of samples along an axis that belong to the picture, at a level."""
    return None if extent is None else extent[axis - 1] * (8 >> level)


def _forward(x: jax.Array, axis: int, pairs: Any, lift: Lift):
    """Low and high band along an axis."""
    n, h, w, c = x.shape
    if axis == 1:
        x = x.reshape(n, h // 2, 2, w, c)
        even, odd = x[:, :, 0], x[:, :, 1]
    else:
        x = x.reshape(n, h, w // 2, 2, c)
        even, odd = x[:, :, :, 0], x[:, :, :, 1]
    for number, step in enumerate(STEPS):
        if number % 2 == 0:
            odd = odd + lift(even + _after(even, axis, pairs), *step)
        else:
            even = even + lift(odd + _before(odd, axis), *step)
    return even, odd


def _back(low: jax.Array, high: jax.Array, axis: int, pairs: Any) -> jax.Array:
    """What `_forward` made the bands of, without rounding."""
    even, odd = low, high
    for number, step in reversed(list(enumerate(STEPS))):
        if number % 2 == 0:
            odd = odd - _plain(even + _after(even, axis, pairs), *step)
        else:
            even = even - _plain(odd + _before(odd, axis), *step)
    n, h, w, c = low.shape
    sides = (2 * h, w) if axis == 1 else (h, 2 * w)
    return jnp.stack([even, odd], axis + 1).reshape(n, *sides, c)


def _after(even: jax.Array, axis: int, pairs: Any) -> jax.Array:
    """The even sample behind each odd one; the last one's is that before it."""
    count = even.shape[axis]
    inner = jax.lax.slice_in_dim(even, 1, count, axis=axis)
    last = jax.lax.slice_in_dim(even, count - 1, count, axis=axis)
    after = jnp.concatenate([inner, last], axis)
    if pairs is None:
        return after
    shape = (-1, 1, 1) if axis == 1 else (-1, 1)
    inside = (jnp.arange(count) + 1 < pairs).reshape(shape)
    return jnp.where(inside, after, even)


def _before(odd: jax.Array, axis: int) -> jax.Array:
    """The odd sample before each even one; the first one's is that behind it."""
    count = odd.shape[axis]
    first = jax.lax.slice_in_dim(odd, 0, 1, axis=axis)
    inner = jax.lax.slice_in_dim(odd, 0, count - 1, axis=axis)
    return jnp.concatenate([first, inner], axis)
