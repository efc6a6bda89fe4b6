"""Rate plus lambda times distortion, for codecs of every rate-distortion family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from codax.transforms.ms_ssim import ms_ssim

__all__ = [
    "DISTORTIONS",
    "MS_SSIM_FACTOR",
    "Distortion",
    "clear",
    "distortion_of",
    "grounds",
    "rate_distortion",
]

Distortion = Callable[[jax.Array, jax.Array], jax.Array]
"""(x, decoded), float32[N H W 3] of 0..255, to float32[N], differentiable; lambda is
that of a mean squared error."""

MS_SSIM_FACTOR = 1200.0
"""Lambda for MS-SSIM is this times lambda for MSE: 0.0018 -> about 2.2."""
GROUND_STEP, GROUND_REACH, GROUND_WEIGHT = 2.0, 16, 16.0
"""Ground is where no two neighbours within so many pixels differ by more levels; its
squared errors count so many times in `mse-grounds`."""


def grounds(x: jax.Array) -> jax.Array:
    """Where pictures float32[N H W 3] are smooth ground, bool[N H W 1]."""
    rough = jnp.zeros(x.shape[:3], jnp.float32)
    for axis in (1, 2):
        step = jnp.abs(jnp.diff(x, axis=axis)).max(-1) > GROUND_STEP
        edges = [(0, 0)] * 3
        edges[axis] = (1, 0)
        rough = jnp.maximum(rough, jnp.pad(step.astype(jnp.float32), edges))
    return clear(rough)[..., None]


def clear(wrong: jax.Array) -> jax.Array:
    """Where nothing lies within reach, bool[N H W] of float32[N H W], 0 for nothing."""
    side = 2 * GROUND_REACH + 1
    for window in ((1, side, 1), (1, 1, side)):
        wrong = jax.lax.reduce_window(
            wrong, 0.0, jax.lax.max, window, (1, 1, 1), "SAME"
        )
    return wrong == 0.0


def _mse(x: jax.Array, out: jax.Array) -> jax.Array:
    return jnp.mean((out - x) ** 2, (1, 2, 3))


def _mse_grounds(x: jax.Array, out: jax.Array) -> jax.Array:
    weights = jnp.where(grounds(x), GROUND_WEIGHT, 1.0)
    return jnp.mean(weights * (out - x) ** 2, (1, 2, 3))


def _ms_ssim(x: jax.Array, out: jax.Array) -> jax.Array:
    return MS_SSIM_FACTOR * (1.0 - ms_ssim(x, out))


DISTORTIONS: dict[str, Distortion] = {
    "mse": _mse,
    "ms-ssim": _ms_ssim,
    "mse-grounds": _mse_grounds,
}
"""Those that a configuration can name."""


def distortion_of(name: str | Distortion) -> Distortion:
    """The distortion that a configuration names, or one's own."""
    return name if callable(name) else DISTORTIONS[name]


def rate_distortion(
    model: Any,
    x: jax.Array,
    quality: jax.Array,
    key: jax.Array | None,
    *,
    distortion: str | Distortion = "mse",
    exact: bool = True,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of each sample.

    Args:
        model: a codec's networks; `forward` is called, and `rates` says what lambda is.
        x: float32[N H W 3], 0..255, sides multiples of 64.
        quality: int32[N], half steps 0..200.
        key: for the noise; None rounds hard, as files do.
        distortion: one of `DISTORTIONS`, or a function of one's own.
        exact: the prior on its integer grid, or its float twin.

    Returns:
        float32[N], bpp + lambda * distortion + what the networks add; and bpp, mse
        (float32[N]), the bpp of each coding step and what was added.
    """
    pixels = x.shape[1] * x.shape[2]
    bits, out, further = model.forward(x, quality, key, exact=exact)
    bpp = jnp.stack(list(bits.values())).sum(0) / pixels
    mse = _mse(x, out)
    lmbda = model.rates.lmbda(quality.astype(jnp.float32))
    loss = bpp + lmbda * distortion_of(distortion)(x, out)
    parts = {name: value / pixels for name, value in bits.items()}
    return loss + sum(further.values()), {"bpp": bpp, "mse": mse, **parts, **further}
