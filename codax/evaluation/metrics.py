"""PSNR, SSIM and MS-SSIM of 8-bit pictures, in NumPy.

All three compare RGB (or grey) pictures of 0..255. SSIM and MS-SSIM are taken for each
channel and then averaged over the channels, as the learned-codec literature does; no
luma, no weights. Windows lie wholly inside the picture ("valid").

Sources:
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment:
    from error visibility to structural similarity", IEEE TIP 2004, sections III.B, C.
    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale structural similarity for image
    quality assessment", Asilomar 2003, section 3.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from codax.errors import ImageError
from codax.transforms.ssim_constants import (
    C1,
    C2,
    MIN_SIDE,
    SCALE_WEIGHTS,
    WINDOW,
)

__all__ = [
    "ms_ssim",
    "ms_ssim_db",
    "psnr",
    "ssim",
]

# Subtracted before squares are summed: it changes no variance, and keeps float32's
# rounding of the squares four times smaller.
_MIDDLE = np.float32(128)


def psnr(reference: ArrayLike, decoded: ArrayLike) -> float:
    """Peak signal-to-noise ratio over all samples of two 8-bit pictures.

    Args:
        reference: uint8[H W C] or uint8[H W], 0..255.
        decoded: the same shape and type.

    Returns:
        dB, above 0; infinity for equal pictures.

    Raises:
        ImageError: a picture that is not 8-bit, or two of unequal shape.

    Example:
        >>> round(psnr(np.zeros((8, 8), np.uint8), np.full((8, 8), 16, np.uint8)), 2)
        24.05
    """
    a, b = _checked(reference, decoded)
    difference = a.astype(np.int32) - b
    # int64: the squares of one megapixel can pass 2^31.
    squared = int(np.square(difference).sum(dtype=np.int64))
    if squared == 0:
        return math.inf
    return 10 * math.log10(255**2 * a.size / squared)


def ssim(reference: ArrayLike, decoded: ArrayLike) -> float:
    """Structural similarity, mean over positions and channels.

    Args:
        reference: uint8[H W C] or uint8[H W], sides of at least 11 pixels.
        decoded: the same shape and type.

    Returns:
        A number up to 1; 1 for equal pictures.

    Raises:
        ImageError: not 8-bit, unequal shapes, or a side below 11 pixels.

    Source:
        Wang et al. 2004: 11 taps, sigma 1.5, K1 0.01, K2 0.03.
    """
    a, b = _checked(reference, decoded)
    if min(a.shape[:2]) < len(WINDOW):
        raise ImageError(
            f"SSIM of a picture of {a.shape[1]}x{a.shape[0]}: expected sides of at "
            f"least {len(WINDOW)} pixels; compare by PSNR"
        )
    similarity, _ = _similarity(_planes(a), _planes(b))
    return float(similarity.mean())


def ms_ssim(reference: ArrayLike, decoded: ArrayLike) -> float | None:
    """Multi-scale structural similarity over five scales, mean over channels.

    Contrast terms below 0 count as 0. An odd side is completed by its last row or
    column before it is halved, as the authors' program does.

    Args:
        reference: uint8[H W C] or uint8[H W].
        decoded: the same shape and type.

    Returns:
        A number of 0..1, 1 for equal pictures; None if a side is below 161 pixels,
        because the fifth scale would be smaller than the window.

    Raises:
        ImageError: a picture that is not 8-bit, or two of unequal shape.

    Source:
        Wang, Simoncelli and Bovik 2003, equation 7 with its weights.
    """
    a, b = _checked(reference, decoded)
    if min(a.shape[:2]) < MIN_SIDE:
        return None
    x, y = _planes(a), _planes(b)
    result = np.ones(len(x))
    last = len(SCALE_WEIGHTS) - 1
    for scale, weight in enumerate(SCALE_WEIGHTS):
        similarity, contrast = _similarity(x, y)
        term = similarity if scale == last else contrast
        result *= np.maximum(term, 0) ** weight
        if scale < last:
            x, y = _halved(x), _halved(y)
    return float(result.mean())


def ms_ssim_db(value: float | None) -> float | None:
    """MS-SSIM on the scale on which it does not saturate: -10 log10(1 - value).

    Args:
        value: MS-SSIM, 0..1, or None.

    Returns:
        dB; infinity for 1, None for None.
    """
    if value is None:
        return None
    return math.inf if value >= 1 else -10 * math.log10(1 - value)


def _checked(
    reference: ArrayLike, decoded: ArrayLike
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both pictures as arrays, or an error that names what does not fit."""
    a, b = np.asarray(reference), np.asarray(decoded)
    for picture in (a, b):
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or not picture.size:
            raise ImageError(
                f"picture of {picture.dtype}{list(picture.shape)}: expected "
                "uint8[H W 3] or uint8[H W]; convert it to 8 bits first"
            )
    if a.shape != b.shape:
        raise ImageError(
            f"pictures of unequal shape {list(a.shape)} and {list(b.shape)}: "
            "expected equal sides and channels"
        )
    return a, b


def _planes(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8[H W C] or uint8[H W] to centred, contiguous float32[C H W]."""
    channels = picture[None] if picture.ndim == 2 else np.moveaxis(picture, 2, 0)
    return np.ascontiguousarray(channels, np.float32) - _MIDDLE


def _similarity(
    a: NDArray[np.float32], b: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean SSIM and mean contrast-structure term of each plane.

    Args:
        a: float32[C H W], centred at 0.
        b: float32[C H W].

    Returns:
        Two float64[C].
    """
    mean_a, mean_b = _blurred(a), _blurred(b)
    # Only the sum of the two variances is needed, so one filter serves both.
    variances = _blurred(a * a + b * b) - mean_a * mean_a - mean_b * mean_b
    covariance = _blurred(a * b) - mean_a * mean_b
    contrast = (2 * covariance + np.float32(C2)) / (variances + np.float32(C2))
    mean_a += _MIDDLE
    mean_b += _MIDDLE
    luminance = (2 * mean_a * mean_b + np.float32(C1)) / (
        mean_a * mean_a + mean_b * mean_b + np.float32(C1)
    )
    mean = {"axis": (1, 2), "dtype": np.float64}
    return (luminance * contrast).mean(**mean), contrast.mean(**mean)


def _blurred(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Gaussian window, valid positions only: [C H W] to [C H-10 W-10]."""
    return _blurred_along(_blurred_along(planes, 1), 2)


def _blurred_along(planes: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """One symmetric filter along one axis; equal taps share a multiplication."""
    taps = np.array(WINDOW, np.float32)
    last = len(taps) - 1
    length = planes.shape[axis] - last

    def shifted(start: int) -> NDArray[np.float32]:
        return (
            planes[:, start : start + length]
            if axis == 1
            else (planes[:, :, start : start + length])
        )

    total = shifted(last // 2) * taps[last // 2]
    pair = np.empty_like(total)
    for tap in range(last // 2):
        np.add(shifted(tap), shifted(last - tap), out=pair)
        pair *= taps[tap]
        total += pair
    return total


def _halved(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 2x2 samples; an odd side is completed by its last row or column."""
    _, height, width = planes.shape
    if height % 2 or width % 2:
        planes = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), "edge")
    rows = planes[:, ::2] + planes[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(0.25)
