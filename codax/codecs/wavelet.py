"""`wavelet`: octaves of wavelet packets, coded from coarse to fine.

    x -> packets -> g_a -> y -> octave 4, 3, 2, 1 -> y_hat -> g_s -> packets -> x_hat
                           | -> h_a -> z -> h_s --^

The transforms are the house's, behind another front: packets of four levels of the 9/7
wavelet instead of blocks. The linear transform starts as a small one of each octave
across its bands and colours, so that a latent belongs to an octave. That is the coding
order: z by static tables; features = h_s(z); then each octave from all coarser ones, in
two steps by the fields of a checkerboard:

    step      black          white
    0         first half     second half
    1         second half    first half

One trunk is shared by the steps, each has its own small adaptor. With
`transforms.front` "space-to-depth" the same codec stands behind plain blocks: then its
"octaves" are groups of components of the blocks' KLT, by falling variance.

Source: coding sub-bands from coarse to fine by learned context: Ma et al. 2020
(iWave++); two-step checkerboard: He et al. 2021. Packets and octaves: Coifman and
Wickerhauser 1992. Here the whole prior is exact integer arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.codecs.hyper import HYPER_STEPS, STEP_HALO, HyperConfig, HyperPrior, around
from codax.coding.masks import checkerboard
from codax.coding.order import Step
from codax.entropy.exact import ExactDense
from codax.entropy.networks import ExactTrunk, PhaseDense
from codax.entropy.units import HEAD_LIMIT
from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths

__all__ = ["WaveletConfig", "WaveletPrior", "wavelet"]

MOST = (12, 36, 144, 576)
"""Channels of each octave of the packets."""


@dataclass(frozen=True, kw_only=True)
class WaveletConfig(HyperConfig):
    """Widths of a `wavelet` codec."""

    transforms: TransformWidths = field(
        default_factory=lambda: TransformWidths(front="wavelet")
    )
    octaves: tuple[int, ...] = (12, 36, 112, 160)
    """Latents of each octave, coarse to fine; at most 12, 36, 144 and 576, and even."""
    blocks: int = 1
    """Blocks of the trunk."""

    def __post_init__(self) -> None:
        """Checks the octaves."""
        super().__post_init__()
        if sum(self.octaves) != self.transforms.latents or len(self.octaves) != 4:
            raise ConfigError(
                f"octaves: {self.octaves} add up to {sum(self.octaves)}, expected four "
                f"of together {self.transforms.latents} latents"
            )
        if any(
            n % 2 or not 2 <= n <= m for n, m in zip(self.octaves, MOST, strict=True)
        ):
            raise ConfigError(
                f"octaves: got {self.octaves}, expected even, up to {MOST}"
            )


def _octave_step(octave: int, part: int, begin: int, end: int) -> Step:
    """Step `part` of an octave that lies at these latents."""
    half = (end - begin) // 2
    first = begin + part * half
    second = begin + (1 - part) * half

    def network(prior: WaveletPrior, features, *rest, exact=True):
        *known, quality, extent = rest
        domain = prior.domain
        if known:
            seen = domain.see(known[0], quality, exact=exact)
            features = jnp.concatenate([features, seen[..., : begin + seen_now]], -1)
        name = f"{octave}_{part}"
        x = getattr(prior, f"adaptor{name}")(features, extent, exact=exact)
        x = prior.trunk(x, extent, exact=exact)
        head = getattr(prior, f"mean{name}")(x, extent, exact=exact)
        raw = getattr(prior, f"scale{name}")(x, extent, exact=exact)
        _, h, w, _ = head.shape
        scales = domain.channel_scale[...]
        black, white = (scales[at : at + half] for at in (first, second))
        cell = jnp.stack([black, white, white, black]).reshape(2, 2, half)
        scale = jnp.tile(cell, (h // 2, w // 2, 1))
        mean = domain.mean(head, quality, scale, exact=exact)
        return mean, domain.index(raw, quality, exact=exact)

    seen_now = 2 * half if part else 0
    return Step(
        name=f"y{octave}_{part}",
        target="y",
        reads=("features", "y") if begin + seen_now else ("features",),
        network=network,
        mask=checkerboard(range(first, first + half), range(second, second + half)),
        halo=STEP_HALO,
    )


@cache
def _steps(octaves: tuple[int, ...]) -> tuple[Step, ...]:
    """The coding order; octave 4 is the coarsest."""
    ends = np.cumsum(octaves)
    steps = [
        _octave_step(len(octaves) - k, part, int(end) - width, int(end))
        for k, (width, end) in enumerate(zip(octaves, ends, strict=True))
        for part in range(2)
    ]
    return (*HYPER_STEPS, *steps)


class WaveletPrior(HyperPrior):
    """The prior: exact networks, tables, and the coding order above."""

    def __init__(self, config: WaveletConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        super().__init__(config, rngs=rngs)
        self.octaves = config.octaves
        f, begin = config.features, 0

        for k, width in enumerate(config.octaves):
            for part in range(2):
                name = f"{len(config.octaves) - k}_{part}"
                seen = begin + part * width
                adaptor = ExactDense(f + seen, f, rngs=rngs, kept_in=seen)
                setattr(self, f"adaptor{name}", adaptor)
                for kind, shift in (("mean", 4), ("scale", 8)):
                    head = PhaseDense(
                        f, width // 2, rngs=rngs, shift=shift, limit=HEAD_LIMIT
                    )
                    setattr(self, kind + name, head)
            begin += width
        self.trunk = ExactTrunk(config.blocks, f, config.hidden, rngs=rngs)

    @property
    def steps(self) -> tuple[Step, ...]:  # type: ignore[override]
        """The coding order."""
        return _steps(self.octaves)

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        if not step.coded:
            return (self.feature_channels,)
        octave = len(self.octaves) - int(step.name[1])
        return (self.octaves[octave] // 2,) * 2

    def set_index(self, bias) -> None:
        """Sets the steps' scale heads, float32[M]."""
        begin = 0
        for k, width in enumerate(self.octaves):
            halves = bias[begin : begin + width].reshape(2, -1)
            for part in range(2):
                black, white = halves[part], halves[1 - part]
                head = getattr(self, f"scale{len(self.octaves) - k}_{part}")
                head.bias[...] = jnp.stack([black, white, white, black])
            begin += width


def wavelet(config: WaveletConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks."""
    prior = WaveletPrior(config, rngs=rngs)
    return around(config, prior, rngs=rngs, octaves=config.octaves)
