"""Rate plus lambda times distortion, for codecs of every rate-distortion family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from codax.transforms.ms_ssim import ms_ssim

__all__ = ["MS_SSIM_FACTOR", "Distortion", "distortion_of", "rate_distortion"]

Distortion = Callable[[jax.Array, jax.Array], jax.Array]
"""(x, decoded), float32[N H W 3] of 0..255, to float32[N], differentiable; lambda is
that of a mean squared error."""

MS_SSIM_FACTOR = 1200.0
"""Lambda for MS-SSIM is this times lambda for MSE: 0.0018 -> about 2.2."""


def distortion_of(name: str | Distortion) -> Distortion:
    """The distortion that a configuration names, or one's own."""
    if callable(name):
        return name
    if name == "mse":
        return lambda x, out: jnp.mean((out - x) ** 2, (1, 2, 3))
    return lambda x, out: MS_SSIM_FACTOR * (1.0 - ms_ssim(x, out))


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
        distortion: `mse`, `ms-ssim`, or a function of one's own.
        exact: the prior on its integer grid, or its float twin.

    Returns:
        float32[N], bpp + lambda * distortion + what the networks add; and bpp, mse
        (float32[N]), the bpp of each coding step and what was added.
    """
    pixels = x.shape[1] * x.shape[2]
    bits, out, further = model.forward(x, quality, key, exact=exact)
    bpp = jnp.stack(list(bits.values())).sum(0) / pixels
    mse = jnp.mean((out - x) ** 2, (1, 2, 3))
    lmbda = model.rates.lmbda(quality.astype(jnp.float32))
    loss = bpp + lmbda * distortion_of(distortion)(x, out)
    parts = {name: value / pixels for name, value in bits.items()}
    return loss + sum(further.values()), {"bpp": bpp, "mse": mse, **parts, **further}
