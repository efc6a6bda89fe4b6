"""`factorized`: every latent coded by a table of its channel, nothing more.

    x -> g_a -> y -> y_hat -> g_s -> x_hat

Coding order: y in one step, by static tables (one per channel at 14 quality anchors).

Source: Ballé, Laparra and Simoncelli 2017; the density here is a mixture of logistics.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.coding.order import Step
from codax.entropy.densities import ScaleShape, StaticDensity
from codax.entropy.tables import ANCHOR_SPACING, ANCHORS
from codax.entropy.training import Source, StaticSource
from codax.transforms.autoencoder import TransformWidths

__all__ = ["FactorizedConfig", "FactorizedPrior", "factorized"]

STEPS = (Step(name="y", target="y"),)


@dataclass(frozen=True, kw_only=True)
class FactorizedConfig:
    """Widths of a `factorized` codec."""

    transforms: TransformWidths = field(default_factory=TransformWidths)


class FactorizedPrior(nnx.Module):
    """Static densities of y."""

    steps = STEPS

    def __init__(self, config: FactorizedConfig):
        """Makes the densities; `set_scale` sets what depends on the data."""
        self.latents = config.transforms.latents
        self.rates = config.transforms.rates
        self.shape = ScaleShape()
        self.y_density = StaticDensity(self.latents)

    @property
    def sources(self) -> dict[str, Source]:
        """By target of a coding step, how its latents are coded."""
        return {"y": StaticSource(tables="y", unit=16, density=self.y_density)}

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state."""
        return {"y": self.latents}

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        return {"y": 1.0}

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives: there is none."""
        return ()

    def check_exact(self) -> None:
        """Nothing to check: there is no network."""

    def set_scale(self, std: np.ndarray) -> None:
        """Starts from the transform coder's standard deviations.

        Args:
            std: float32[M], in latent steps at the middle quality.
        """
        anchors = ANCHOR_SPACING * np.arange(ANCHORS)
        gain = self.rates.relative_gain(anchors.astype(np.float64))
        self.y_density.set_scale(np.maximum(gain[:, None] * std[None], 0.1))


def factorized(config: FactorizedConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks."""
    return Autoencoder(config.transforms, FactorizedPrior(config), rngs=rngs)
