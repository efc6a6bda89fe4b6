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
from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths

__all__ = ["ChannelwiseConfig", "ChannelwisePrior", "channelwise"]


@dataclass(frozen=True, kw_only=True)
class ChannelwiseConfig:
    """Widths of a `channelwise` codec."""

    transforms: TransformWidths = field(default_factory=TransformWidths)
    slices: tuple[int, ...] = (32, 32, 64, 64, 128)
    """Channels of each slice; they add up to the latents."""
    side: int = 64
    """Channels of z."""
    hyper: int = 128
    """Channels of the hyper-analysis."""
    middle: int = 96
    """Channels of the hyper-synthesis at 1/32."""
    features: int = 192
    """Channels of the features at 1/16."""
    hidden: int = 192
    """Channels of each slice's network."""
    residual: int = 192
    """Hidden channels of the latent residual prediction; 0 leaves it out."""

    def __post_init__(self) -> None:
        """Checks the slices."""
        if sum(self.slices) != self.transforms.latents or min(self.slices) < 1:
            raise ConfigError(
                f"slices: {self.slices} add up to {sum(self.slices)}, expected the "
                f"{self.transforms.latents} latents"
            )


def _steps(slices: tuple[int, ...]) -> tuple[Step, ...]:
    """The coding order for slices of these widths."""
    ends = np.cumsum(slices)
    return (
        Step(name="z", target="z"),
        Step(
            name="features",
            target="features",
            reads=("z",),
            network=_hyper,
            coded=False,
            halo=HyperSynthesis.halo,
        ),
        *(
            _slice_step(k, int(end) - width, int(end))
            for k, (width, end) in enumerate(zip(slices, ends, strict=True))
        ),
    )


def _hyper(prior: ChannelwisePrior, z, quality, extent, *, exact=True):
    return (prior.hyper(z, quality, extent, exact=exact),)


def _slice_step(k: int, begin: int, end: int) -> Step:
    def network(prior: ChannelwisePrior, features, *rest, exact=True):
        *known, quality, extent = rest
        domain = prior.domain
        if k:
            seen = domain.see(known[0], quality, exact=exact)[..., :begin]
            features = jnp.concatenate([features, seen], -1)
        x = getattr(prior, f"adaptor{k}")(features, extent, exact=exact)
        x = getattr(prior, f"trunk{k}")(x, extent, exact=exact)
        head = getattr(prior, f"mean{k}")(x, extent, exact=exact)
        raw = getattr(prior, f"scale{k}")(x, extent, exact=exact)
        scale = domain.channel_scale[begin:end]
        mean = domain.mean(head, quality, scale, exact=exact)
        return mean, domain.index(raw, quality, exact=exact)

    def put(known, values):
        xp = jnp if isinstance(known, jax.Array) else np
        return xp.concatenate([known[..., :begin], values, known[..., end:]], -1)

    return Step(
        name=f"y{k}",
        target="y",
        reads=("features", "y") if k else ("features",),
        network=network,
        take=lambda y: y[..., begin:end],
        put=put,
        halo=4,
    )


class ChannelwisePrior(nnx.Module):
    """The prior: exact networks, tables, and the coding order above."""

    def __init__(self, config: ChannelwiseConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        m, f = config.transforms.latents, config.features
        self.latents, self.side, self.feature_channels = m, config.side, f
        self.slices = config.slices
        self.domain = LatentDomain(m)
        self.hyper = HyperSynthesis(config.side, config.middle, f, rngs=rngs)
        begin, c = 0, config.hidden
        head = partial(ExactDense, rngs=rngs, relu=False, limit=HEAD_LIMIT, gain=0.1)
        for k, width in enumerate(config.slices):
            setattr(self, f"adaptor{k}", ExactDense(f + begin, c, rngs=rngs))
            setattr(self, f"trunk{k}", ExactTrunk(1, c, c, rngs=rngs))
            setattr(self, f"mean{k}", head(c, width, shift=4))
            setattr(self, f"scale{k}", head(c, width, shift=8))
            begin += width
        self.shape = ScaleShape()
        self.z_density = StaticDensity(config.side)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""
        return _steps(self.slices)

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
        if not step.coded:
            return (self.feature_channels,)
        return (self.slices[int(step.name[1:])],) * 2

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
        parts = np.split(index, np.cumsum(self.slices)[:-1])
        for k, part in enumerate(parts):
            bias = jnp.asarray(part * (16.0 / UNIT), jnp.float32)
            getattr(self, f"scale{k}").bias[...] = bias

    def start(self, latents: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The state before the first step, for latents of these shapes."""
        return {name: jnp.zeros_like(value) for name, value in latents.items()}


def channelwise(config: ChannelwiseConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks."""
    prior = ChannelwisePrior(config, rngs=rngs)
    return Autoencoder(
        config.transforms,
        prior,
        rngs=rngs,
        hyper=(config.hyper, config.side),
        residual=config.residual,
    )
