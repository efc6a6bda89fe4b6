"""Effort: how long an encoder looks for a smaller file of the same quality. No JAX."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from codax.errors import ConfigError

__all__ = ["DEFAULT_EFFORT", "EFFORTS", "Effort", "effort_of"]

DEFAULT_EFFORT = 4


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What an encoder does; where weights or latents do not bear it, nothing.

    Attributes:
        search: choose residuals by bits and error, dependently where the weights have
            tables for it (`codax.entropy.trellis`); else they are rounded.
        passes: of analysis by synthesis (`codax.coding.analysing`).
        refine: steps of gradient descent on the latents (`codax.coding.refining`);
            refined latents lie near the plain grid, and are coded on it.
    """

    search: bool = True
    passes: int = 0
    refine: int = 0

    @property
    def searching(self) -> Effort:
        """What a search for a quality does, before the last files of it."""
        return Effort(search=self.search and not self.refine)


EFFORTS = {
    1: Effort(search=False),
    **dict.fromkeys((2, 3), Effort()),
    4: Effort(passes=1),
    5: Effort(passes=2),
    6: Effort(passes=4),
    7: Effort(passes=2, refine=60),
    8: Effort(passes=2, refine=100),
    9: Effort(passes=2, refine=300),
}
"""By level. Fewer steps of refinement than 60 gain less than a trellis does at high
qualities."""


def effort_of(level: Any) -> Effort:
    """What a level of effort does.

    Args:
        level: 1 to 9.

    Raises:
        ConfigError: no such level.
    """
    whole = isinstance(level, Integral) and not isinstance(level, bool)
    if not whole or level not in EFFORTS:
        raise ConfigError(f"effort is {level!r}; expected a whole number of 1 to 9")
    return EFFORTS[level]
