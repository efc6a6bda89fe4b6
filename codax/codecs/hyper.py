"""What priors with side information share: z, the hyper-synthesis, the first steps.

    z -> h_s -> features

Coding order: z by static tables; features = h_s(z); then the steps of y, which are the
codec's own and read the features.

Source: Ballé et al. 2018; Minnen, Ballé and Toderici 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.coding.order import Step
from codax.entropy.densities import ScaleShape, StaticDensity
from codax.entropy.domain import LatentDomain
from codax.entropy.exact import check_module
from codax.entropy.heads import head, scale_bias
from codax.entropy.networks import HyperSynthesis
from codax.entropy.training import ResidualSource, Source, StaticSource
from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths
from codax.transforms.rates import FineRates

__all__ = ["HYPER_STEPS", "STEP_HALO", "HyperConfig", "HyperPrior", "around", "head"]

STEP_HALO = 4
"""How far, in cells of 1/16, a step of y looks: so many blocks may follow another."""


def _features(prior: HyperPrior, z, quality, extent, *, exact=True):
    return (prior.hyper(z, quality, extent, exact=exact),)


HYPER_STEPS = (
    Step(name="z", target="z"),
    Step(
        name="features",
        target="features",
        reads=("z",),
        network=_features,
        coded=False,
        halo=HyperSynthesis.halo,
    ),
)
"""The steps before those of y."""


@dataclass(frozen=True, kw_only=True)
class HyperConfig:
    """Widths that all codecs with side information have."""

    transforms: TransformWidths = field(default_factory=TransformWidths)
    side: int = 64
    """Channels of z."""
    hyper: int = 128
    """Channels of the hyper-analysis."""
    middle: int = 96
    """Channels of the hyper-synthesis at 1/32."""
    features: int = 192
    """Channels of the prior at 1/16."""
    hidden: int = 384
    """Hidden channels of the trunk's blocks."""

    def __post_init__(self) -> None:
        """Checks what later tiles rely on."""
        blocks = getattr(self, "blocks", 1)
        if not 1 <= blocks <= STEP_HALO:
            raise ConfigError(
                f"blocks: got {blocks}, expected 1 to {STEP_HALO}, since tiles overlap "
                f"by {STEP_HALO} cells"
            )


class HyperPrior(nnx.Module):
    """Side information, tables and conversions; a codec adds the steps of y.

    A subclass has `steps`, `output_channels` and `set_index`.
    """

    steps: tuple[Step, ...]

    def __init__(self, config: HyperConfig, *, rngs: nnx.Rngs):
        """Makes what is shared; `set_scale` sets what depends on the data."""
        self.latents, self.side = config.transforms.latents, config.side
        self.feature_channels = config.features
        self.domain = LatentDomain(self.latents, config.transforms.rates)
        self.hyper = HyperSynthesis(
            config.side, config.middle, config.features, rngs=rngs
        )
        self.shape = ScaleShape()
        self.z_density = StaticDensity(config.side)

    @property
    def sources(self) -> dict[str, Source]:
        """By target of a coding step, how its latents are coded."""
        return {
            "y": ResidualSource(density=self.shape),
            "z": StaticSource(tables="z", density=self.z_density),
        }

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state."""
        return {"y": self.latents, "z": self.side, "features": self.feature_channels}

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        return {"y": 1.0, "z": 0.25, "features": 1.0}

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        return (self.latents,) * 2 if step.coded else (self.feature_channels,)

    def check_exact(self) -> None:
        """Checks that every layer is exact; raises ModelError if one is not."""
        check_module("prior", self)

    def set_scale(self, std: np.ndarray) -> None:
        """Starts the scales at those of the transform coder.

        Args:
            std: float32[M], standard deviations of y in steps at the middle quality.
        """
        self.domain.set_scale(std)
        self.set_index(scale_bias(std))

    def set_index(self, bias) -> None:
        """Sets the scale heads' biases, float32[M], channel by channel."""
        raise NotImplementedError


def around(
    config: HyperConfig,
    prior: Any,
    *,
    rngs: nnx.Rngs,
    residual: int = 0,
    octaves: tuple[int, ...] = (),
    enhancement: FineRates | None = None,
) -> Autoencoder:
    """The transforms of the house around a prior with side information."""
    return Autoencoder(
        config.transforms,
        prior,
        rngs=rngs,
        hyper=(config.hyper, config.side),
        residual=residual,
        octaves=octaves,
        enhancement=enhancement,
    )
