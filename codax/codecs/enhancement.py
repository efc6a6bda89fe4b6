"""The enhancement layer's networks, for codecs that have one.

    y, z -> decoder -> x_hat;  x - x_hat -> g_e -> flag, e ------> flag, two steps of e
    features, y -> errors ------------------------^

What it is, and the transform of files: `codax/coding/enhancement.py`. Coding order,
behind that of the codec: errors = a network of features and y; the *flag* of each cell;
then, in cells with a flag, the first coefficients e of the error, and the others, which
know the first ones of all cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.coding.enhancement import COEFFICIENTS, ERRORS, FLAGS, pays
from codax.coding.masks import Mask
from codax.coding.order import CELL, Step
from codax.coding.rate import Prior, rate
from codax.entropy.densities import ScaleShape
from codax.entropy.domain import LatentDomain
from codax.entropy.exact import ExactDense
from codax.entropy.heads import head, odds_bias, odds_index, scale_bias
from codax.entropy.networks import ExactBlock, ExactTrunk
from codax.entropy.training import BinarySource, ResidualSource, Source
from codax.entropy.trellis import Trellis
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.layers import Fixed, pointwise
from codax.transforms.rates import FineRates

__all__ = [
    "EnhancementPrior",
    "EnhancementTransform",
    "enhance",
    "enhancement_steps",
    "fit_errors",
]

DERIVED = "errors"
"""The features that the steps read."""
FIRST = 256
"""Coefficients of the first step."""
BLOCKS = 2
"""Before the flags."""
HALO = 4
"""How far a network with blocks looks."""
SOME = 0.02
"""Share of cells with a flag that odds start from."""
HARDEST = 0.3
"""Share of cells whose errors the transform is fitted to."""


def _range(step: int) -> tuple[int, int]:
    """The coefficients of a step."""
    return (0, FIRST) if step == 0 else (FIRST, COEFFICIENTS)


def _errors(prior: Any, features, y, quality, extent, *, exact=True):
    seen = prior.domain.see(y, quality, exact=exact)
    return (prior.enhancement.errors(features, seen, extent, exact=exact),)


def _flag(prior: Any, errors, quality, extent, *, exact=True):
    return (prior.enhancement.odds(errors, extent, exact=exact),)


def _heads(step: int):
    def network(prior: Any, errors, *rest, exact=True):
        *known, quality, extent = rest
        own = prior.enhancement
        return own.heads(step, errors, known, quality, extent, exact=exact)

    return network


def enhancement_steps() -> tuple[Step, ...]:
    """The coding order of the layer, for a prior that has `enhancement`."""
    return (
        Step(
            name=DERIVED,
            target=DERIVED,
            reads=("features", "y"),
            network=_errors,
            coded=False,
            halo=HALO,
            stage=1,
        ),
        Step(name=FLAGS, target=FLAGS, reads=(DERIVED,), network=_flag, stage=1),
        *(
            Step(
                name=f"{ERRORS}{k}",
                target=ERRORS,
                reads=(DERIVED, ERRORS) if k else (DERIVED,),
                network=_heads(k),
                mask=Mask((tuple(range(*_range(k))),) * 4),
                within=FLAGS,
                halo=HALO if k else 0,
                stage=1,
            )
            for k in range(2)
        ),
    )


class EnhancementPrior(nnx.Module):
    """The exact networks of the layer."""

    def __init__(
        self,
        latents: int,
        features: int,
        own: int,
        rates: FineRates,
        *,
        rngs: nnx.Rngs,
    ):
        """Makes the networks.

        Args:
            latents: channels of y.
            features: of the codec's prior.
            own: channels of the layer's networks; blocks have twice as many inside.
            rates: its steps.
            rngs: random streams.
        """
        self.channels = own
        self.domain = LatentDomain(COEFFICIENTS, rates)
        self.enter = ExactDense(features + latents, own, rngs=rngs, kept_in=latents)
        self.body = ExactTrunk(BLOCKS, own, 2 * own, rngs=rngs)
        make = head(rngs)
        self.flag = make(own, 1)
        self.flag.bias[...] = odds_bias([np.log(SOME / (1 - SOME))])
        self.follow = ExactDense(own + FIRST, own, rngs=rngs, kept_in=FIRST)
        self.block = ExactBlock(own, 2 * own, rngs=rngs)
        for k in range(2):
            low, high = _range(k)
            setattr(self, f"offset{k}", make(own, high - low, shift=4))
            setattr(self, f"spread{k}", make(own, high - low, shift=8))

    def sources(self, shape: ScaleShape) -> dict[str, Source]:
        """How flags and coefficients are coded; the shape is that of y's tables."""
        return {FLAGS: BinarySource(), ERRORS: ResidualSource(density=shape)}

    def sizes(self) -> dict[str, int]:
        """Channels of the arrays, all on the grid of 1/16."""
        return {FLAGS: 1, ERRORS: COEFFICIENTS, DERIVED: self.channels}

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        if step.mask is not None:
            return (step.mask.width,) * 2
        return (self.sizes()[step.target],)

    def set_scale(self, std: np.ndarray) -> None:
        """Starts the scales.

        Args:
            std: float32[768], of coefficients in steps at the middle quality.
        """
        self.domain.set_scale(std)
        bias = scale_bias(std)
        for k in range(2):
            getattr(self, f"spread{k}").bias[...] = bias[slice(*_range(k))]

    def errors(self, features, seen, extent, *, exact=True) -> jax.Array:
        """Features of the layer, float32[N h w C], of the codec's and of known y."""
        x = jnp.concatenate([features, seen], -1)
        x = self.enter(x, extent, exact=exact)
        return self.body(x, extent, exact=exact)

    def odds(self, errors, extent, *, exact=True) -> jax.Array:
        """The number of each flag's table, float32[N h w 1]."""
        raw = self.flag(errors, extent, exact=exact)
        return odds_index(raw, exact=exact)

    def heads(self, step: int, errors, known, quality, extent, *, exact=True):
        """Offset and index of a step's symbols, float32[N h w k] each."""
        channels = slice(*_range(step))
        x = errors
        if known:
            seen = self.domain.see(known[0], quality, exact=exact)[..., :FIRST]
            x = self.follow(jnp.concatenate([x, seen], -1), extent, exact=exact)
            x = self.block(x, extent, exact=exact)
        head = getattr(self, f"offset{step}")(x, extent, exact=exact)
        raw = getattr(self, f"spread{step}")(x, extent, exact=exact)
        scale = self.domain.channel_scale[...][channels]
        mean = self.domain.mean(head, quality, scale, exact=exact)
        return mean, self.domain.index(raw, quality, exact=exact)


