"""`dual`: an example codec. Hyperprior, and a context in two steps on a checkerboard.

    x -> g_a -> y ----------> step 0 -> step 1 -> y_hat -> g_s -> x_hat
                | -> h_a -> z -> h_s --^

The channels of y are two halves. At step 0 the black positions of a checkerboard code
the first half and the white ones the second; at step 1 the other way round, seeing what
step 0 coded: their own other half, and all neighbours.

    codax train docs/examples/dual.py --data ~/photos --minutes 2 -o runs/dual

Source: Li, Li and Lu 2022 (DCVC-HEM, dual spatial prior). Here in exact integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
from flax import nnx

import codax
from codax.codecs.autoencoder import Autoencoder
from codax.codecs.families import Family
from codax.codecs.hyper import (
    HYPER_STEPS,
    STEP_HALO,
    HyperConfig,
    HyperPrior,
    around,
    head,
)
from codax.coding.masks import Mask, checkerboard
from codax.coding.order import Step
from codax.entropy.exact import ExactDense
from codax.entropy.networks import ExactTrunk
from codax.train.config import TrainConfig
from codax.transforms.autoencoder import TransformWidths


# 1. What can be chosen: a frozen dataclass with a default for every field. The base
# has the fields of every codec with side information.
@dataclass(frozen=True, kw_only=True)
class DualConfig(HyperConfig):
    """Widths of a `dual` codec."""

    transforms: TransformWidths = field(
        default_factory=lambda: TransformWidths(
            latents=128, fine=32, coarse=96, analysis_fine=1, synthesis_fine=2
        )
    )
    side: int = 16
    hyper: int = 32
    middle: int = 32
    features: int = 64
    hidden: int = 96


# 2. Which latents a step covers, as data: the channels that the black and the white
# fields of a checkerboard code. The corner's field is black.
def _mask(step: int, latents: int) -> Mask:
    halves = range(latents // 2), range(latents // 2, latents)
    return checkerboard(halves[step], halves[1 - step])


# 3. What is known about them: each network gives a mean, in sixteenths of a step, and
# the index of a scale table, from everything coded before. Integers in, integers out.
def _network(step: int):
    def network(prior, features, *rest, exact=True):
        *known, quality, extent = rest
        if known:
            seen = prior.domain.see(known[0], quality, exact=exact)
            features = jnp.concatenate([features, seen], -1)
        x = getattr(prior, f"adaptor{step}")(features, extent, exact=exact)
        x = prior.trunk(x, extent, exact=exact)
        mean = getattr(prior, f"mean{step}")(x, extent, exact=exact)
        raw = getattr(prior, f"scale{step}")(x, extent, exact=exact)
        domain = prior.domain
        mean = domain.mean(mean, quality, domain.channel_scale[...], exact=exact)
        index = domain.index(raw, quality, exact=exact)
        mask = _mask(step, prior.latents)
        return mask.take(mean), mask.take(index)

    return network


# 4. The coding order, written once: training, encoder and decoder all walk this list.
# `HYPER_STEPS` are those of the side information: z, then features = h_s(z).
def _steps(latents: int) -> tuple[Step, ...]:
    return (
        *HYPER_STEPS,
        *(
            Step(
                name=f"y{k}",
                target="y",
                reads=("features", "y") if k else ("features",),
                network=_network(k),
                mask=_mask(k, latents),
                halo=STEP_HALO,
            )
            for k in range(2)
        ),
    )


# 5. The networks behind the steps; `HyperPrior` holds side information and tables.
class DualPrior(HyperPrior):
    """The prior: exact networks, tables, and the coding order above."""

    def __init__(self, config: DualConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        super().__init__(config, rngs=rngs)
        m, f, make = self.latents, config.features, head(rngs)
        self.trunk = ExactTrunk(1, f, config.hidden, rngs=rngs)
        for k in range(2):
            setattr(
                self, f"adaptor{k}", ExactDense(f + k * m, f, rngs=rngs, kept_in=k * m)
            )
            setattr(self, f"mean{k}", make(f, m, shift=4))
            setattr(self, f"scale{k}", make(f, m, shift=8))

    @property
    def steps(self) -> tuple[Step, ...]:  # type: ignore[override]
        """The coding order."""
        return _steps(self.latents)

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        return (self.latents // 2,) * 2 if step.coded else (self.feature_channels,)

    def set_index(self, bias) -> None:
        """Starts the scale heads at those of the transform coder, float32[M]."""
        self.scale0.bias[...] = self.scale1.bias[...] = bias


def dual(config: DualConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks: the transforms of the house around the prior."""
    return around(config, DualPrior(config, rngs=rngs), rngs=rngs)


# 6. Its row among the families; 192 to 249 are for codecs from outside the package.
codax.register(Family(name="dual", codec_id=240, config=DualConfig, networks=dual))

# 7. The training run.
config = TrainConfig(
    codec="dual",
    preset="example",
    batch=8,
    branch_batch=8,
    branch_crop=128,
    hard=0.0,
)
