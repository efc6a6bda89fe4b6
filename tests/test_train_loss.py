"""The distortions of training."""

import jax
import numpy as np
import pytest

from codax.train.loss import GROUND_WEIGHT, distortion_of, grounds


@pytest.fixture
def half_flat():
    """A picture whose left half is flat; the right half is noise."""
    x = np.full((1, 64, 128, 3), 255.0, np.float32)
    x[:, :, 64:] = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3))
    return x


def test_ground_is_what_is_smooth_all_around(half_flat):
    found = np.asarray(jax.jit(grounds)(half_flat))[0, ..., 0]
    # The first rough column is 64, and ground ends 16 before it.
    assert found[:, :48].all()
    assert not found[:, 48:].any()
    ramp = np.arange(128, dtype=np.float32)[None, None, :, None].repeat(64, 1)
    assert np.asarray(grounds(2.0 * ramp.repeat(3, -1))).all()
    assert not np.asarray(grounds(3.0 * ramp.repeat(3, -1))).any()


def test_errors_on_ground_count_more(half_flat):
    error = np.zeros_like(half_flat)
    error[:, 10:20, 10:20] = 1.0
    plain, more = distortion_of("mse"), distortion_of("mse-grounds")
    on = half_flat + error
    assert np.isclose(more(half_flat, on), GROUND_WEIGHT * plain(half_flat, on))
    off = half_flat + error[:, :, ::-1]
    assert np.isclose(more(half_flat, off), plain(half_flat, off))
