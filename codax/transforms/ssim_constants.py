"""The constants of SSIM and MS-SSIM, shared by the JAX and the NumPy versions.

Free of JAX, so that measuring finished pictures does not load it.

Source:
    Wang et al. 2004 (window, K1 and K2) and Wang, Simoncelli and Bovik 2003 (weights).
"""

from __future__ import annotations

import math

__all__ = ["C1", "C2", "MIN_SIDE", "SCALE_WEIGHTS", "WINDOW"]

# For samples of 0..255.
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _gaussian(taps: int, sigma: float) -> tuple[float, ...]:
    """A sampled Gaussian of sum 1."""
    values = [math.exp(-((i - taps // 2) ** 2) / (2 * sigma**2)) for i in range(taps)]
    return tuple(value / sum(values) for value in values)


WINDOW = _gaussian(11, 1.5)
# The smallest side whose fifth scale still holds one window: 161, 81, 41, 21, 11.
MIN_SIDE = (len(WINDOW) - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
