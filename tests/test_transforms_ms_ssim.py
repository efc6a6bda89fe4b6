"""The JAX MS-SSIM against the NumPy one, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codax.errors import ImageError
from codax.evaluation import metrics
from codax.transforms.ms_ssim import ms_ssim


def pair(height, width, noise):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    clean = np.stack([128 + 80 * np.sin(x / (5 + c) + y / 11) for c in range(3)], -1)
    noisy = clean + rng.normal(0, noise, clean.shape)
    return tuple(np.clip(np.round(p), 0, 255).astype(np.uint8) for p in (clean, noisy))


def test_equals_numpy_under_jit():
    a, b = pair(161, 182, 4)
    _, c = pair(161, 182, 30)
    batch_a, batch_b = jnp.float32(np.stack([a, a])), jnp.float32(np.stack([b, c]))
    expected = [metrics.ms_ssim(a, b), metrics.ms_ssim(a, c)]
    assert np.asarray(jax.jit(ms_ssim)(batch_a, batch_b)) == pytest.approx(
        expected, abs=3e-6
    )


def test_gradient_is_finite_and_improves():
    """Also for an inverted picture, whose contrast terms are all negative."""
    a, b = (jnp.float32(p) for p in pair(161, 161, 20))
    a, b = jnp.stack([a, a]), jnp.stack([b, 255 - a])
    gradient = jax.jit(jax.grad(lambda x: ms_ssim(a, x).sum()))(b)
    assert bool(jnp.isfinite(gradient).all())
    before, after = jax.jit(ms_ssim)(a, b), jax.jit(ms_ssim)(a, b + 1e4 * gradient)
    assert float(after[0]) > float(before[0])


def test_gradient_equals_a_finite_difference():
    a, b = (jnp.float32(p)[None] for p in pair(161, 161, 20))
    gradient = jax.jit(jax.grad(lambda x: ms_ssim(a, x).sum()))(b)
    direction = jnp.float32(np.random.default_rng(1).normal(size=b.shape))
    value = jax.jit(ms_ssim)
    slope = (value(a, b + direction) - value(a, b - direction)) / 2
    assert float((gradient * direction).sum()) == pytest.approx(
        float(slope[0]), rel=0.02
    )


def test_small_pictures_are_refused():
    small = jnp.zeros((1, 160, 200, 3))
    with pytest.raises(ImageError, match="161"):
        ms_ssim(small, small)
