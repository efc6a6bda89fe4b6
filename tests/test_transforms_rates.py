"""Qualities, lambda and quantiser steps."""

import numpy as np
import pytest

from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths
from codax.transforms.rates import RateRange


def test_lambda_is_log_uniform_in_quality():
    rates = RateRange(low=0.001, high=0.1)
    found = rates.lmbda(np.array([0.0, 50.0, 100.0, 200.0]))
    np.testing.assert_allclose(found, [0.001, 0.001 * 10**0.5, 0.01, 0.1])


def test_the_gain_is_one_over_the_best_step_at_high_rate():
    # Of D + R / lambda with D = step**2 / 12 and R = -log2(step), per coefficient.
    rates = RateRange(low=0.01, high=0.02)
    steps = np.linspace(20, 80, 60001)
    cost = 0.01 * steps**2 / 12 - np.log2(steps)
    best = steps[np.argmin(cost)]
    lone = np.sqrt(6 / (np.log(2) * 0.01))
    assert best == pytest.approx(lone, rel=1e-3)
    # Three samples of a pixel share the mean, and one coefficient its error.
    assert 1 / rates.gain(0.0) == pytest.approx(lone * np.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("ends", [(0.2, 0.1), (0.0, 0.1), (0.1, 0.1)])
def test_ends_in_the_wrong_order_are_refused(ends):
    with pytest.raises(ConfigError, match="expected 0 < lmbda_low < lmbda_high"):
        TransformWidths(lmbda_low=ends[0], lmbda_high=ends[1])
