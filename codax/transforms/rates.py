"""From quality to lambda and to the step of a quantiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from codax.errors import ConfigError

__all__ = ["MIDDLE_QUALITY", "FineRates", "RateRange"]

MIDDLE_QUALITY = 100
"""Half steps; where latents have the scales that priors and networks start from."""
BEND, MAX_QUALITY = 180.0, 200.0
"""Half steps, from which on `FineRates` gets finer, and where it ends."""


@dataclass(frozen=True, kw_only=True)
class RateRange:
    """What the qualities 0 and 100 stand for.

    Attributes:
        low: lambda at quality 0, for MSE on the 0..255 scale.
        high: lambda at quality 100.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Checks the order."""
        if not 0 < self.low < self.high:
            raise ConfigError(
                f"lmbda_low, lmbda_high: got {self.low:g} and {self.high:g}, expected "
                "0 < lmbda_low < lmbda_high"
            )

    def lmbda(self, quality: Any) -> Any:
        """Lambda, log-uniform in quality.

        Args:
            quality: half steps 0..200, a number or an array, NumPy or JAX.
        """
        return self.low * (self.high / self.low) ** (quality / 200.0)

    def gain(self, quality: Any) -> Any:
        """One over the quantiser step that lambda asks for at high rate.

        With D = step**2 / 12 and dR/dD at its optimum, step = sqrt(18 / (ln 2 lambda))
        for coefficients of an orthonormal transform of pixels 0..255.

        Args:
            quality: half steps 0..200, a number or an array, NumPy or JAX.
        """
        return (np.log(2.0) * self.lmbda(quality) / 18.0) ** 0.5

    def relative_gain(self, quality: Any) -> Any:
        """The gain in units of that at the middle quality; the argument is the same."""
        return self.gain(quality) / self.gain(float(MIDDLE_QUALITY))


@dataclass(frozen=True, kw_only=True)
class FineRates(RateRange):
    """The same up to quality 90; from there on steps fall to a given one.

    Attributes:
        finest: the step at quality 100, in pixel levels.
    """

    finest: float

    def __post_init__(self) -> None:
        """Checks the end."""
        super().__post_init__()
        if not 0 < self.finest <= 1.0 / super().gain(BEND):
            raise ConfigError(
                f"finest: got {self.finest:g}, expected above 0 and at most "
                f"{1.0 / super().gain(BEND):.3g}, the step at quality {BEND / 2:g}"
            )

    def gain(self, quality: Any) -> Any:
        """One over the step; the argument is as for `RateRange`."""
        above = (quality - BEND) * (quality > BEND)
        start = super().gain(BEND)
        ratio = 1.0 / (self.finest * start)
        return super().gain(quality - above) * ratio ** (above / (MAX_QUALITY - BEND))
