"""`channelwise`: latents in slices of channels, each from those before it.

    x -> g_a -> y --> slice 0 -> slice 1 -> ... -> y_hat -> (+ residual) -> g_s
                | -> h_a -> z -> h_s --^

Coding order: z by static tables; features = h_s(z); then the slices of y, each by its
own network from the features and all slices before it. Slices may be uneven.

Source: Minnen and Singh 2020 (slices, latent residual prediction); He et al. 2022
(ELIC: uneven slices). Here the context is exact integer arithmetic, and the residual
prediction, which is float, stays behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
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
from codax.coding.masks import channels
from codax.coding.order import Step
from codax.entropy.exact import ExactDense
from codax.entropy.networks import ExactTrunk
from codax.errors import ConfigError

__all__ = ["ChannelwiseConfig", "ChannelwisePrior", "channelwise"]


@dataclass(frozen=True, kw_only=True)
class ChannelwiseConfig(HyperConfig):
    """Widths of a `channelwise` codec."""

    slices: tuple[int, ...] = (32, 32, 64, 64, 128)
    """Channels of each slice; they add up to the latents."""
    hidden: int = 192
    """Channels of each slice's network."""
    residual: int = 192
    """Hidden channels of the latent residual prediction; 0 leaves it out."""

    def __post_init__(self) -> None:
        """Checks the slices."""
        super().__post_init__()
        if sum(self.slices) != self.transforms.latents or min(self.slices) < 1:
            raise ConfigError(
                f"slices: {self.slices} add up to {sum(self.slices)}, expected the "
                f"{self.transforms.latents} latents"
            )


def _steps(slices: tuple[int, ...]) -> tuple[Step, ...]:
    """The coding order for slices of these widths."""
    ends = np.cumsum(slices)
    return (
        *HYPER_STEPS,
        *(
            _slice_step(k, int(end) - width, int(end))
            for k, (width, end) in enumerate(zip(slices, ends, strict=True))
        ),
    )


def _slice_step(k: int, begin: int, end: int) -> Step:
    def network(prior: ChannelwisePrior, features, *rest, exact=True):
        *known, quality, extent = rest
        domain = prior.domain
        if k:
            seen = domain.see(known[0], quality, exact=exact)[..., :begin]
            features = jnp.concatenate([features, seen], -1)
        x = getattr(prior, f"adaptor{k}")(features, extent, exact=exact)
        x = getattr(prior, f"trunk{k}")(x, extent, exact=exact)
        mean = getattr(prior, f"mean{k}")(x, extent, exact=exact)
        raw = getattr(prior, f"scale{k}")(x, extent, exact=exact)
        scale = domain.channel_scale[begin:end]
        mean = domain.mean(mean, quality, scale, exact=exact)
        return mean, domain.index(raw, quality, exact=exact)

    return Step(
        name=f"y{k}",
        target="y",
        reads=("features", "y") if k else ("features",),
        network=network,
        mask=channels(range(begin, end)),
        halo=STEP_HALO,
    )


class ChannelwisePrior(HyperPrior):
    """The prior: exact networks, tables, and the coding order above."""

    def __init__(self, config: ChannelwiseConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        super().__init__(config, rngs=rngs)
        self.slices = config.slices
        begin, f, c = 0, config.features, config.hidden
        make = head(rngs)
        for k, width in enumerate(config.slices):
            setattr(
                self, f"adaptor{k}", ExactDense(f + begin, c, rngs=rngs, kept_in=begin)
            )
            setattr(self, f"trunk{k}", ExactTrunk(1, c, c, rngs=rngs))
            setattr(self, f"mean{k}", make(c, width, shift=4))
            setattr(self, f"scale{k}", make(c, width, shift=8))
            begin += width

    @property
    def steps(self) -> tuple[Step, ...]:  # type: ignore[override]
        """The coding order."""
        return _steps(self.slices)

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        if not step.coded:
            return (self.feature_channels,)
        return (self.slices[int(step.name[1:])],) * 2

    def set_index(self, bias) -> None:
        """Sets the slices' scale heads, float32[M]."""
        for k, part in enumerate(np.split(bias, np.cumsum(self.slices)[:-1])):
            getattr(self, f"scale{k}").bias[...] = part


def channelwise(config: ChannelwiseConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks."""
    prior = ChannelwisePrior(config, rngs=rngs)
    return around(config, prior, rngs=rngs, residual=config.residual)
