"""Wavelet transforms of pictures by lifting: Haar, LeGall 5/3 and CDF 9/7.

A signal is split into its even and odd samples; a *predict* step subtracts from each
odd sample what its even neighbours foretell, an *update* step adds to each even sample
a share of the new odd ones. Undoing the steps in reverse order restores the signal,
whatever a step computes.

    even --+---------(+)--+-- ... -- * low  -- low band
           | predict  ^   | update
    odd --(+)---------+--(+)- ... -- * high -- high band

The dtype chooses the form. Floats: unit-norm filters, so that an error of the bands
is an error of the same size in the picture; equal to PyWavelets' `haar`, `bior2.2`
and `bior4.4`, signs included. Integers (kept as int32): rounded steps without the
final scaling, exactly invertible for every input, even where sums wrap around.
NumPy arrays stay NumPy arrays, so that nothing is compiled for them; all others are
JAX's.

Bands are named as in JPEG 2000, horizontal filter first: `hl` is high across, low
down. A side of n gives ceil(n/2) low and floor(n/2) high coefficients; a side of 1
stays as it is, up to the low band's gain, and its high band is empty.

Source: Sweldens, The lifting scheme (1996); Daubechies and Sweldens, Factoring
wavelet transforms into lifting steps (1998), section 7; ISO/IEC 15444-1, annex F.
The integer 9/7 rounds each step as Calderbank, Daubechies, Sweldens and Yeo (1998)
do, with constants in 1/1024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from codax.errors import ConfigError
from codax.transforms.arrays import Array, array_module

Wavelet = Literal["haar", "cdf53", "cdf97"]
Border = Literal["symmetric", "periodic"]
Details = tuple[Array, Array, Array]

_ROWS, _COLUMNS = 1, 2


class Bands(NamedTuple):
    """The four bands of one level, each [N h w C]."""

    ll: Array
    lh: Array
    hl: Array
    hh: Array


@dataclass(frozen=True)
class _Scheme:
    """Lifting steps, predict and update in turn, then the float form's scaling.

    A step adds `weight * (sum of both neighbours)`; in integers the weight is
    `numerator / 2^shift`, rounded down after adding `offset`.
    """

    weights: tuple[float, ...]
    numerators: tuple[int, ...]
    shifts: tuple[int, ...]
    offsets: tuple[int, ...]
    low: float
    high: float


_NINE_SEVEN = (
    -1.586134342059924,
    -0.052980118572961,
    0.882911075530934,
    0.443506852043971,
)
_ROOT = math.sqrt(2)
_SCHEMES = {
    # Haar's only neighbour is the other sample of the pair; it has its own functions.
    "haar": _Scheme((), (), (), (), _ROOT, -1 / _ROOT),
    # odd - floor(sum / 2) is odd + floor((1 - sum) / 2).
    "cdf53": _Scheme((-0.5, 0.25), (-1, 1), (1, 2), (1, 2), _ROOT, -1 / _ROOT),
    "cdf97": _Scheme(
        _NINE_SEVEN,
        tuple(round(1024 * weight) for weight in _NINE_SEVEN),
        (10, 10, 10, 10),
        (512, 512, 512, 512),
        1.149604398860241,
        -0.869864451624781,
    ),
}


def dwt2(x: Array, wavelet: Wavelet = "cdf97", border: Border = "symmetric") -> Bands:
    """Splits pictures into the four bands of one level.

    Args:
        x: float[N H W C] or integer[N H W C], H and W at least 1. Integers become
            int32; the 9/7 needs |x| < 2^19 to compact, and is exact beyond.
        wavelet: "haar", "cdf53" or "cdf97".
        border: "symmetric" mirrors about the outermost sample (JPEG 2000), "periodic"
            wraps around. An odd side has no critically sampled periodic form, and is
            mirrored.

    Returns:
        ll [N ceil(H/2) ceil(W/2) C], lh [N floor(H/2) ceil(W/2) C],
        hl [N ceil(H/2) floor(W/2) C], hh [N floor(H/2) floor(W/2) C].

    Raises:
        ConfigError: An unknown wavelet or border, or x is not [N H W C].
    """
    scheme = _scheme(wavelet, border)
    if x.ndim != 4 or 0 in x.shape[1:3]:
        raise ConfigError(
            f"x: shape {x.shape}, expected [N H W C] with H and W above 0"
        )
    if _integer(x):
        x = x.astype(np.int32)
    low, high = _split(x, scheme, border, _COLUMNS)
    ll, lh = _split(low, scheme, border, _ROWS)
    hl, hh = _split(high, scheme, border, _ROWS)
    return Bands(ll, lh, hl, hh)


def idwt2(
    bands: Sequence[Array],
    wavelet: Wavelet = "cdf97",
    border: Border = "symmetric",
) -> Array:
    """Joins the four bands of one level; undoes `dwt2`.

    Args:
        bands: ll, lh, hl, hh, see `dwt2`.
        wavelet: As in `dwt2`.
        border: As in `dwt2`.

    Returns:
        float[N H W C] or int32[N H W C].

    Raises:
        ConfigError: An unknown wavelet or border, or bands that do not fit.
    """
    scheme = _scheme(wavelet, border)
    ll, lh, hl, hh = bands
    fits = (
        ll.shape[2] == lh.shape[2]
        and hl.shape[2] == hh.shape[2]
        and ll.shape[1] == hl.shape[1]
        and lh.shape[1] == hh.shape[1]
        and ll.shape[1] - lh.shape[1] in (0, 1)
        and ll.shape[2] - hl.shape[2] in (0, 1)
    )
    if not fits:
        shapes = " ".join(str(band.shape[1:3]) for band in bands)
        raise ConfigError(f"bands: sides {shapes}, expected those that dwt2 gives")
    low = _join(ll, lh, scheme, border, _ROWS)
    high = _join(hl, hh, scheme, border, _ROWS)
    return _join(low, high, scheme, border, _COLUMNS)


def wavedec2(
    x: Array,
    levels: int,
    wavelet: Wavelet = "cdf97",
    border: Border = "symmetric",
) -> tuple[Array, list[Details]]:
    """Splits pictures over several levels, the low band again and again.

    Args:
        x: float[N H W C] or integer[N H W C], see `dwt2`.
        levels: Number of levels, 0 or more.
        wavelet: As in `dwt2`.
        border: As in `dwt2`.

    Returns:
        The low band of the last level, and (lh, hl, hh) of each level, coarsest first.

    Raises:
        ConfigError: See `dwt2`; or levels below 0.
    """
    _check_levels(levels)
    details: list[Details] = []
    for _ in range(levels):
        x, *high = dwt2(x, wavelet, border)
        details.insert(0, (high[0], high[1], high[2]))
    return x, details


def waverec2(
    low: Array,
    details: Sequence[Details],
    wavelet: Wavelet = "cdf97",
    border: Border = "symmetric",
) -> Array:
    """Joins the bands of several levels; undoes `wavedec2`.

    Args:
        low: The low band of the last level.
        details: (lh, hl, hh) of each level, coarsest first; leave the last ones out
            for a smaller picture.
        wavelet: As in `dwt2`.
        border: As in `dwt2`.

    Returns:
        float[N H W C] or int32[N H W C].

    Raises:
        ConfigError: See `idwt2`.
    """
    for high in details:
        low = idwt2((low, *high), wavelet, border)
    return low


def packet2(
    x: Array,
    levels: int,
    wavelet: Wavelet = "cdf97",
    border: Border = "symmetric",
) -> list[Array]:
    """Splits pictures over several levels, every band again and again.

    Args:
        x: float[N H W C] or integer[N H W C], both sides at least 2^levels.
        levels: Number of levels, 0 or more.
        wavelet: As in `dwt2`.
        border: As in `dwt2`.

    Returns:
        4^levels bands; those of the first level's ll come first, then lh, hl and hh,
        each ordered in the same way inside. Where 2^levels divides both sides, all
        have one shape and may be concatenated along the channels.

    Raises:
        ConfigError: See `dwt2`; or levels below 0, or sides below 2^levels.
    """
    _check_levels(levels)
    if min(x.shape[1:3]) < 2**levels:
        raise ConfigError(
            f"x: sides {x.shape[1:3]}, expected at least {2**levels} for packets of "
            f"{levels} levels; use fewer levels or pad"
        )
    bands = [x]
    for _ in range(levels):
        bands = [part for band in bands for part in dwt2(band, wavelet, border)]
    return bands


def ipacket2(
    bands: Sequence[Array],
    wavelet: Wavelet = "cdf97",
    border: Border = "symmetric",
) -> Array:
    """Joins the bands of a packet transform; undoes `packet2`.

    Args:
        bands: 4^levels bands in the order of `packet2`.
        wavelet: As in `dwt2`.
        border: As in `dwt2`.

    Returns:
        float[N H W C] or int32[N H W C].

    Raises:
        ConfigError: See `idwt2`; or a number of bands that is no power of four.
    """
    count = len(bands)
    if count < 1 or 4 ** round(math.log(count, 4)) != count:
        raise ConfigError(f"bands: {count} of them, expected a power of four")
    while len(bands) > 1:
        bands = [
            idwt2(bands[i : i + 4], wavelet, border) for i in range(0, len(bands), 4)
        ]
    return bands[0]


def _scheme(wavelet: str, border: str) -> _Scheme:
    if wavelet not in _SCHEMES:
        names = ", ".join(_SCHEMES)
        raise ConfigError(f"wavelet: {wavelet!r}, expected one of {names}")
    if border not in ("symmetric", "periodic"):
        raise ConfigError(f"border: {border!r}, expected symmetric or periodic")
    return _SCHEMES[wavelet]


def _check_levels(levels: int) -> None:
    if levels < 0:
        raise ConfigError(f"levels: {levels}, expected 0 or more")


def _integer(x: Array) -> bool:
    return np.issubdtype(x.dtype, np.integer)


def _split(x: Array, scheme: _Scheme, border: str, axis: int) -> tuple[Array, Array]:
    """One level along one axis: the low and the high band."""
    side = x.shape[axis]
    if not scheme.weights:
        low, high = _split_pairs(x, axis)
    elif side == 1:
        low, high = x, _cut(x, 0, 0, axis)
    else:
        low, high = _lift(x, scheme, border, axis, inverse=False)
    if _integer(x):
        return low, high
    # A lone sample gets the gain that every constant signal has.
    return low * (_ROOT if side == 1 else scheme.low), high * scheme.high


def _join(low: Array, high: Array, scheme: _Scheme, border: str, axis: int) -> Array:
    """Undoes `_split`."""
    side = low.shape[axis] + high.shape[axis]
    if not _integer(low):
        low = low / (_ROOT if side == 1 else scheme.low)
        high = high / scheme.high
    if not scheme.weights:
        return _join_pairs(low, high, axis)
    if side == 1:
        return low
    both = _interleave(low, high, axis)
    return _interleave(*_lift(both, scheme, border, axis, inverse=True), axis)


def _split_pairs(x: Array, axis: int) -> tuple[Array, Array]:
    """Haar without scaling: difference and mean of each pair; a last one stays."""
    side = x.shape[axis]
    even = _cut(x, 0, side - side % 2, axis, stride=2)
    odd = _cut(x, 1, side, axis, stride=2) if side > 1 else even
    high = odd - even
    low = even + (high >> 1 if _integer(x) else high / 2)
    if side % 2:
        low = array_module(x).concatenate([low, _cut(x, side - 1, side, axis)], axis)
    return low, high


def _join_pairs(low: Array, high: Array, axis: int) -> Array:
    """Undoes `_split_pairs`."""
    pairs = high.shape[axis]
    even = _cut(low, 0, pairs, axis) - (high >> 1 if _integer(low) else high / 2)
    last = _cut(low, pairs, low.shape[axis], axis)
    whole = array_module(low).concatenate([even, last], axis)
    return _interleave(whole, even + high, axis)


def _lift(
    x: Array, scheme: _Scheme, border: str, axis: int, inverse: bool
) -> tuple[Array, Array]:
    """The lifting steps, or their inverse, on even and odd samples of a signal.

    The signal (for the inverse: both bands, interleaved) is extended once, far enough
    for all steps, and shrinks with each of them. XLA fuses the steps, and the one
    extension keeps it from computing the other axis again for every tap: four times
    faster than extending before each step.
    """
    side, halo = x.shape[axis], len(scheme.weights)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (halo, halo)
    periodic = border == "periodic" and side % 2 == 0
    x = array_module(x).pad(x, widths, mode="wrap" if periodic else "reflect")
    even = _cut(x, 0, side + 2 * halo, axis, stride=2)
    odd = _cut(x, 1, side + 2 * halo, axis, stride=2)
    for i in reversed(range(halo)) if inverse else range(halo):
        # Odd sample k lies between even samples k and k + 1, even sample k between
        # odd samples k - 1 and k.
        if i % 2 == 0:
            change = _step(scheme, i, even, axis)
            odd = _cut(odd, 0, change.shape[axis], axis)
            odd = odd - change if inverse else odd + change
        else:
            change = _step(scheme, i, odd, axis)
            even, odd = (
                _cut(band, 1, change.shape[axis] + 1, axis) for band in (even, odd)
            )
            even = even - change if inverse else even + change
    return _cut(even, 0, (side + 1) // 2, axis), _cut(odd, 0, side // 2, axis)


def _step(scheme: _Scheme, i: int, source: Array, axis: int) -> Array:
    """What step i adds between each sample of the source and the next one."""
    count = source.shape[axis] - 1
    total = _cut(source, 0, count, axis) + _cut(source, 1, count + 1, axis)
    if not _integer(source):
        return total * scheme.weights[i]
    return (total * scheme.numerators[i] + scheme.offsets[i]) >> scheme.shifts[i]


def _cut(x: Array, start: int, stop: int, axis: int, stride: int = 1) -> Array:
    if isinstance(x, np.ndarray):
        return x[(slice(None),) * axis + (slice(start, stop, stride),)]
    import jax.lax

    return jax.lax.slice_in_dim(x, start, stop, stride, axis)


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    """even[0] odd[0] even[1] ...; even has as many samples as odd, or one more."""
    pairs = odd.shape[axis]
    xp = array_module(even)
    body = xp.stack([_cut(even, 0, pairs, axis), odd], axis + 1)
    shape = list(even.shape)
    shape[axis] = 2 * pairs
    last = _cut(even, pairs, even.shape[axis], axis)
    return xp.concatenate([body.reshape(shape), last], axis)