class EnhancementTransform(nnx.Module):
    """The transform, fixed once it is fitted; as `codax.coding.enhancement` has it."""

    def __init__(self, rates: FineRates):
        """Makes the identity."""
        steps = 1.0 / rates.gain(np.arange(201.0))
        self.klt = Fixed(jnp.eye(COEFFICIENTS))
        self.step = Fixed(
            jnp.asarray(steps, jnp.float32), stored="float32", of_rates=True
        )

    def _step(self, quality: jax.Array) -> jax.Array:
        return self.step[...][quality][:, None, None, None]

    def forward(self, error: jax.Array, quality: jax.Array) -> jax.Array:
        """Errors float32[N H W 3] to coefficients float32[N H/16 W/16 768] in steps."""
        return pointwise(space_to_depth(error, CELL), self.klt[...]) / self._step(
            quality
        )

    def inverse(self, e: jax.Array, quality: jax.Array) -> jax.Array:
        """Undoes `forward`."""
        blocks = pointwise(e * self._step(quality), self.klt[...].T)
        return depth_to_space(blocks, CELL)


def enhance(
    prior: Prior,
    transform: EnhancementTransform,
    x: jax.Array,
    base: jax.Array,
    decoded: Mapping[str, jax.Array],
    quality: jax.Array,
    key: jax.Array | None,
    *,
    exact: bool = True,
    trellis: Trellis | None = None,
) -> tuple[dict[str, jax.Array], jax.Array]:
    """What the layer costs and gives, as training pays it.

    Args:
        prior: the codec's.
        transform: the layer's.
        x: pictures, float32[N H W 3].
        base: as the codec decodes them, likewise, not yet whole numbers.
        decoded: its latents in steps.
        quality: int32[N], half steps.
        key: for noise; None for hard rounding.
        exact: see `rate`.
        trellis: likewise.

    Returns:
        Bits by step, float32[N] each; pictures with the layer.
    """
    whole = jnp.clip(jnp.round(base), 0.0, 255.0)
    base = base + jax.lax.stop_gradient(whole - base)
    value = transform.forward(x - base, quality)

    def code(flag, key, **options):
        latents = {FLAGS: flag, ERRORS: value}
        return rate(
            prior,
            latents,
            quality,
            key,
            exact=exact,
            trellis=trellis,
            known=dict(decoded),
            **options,
        )

    bits, kept = code(jnp.ones_like(value[..., :1]), None, maps=True)
    flag = jax.lax.stop_gradient(pays(value, kept[ERRORS], bits))
    bits, kept = code(flag[..., None].astype(jnp.float32), key)
    return bits, base + transform.inverse(kept[ERRORS], quality)


def fit_errors(error: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fits the transform to errors: the KLT of the worst cells.

    Args:
        error: float32[N H W 3], what a codec leaves.
        step: float32[N], the quantiser's step there.

    Returns:
        The matrix float32[768 768], and standard deviations float32[768] in steps.
    """
    blocks = space_to_depth(error / step[:, None, None, None], CELL)
    blocks = blocks.reshape(-1, COEFFICIENTS)
    energy = (blocks**2).sum(1)
    blocks = blocks[energy >= np.quantile(energy, 1 - HARDEST)].astype(np.float64)
    values, vectors = np.linalg.eigh(blocks.T @ blocks / len(blocks))
    std = np.sqrt(np.maximum(values[::-1], 1e-6))
    return vectors[:, ::-1].astype(np.float32), std.astype(np.float32)
