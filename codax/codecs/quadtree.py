"""`quadtree`: the flagship. A hyperprior and a four-step space-channel context.

    x -> g_a -> y -----------------> four steps -> y_hat -> g_s -> x_hat
                | -> h_a -> z -> h_s ---^

The latents' channels are four quarters; at each step every position of a 2x2 cell codes
another quarter:

    step      A=(0,0)  B=(0,1)  C=(1,0)  D=(1,1)
    0         c0       c1       c2       c3
    1         c3       c2       c1       c0
    2         c2       c3       c0       c1
    3         c1       c0       c3       c2

so that each later symbol sees its own position's other channels and all neighbours.
Coding order: z by static tables; features = h_s(z); then y in the four steps. One trunk
is shared by the steps, each has its own small adaptor. Behind them there may be an
enhancement layer, see `codax/codecs/enhancement.py`.

Source: Li, Li and Lu 2023 (DCVC-DC, quadtree partition); Jia et al. 2025/26 (DCVC-RT,
DCVC-UF: one trunk, adaptors). Here the whole prior is exact integer arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax.numpy as jnp
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.codecs.enhancement import EnhancementPrior, enhancement_steps
from codax.codecs.hyper import HYPER_STEPS, STEP_HALO, HyperConfig, HyperPrior, around
from codax.coding.masks import Mask
from codax.coding.order import Step
from codax.entropy.exact import ExactDense
from codax.entropy.networks import ExactTrunk, PhaseDense
from codax.entropy.units import HEAD_LIMIT
from codax.transforms.rates import FineRates

__all__ = ["QuadtreeConfig", "QuadtreePrior", "quadtree", "quarter_mask"]

QUARTERS = ((0, 1, 2, 3), (3, 2, 1, 0), (2, 3, 0, 1), (1, 0, 3, 2))
"""The quarter that positions A, B, C, D code, by step."""


@dataclass(frozen=True, kw_only=True)
class QuadtreeConfig(HyperConfig):
    """Widths of a `quadtree` codec."""

    blocks: int = 2
    """Blocks of the trunk."""
    enhancement: int = 0
    """Channels of the enhancement layer's networks; 0 for no such layer."""
    finest: float = 2.75
    """The layer's step at quality 100, in pixel levels; from 90 on only it falls."""

    @property
    def fine_rates(self) -> FineRates:
        """What the qualities stand for in the enhancement layer."""
        rates = self.transforms.rates
        return FineRates(low=rates.low, high=rates.high, finest=self.finest)


def quarter_mask(step: int, latents: int) -> Mask:
    """The quarter that each position codes at a step."""
    size = latents // 4
    quarters = (range(q * size, (q + 1) * size) for q in QUARTERS[step])
    return Mask(tuple(map(tuple, quarters)))


def _network(step: int):
    """The step's network: `(prior, features, [y,] quality, extent)`."""

    def network(prior: QuadtreePrior, features, *rest, exact=True):
        *known, quality, extent = rest
        if known:
            seen = prior.domain.see(known[0], quality, exact=exact)
            features = jnp.concatenate([features, seen], -1)
        x = getattr(prior, f"adaptor{step}")(features, extent, exact=exact)
        return prior.heads(step, x, quality, extent, exact=exact)

    return network


@cache
def _steps(latents: int, enhanced: bool) -> tuple[Step, ...]:
    """The coding order of so many latents."""
    return (
        *HYPER_STEPS,
        *(
            Step(
                name=f"y{k}",
                target="y",
                reads=("features", "y") if k else ("features",),
                network=_network(k),
                mask=quarter_mask(k, latents),
                halo=STEP_HALO,
            )
            for k in range(4)
        ),
        *(enhancement_steps() if enhanced else ()),
    )


class QuadtreePrior(HyperPrior):
    """The prior: exact networks, tables, and the coding order above."""

    @property
    def steps(self) -> tuple[Step, ...]:  # type: ignore[override]
        """The coding order."""
        return _steps(self.latents, self.enhanced)

    def __init__(self, config: QuadtreeConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        super().__init__(config, rngs=rngs)
        m, f = self.latents, config.features

        def head(shift: int) -> PhaseDense:
            return PhaseDense(f, m // 4, rngs=rngs, shift=shift, limit=HEAD_LIMIT)

        for k in range(4):
            seen = m if k else 0
            adaptor = ExactDense(f + seen, f, rngs=rngs, kept_in=seen)
            setattr(self, f"adaptor{k}", adaptor)
            setattr(self, f"mean{k}", head(shift=4))
            setattr(self, f"scale{k}", head(shift=8))
        self.trunk = ExactTrunk(config.blocks, f, config.hidden, rngs=rngs)
        own = config.enhancement
        self.enhanced = own > 0
        if self.enhanced:
            self.enhancement = EnhancementPrior(m, f, own, config.fine_rates, rngs=rngs)

    @property
    def sources(self) -> dict[str, Any]:
        """By target of a coding step, how its latents are coded."""
        own = self.enhancement.sources(self.shape) if self.enhanced else {}
        return super().sources | own

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state."""
        own = self.enhancement.sizes() if self.enhanced else {}
        return super().channels | own

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        own = self.enhancement.sizes() if self.enhanced else {}
        return super().strides | dict.fromkeys(own, 1.0)

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        if step.stage:
            return self.enhancement.output_channels(step)
        if not step.coded:
            return (self.feature_channels,)
        return (self.latents // 4,) * 2

    def set_index(self, bias) -> None:
        """Sets the steps' scale heads, float32[M]."""
        quarters = bias.reshape(4, -1)
        for k in range(4):
            own = quarters[jnp.asarray(QUARTERS[k])]
            getattr(self, f"scale{k}").bias[...] = own

    def heads(self, step: int, x, quality, extent, *, exact=True):
        """Offset and index of a step's symbols, float32[N h w M/4] each."""
        x = self.trunk(x, extent, exact=exact)
        head = getattr(self, f"mean{step}")(x, extent, exact=exact)
        raw = getattr(self, f"scale{step}")(x, extent, exact=exact)
        _, h, w, _ = head.shape
        quarters = self.domain.channel_scale[...].reshape(4, -1)
        cell = quarters[jnp.asarray(QUARTERS[step])].reshape(2, 2, -1)
        scale = jnp.tile(cell, (h // 2, w // 2, 1))
        mean = self.domain.mean(head, quality, scale, exact=exact)
        return mean, self.domain.index(raw, quality, exact=exact)


def quadtree(config: QuadtreeConfig, *, rngs: nnx.Rngs) -> Autoencoder:
    """Makes the codec's networks."""
    prior = QuadtreePrior(config, rngs=rngs)
    enhancement = config.fine_rates if config.enhancement else None
    return around(config, prior, rngs=rngs, enhancement=enhancement)
