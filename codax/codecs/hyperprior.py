"""`hyperprior`: means and scales of all latents from side information alone.

    x -> g_a -> y -----------------> y_hat -> g_s -> x_hat
                | -> h_a -> z -> h_s --^

Coding order: z by static tables; features = h_s(z); y in one step.

Source: Minnen, Ballé and Toderici 2018 (mean and scale); with `scale_only` Ballé et al.
2018. Here the hyper-synthesis is exact integer arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.codecs.hyper import (
    HYPER_STEPS,
    STEP_HALO,
    HyperConfig,
    HyperPrior,
    around,
    head,
)
from codax.coding.order import Step
from codax.entropy.networks import ExactTrunk

__all__ = ["HyperpriorConfig", "HyperpriorPrior", "hyperprior"]


@dataclass(frozen=True, kw_only=True)
class HyperpriorConfig(HyperConfig):
    """Widths of a `hyperprior` codec."""

    blocks: int = 1
    """Blocks between features and heads."""
    scale_only: bool = False
    """No means: y itself is rounded."""


def _heads(prior: HyperpriorPrior, features, quality, extent, *, exact=True):
    x = prior.trunk(features, extent, exact=exact)
    raw = prior.scale(x, extent, exact=exact)
    index = prior.domain.index(raw, quality, exact=exact)
    if prior.scale_only:
        return jnp.zeros_like(index), index
    head = prior.mean(x, extent, exact=exact)
    scale = prior.domain.channel_scale[...]
    return prior.domain.mean(head, quality, scale, exact=exact), index


class HyperpriorPrior(HyperPrior):
    """The prior: exact networks, tables, and the coding order above."""

    steps = (
        *HYPER_STEPS,
        Step(name="y", target="y", reads=("features",), network=_heads, halo=STEP_HALO),
    )

    def __init__(self, config: HyperpriorConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        super().__init__(config, rngs=rngs)
        self.scale_only = config.scale_only
        self.trunk = ExactTrunk(
            config.blocks, config.features, config.hidden, rngs=rngs
        )
        make = head(rngs)
        self.scale = make(config.features, self.latents, shift=8)
        if not config.scale_only:
            self.mean = make(config.features, self.latents, shift=4)

    def set_index(self, bias) -> None:
        """Sets the scale head's bias, float32[M]."""
        self.scale.bias[...] = bias


def hyperprior(config: HyperpriorConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks."""
    return around(config, HyperpriorPrior(config, rngs=rngs), rngs=rngs)
