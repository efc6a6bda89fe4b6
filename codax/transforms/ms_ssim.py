"""MS-SSIM in JAX: differentiable, batched, for training and inside jit.

`codax.evaluation.metrics` measures finished pictures in NumPy by the same constants.

Source:
    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multi-scale structural similarity for image
    quality assessment", Asilomar 2003, section 3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from codax.errors import ImageError
from codax.transforms.ssim_constants import C1, C2, MIN_SIDE, SCALE_WEIGHTS, WINDOW

__all__ = ["ms_ssim"]


def ms_ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Multi-scale structural similarity of two batches of pictures.

    The windows are shifted multiply-adds, never grouped convolutions, which are many
    times slower on a CPU.

    Args:
        a: float32[N H W C], 0..255, H and W at least 161.
        b: float32[N H W C], 0..255.

    Returns:
        float32[N], 0..1, mean over channels; 1 for equal pictures.

    Raises:
        ImageError: unequal shapes, or sides below 161 pixels.

    Source:
        Wang, Simoncelli and Bovik 2003, equation 7. Contrast terms are cut at 1e-6 and
        not at 0, where the power has no finite gradient.
    """
    if a.shape != b.shape or a.ndim != 4 or min(a.shape[1:3]) < MIN_SIDE:
        raise ImageError(
            f"MS-SSIM of shapes {list(a.shape)} and {list(b.shape)}: expected two "
            f"equal [N H W C] with H and W of at least {MIN_SIDE}; use larger crops"
        )
    # Centred: variances do not change, and float32 rounds the squares less.
    a, b = a - 128.0, b - 128.0
    result = jnp.ones((a.shape[0], a.shape[3]), jnp.float32)
    last = len(SCALE_WEIGHTS) - 1
    for scale, weight in enumerate(SCALE_WEIGHTS):
        similarity, contrast = _similarity(a, b)
        term = similarity if scale == last else contrast
        result *= jnp.maximum(term, 1e-6) ** weight
        if scale < last:
            a, b = _halved(a), _halved(b)
    return result.mean(axis=1)


def _similarity(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean SSIM and mean contrast-structure term: two float32[N C]."""
    # One filter over four stacked batches: a quarter of the operations to compile.
    blurred = _blurred(jnp.concatenate([a, b, a * a + b * b, a * b]))
    mean_a, mean_b, squares, products = jnp.split(blurred, 4)
    variances = squares - mean_a * mean_a - mean_b * mean_b
    covariance = products - mean_a * mean_b
    contrast = (2 * covariance + C2) / (variances + C2)
    mean_a, mean_b = mean_a + 128.0, mean_b + 128.0
    luminance = (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
    return (luminance * contrast).mean(axis=(1, 2)), contrast.mean(axis=(1, 2))


@jax.custom_vjp
def _blurred(x: jax.Array) -> jax.Array:
    """The Gaussian window, valid positions only: [N H W C] to [N H-10 W-10 C]."""
    return _blurred_along(_blurred_along(x, 1), 2)


def _blurred_along(x: jax.Array, axis: int) -> jax.Array:
    """One symmetric filter along one axis as shifted multiply-adds."""
    last = len(WINDOW) - 1
    length = x.shape[axis] - last

    def shifted(start: int) -> jax.Array:
        return jax.lax.slice_in_dim(x, start, start + length, axis=axis)

    total = WINDOW[last // 2] * shifted(last // 2)
    for tap in range(last // 2):
        total += WINDOW[tap] * (shifted(tap) + shifted(last - tap))
    return total


def _blurred_forward(x: jax.Array) -> tuple[jax.Array, None]:
    return _blurred(x), None


def _blurred_backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    """The transposed filter, which for a symmetric window is the same filter.

    Stated because the automatic one, a sum of eleven padded arrays twice over, takes
    four times as long to run and to compile.
    """
    edge = len(WINDOW) - 1
    padding = ((0, 0), (edge, edge), (edge, edge), (0, 0))
    return (_blurred(jnp.pad(gradient, padding)),)


_blurred.defvjp(_blurred_forward, _blurred_backward)


def _halved(x: jax.Array) -> jax.Array:
    """Means of 2x2 samples; an odd side is completed by its last row or column."""
    _, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), "edge")
    rows = x[:, ::2] + x[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) * 0.25
