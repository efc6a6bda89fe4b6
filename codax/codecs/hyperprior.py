"""`hyperprior`: means and scales of all latents from side information alone.

    x -> g_a -> y -----------------> y_hat -> g_s -> x_hat
                | -> h_a -> z -> h_s --^

Coding order: z by static tables; features = h_s(z); y in one step.

Source: Minnen, Ballé and Toderici 2018 (mean and scale); with `scale_only` Ballé et al.
2018. Here the hyper-synthesis is exact integer arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.codecs.order import Step
from codax.entropy.domain import HEAD_LIMIT, LatentDomain
from codax.entropy.exact import UNIT, ExactDense, check_module
from codax.entropy.networks import ExactTrunk, HyperSynthesis
from codax.entropy.tables import (
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    ScaleShape,
    StaticDensity,
)
from codax.transforms.autoencoder import TransformWidths

__all__ = ["HyperpriorConfig", "HyperpriorPrior", "hyperprior"]


@dataclass(frozen=True, kw_only=True)
class HyperpriorConfig:
    """Widths of a `hyperprior` codec."""

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
    """Hidden channels of the trunk's block."""
    blocks: int = 1
    """Blocks between features and heads."""
    scale_only: bool = False
    """No means: y itself is rounded."""


def _hyper(prior: HyperpriorPrior, z, quality, extent, *, exact=True):
    return (prior.hyper(z, quality, extent, exact=exact),)


def _heads(prior: HyperpriorPrior, features, quality, extent, *, exact=True):
    x = prior.trunk(features, extent, exact=exact)
    raw = prior.scale(x, extent, exact=exact)
    index = prior.domain.index(raw, quality, exact=exact)
    if prior.scale_only:
        return jnp.zeros_like(index), index
    head = prior.mean(x, extent, exact=exact)
    scale = prior.domain.channel_scale[...]
    return prior.domain.mean(head, quality, scale, exact=exact), index


STEPS = (
    Step(name="z", target="z"),
    Step(
        name="features",
        target="features",
        reads=("z",),
        network=_hyper,
        coded=False,
        halo=HyperSynthesis.halo,
    ),
    Step(name="y", target="y", reads=("features",), network=_heads, halo=4),
)


class HyperpriorPrior(nnx.Module):
    """The prior: exact networks, tables, and the coding order above."""

    steps = STEPS

    def __init__(self, config: HyperpriorConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        m, f = config.transforms.latents, config.features
        self.latents, self.side, self.feature_channels = m, config.side, f
        self.scale_only = config.scale_only
        self.domain = LatentDomain(m)
        self.hyper = HyperSynthesis(config.side, config.middle, f, rngs=rngs)
        self.trunk = ExactTrunk(config.blocks, f, config.hidden, rngs=rngs)
        head = partial(ExactDense, rngs=rngs, relu=False, limit=HEAD_LIMIT, gain=0.1)
        self.scale = head(f, m, shift=8)
        if not config.scale_only:
            self.mean = head(f, m, shift=4)
        self.shape = ScaleShape()
        self.z_density = StaticDensity(config.side)

    @property
    def static(self) -> dict[str, StaticDensity]:
        """Densities of the steps without a network, by target."""
        return {"z": self.z_density}

    @property
    def channels(self) -> dict[str, int]:
        """Channels of the coded arrays."""
        return {"y": self.latents, "z": self.side}

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
        index = (np.log(np.maximum(std, 0.11)) - LOG_SCALE_MIN) / LOG_SCALE_STEP
        self.scale.bias[...] = jnp.asarray(index * (16.0 / UNIT), jnp.float32)

    def start(self, latents: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The state before the first step, for latents of these shapes."""
        return {name: jnp.zeros_like(value) for name, value in latents.items()}


def hyperprior(config: HyperpriorConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks."""
    prior = HyperpriorPrior(config, rngs=rngs)
    return Autoencoder(
        config.transforms, prior, rngs=rngs, hyper=(config.hyper, config.side)
    )
