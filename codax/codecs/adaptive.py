"""`adaptive`: transforms chosen for each cell of 16x16 pixels, of full rank.

    x -> types' transforms -> choice -> kind, which, flag ------> map
                                     -> y (leading), tail ------> four steps, tail step
    x -> first type -> h_a -> z -> h_s -> features ---^

A cell has one of a few types (`codax/transforms/adaptive.py`): KLTs of its whole block
or of its quarters. All 768 coefficients are coded, but those behind the leading ones
only in cells whose flag says so: at low qualities nearly none.

Coding order: z by static tables; features = h_s(z); then the map in the two halves of a
checkerboard, in each the *kind* (whole or quarters), *which* of that kind, and the
*flag* of the tail; then the leading latents in the four steps of `quadtree`; then the
tail, whose mean is zero, in cells with a flag. The networks of latents see each cell's
type beside the features, and the first known latents in a place for each type.

Source: `codax/codecs/quadtree.py` for the four steps; the map, its place in the prior
and the tail are this project's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.autoencoder import BLOCKS, SIDE_HALO
from codax.codecs.hyper import HYPER_STEPS, STEP_HALO, HyperConfig, HyperPrior
from codax.codecs.plain import Plain
from codax.codecs.quadtree import quarter_mask
from codax.coding.masks import channels
from codax.coding.order import Network, Step
from codax.entropy.domain import LatentDomain
from codax.entropy.exact import ExactDense, straight_through_round
from codax.entropy.heads import odds_bias, odds_index, scale_bias
from codax.entropy.networks import ExactBlock, ExactTrunk, PhaseDense
from codax.entropy.training import BinarySource, ScaleSource
from codax.entropy.units import HEAD_LIMIT, UNIT
from codax.errors import ConfigError
from codax.transforms.adaptive import AdaptiveAnalysis, AdaptiveSynthesis
from codax.transforms.autoencoder import HyperAnalysis, TransformWidths
from codax.transforms.cell_types import COEFFICIENTS, Fitted, fit_types
from codax.transforms.layers import pointwise
from codax.transforms.rates import MIDDLE_QUALITY

__all__ = ["AdaptiveConfig", "AdaptiveNetworks", "AdaptivePrior", "adaptive"]

MAP = ("kind", "which", "flag")
ODDS = ("odds0", "odds1")
FIELDS = ((0, 3), (1, 2))
"""Places of a 2x2 cell: the black and the white fields of a checkerboard."""
START_FLAG = -3.0
"""Of the logit of a flag."""


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig(HyperConfig):
    """Widths of an `adaptive` codec; `transforms.latents` are the leading ones."""

    transforms: TransformWidths = field(
        default_factory=lambda: TransformWidths(analysis_fine=0, analysis_coarse=0)
    )
    blocks: int = 2
    """Blocks of the trunk."""
    large: int = 2
    """Types of whole blocks, 1 or 2."""
    small: int = 2
    """Types of quarters, 0 to 2."""
    typed: int = 96
    """Latents that the networks of y get in a place for each type."""
    map_features: int = 96
    """Channels of the map's networks."""

    def __post_init__(self) -> None:
        """Checks the counts."""
        super().__post_init__()
        for name, low in (("large", 1), ("small", 0)):
            value = getattr(self, name)
            if not low <= value <= 2:
                raise ConfigError(f"{name}: got {value}, expected {low} to 2")
        latents = self.transforms.latents
        if latents % 8 or not 0 < latents < COEFFICIENTS:
            raise ConfigError(
                f"transforms.latents: got {latents}, expected a multiple of 8 below "
                f"{COEFFICIENTS}"
            )
        if not 0 <= self.typed <= latents:
            raise ConfigError(f"typed: got {self.typed}, expected 0 to {latents}")

    @property
    def types(self) -> int:
        """Types in all."""
        return self.large + self.small


def types_of(kind: Any, which: Any, large: int, small: int) -> jax.Array:
    """The map as one number for each type: 1 at the cell's own, float32[N h w T]."""
    parts = [(1.0 - kind) * (which == t) for t in range(large)]
    parts += [kind * (which == t) for t in range(small)]
    return jnp.concatenate(parts, -1)


def _odds(half: int):
    """Logits of a half's decisions from features, and from the map of the other."""

    def network(prior: AdaptivePrior, features, *rest, exact=True):
        *known, _, extent = rest
        if known:
            kind, which, flag = known
            seen = types_of(kind, which, prior.large, prior.small)
            # The black fields; sides are free where the network is traced to a graph.
            rows, columns = (jnp.arange(side) for side in features.shape[1:3])
            black = (rows[:, None] + columns[None, :]) % 2 == 0
            own = black[None, :, :, None].astype(jnp.float32)
            seen = jnp.concatenate([seen, flag], -1) * own * float(UNIT)
            features = jnp.concatenate([features, seen], -1)
        x = getattr(prior, f"map{half}")(features, extent, exact=exact)
        x = getattr(prior, f"map_block{half}")(x, extent, exact=exact)
        raw = getattr(prior, f"map_head{half}")(x, extent, exact=exact)
        return (odds_index(raw, exact=exact),)

    return network


def _kind(prior, odds, quality, extent, *, exact=True):
    return (odds[..., :1],)


def _which(prior, odds, kind, quality, extent, *, exact=True):
    return (jnp.where(kind > 0, odds[..., 2:3], odds[..., 1:2]),)


def _flag(prior: AdaptivePrior, odds, kind, which, quality, extent, *, exact=True):
    types = types_of(kind, which, prior.large, prior.small)
    own = odds[..., 3:] * types
    return (sum(own[..., t : t + 1] for t in range(types.shape[-1])),)


def _map_steps(half: int) -> tuple[Step, ...]:
    odds = Step(
        name=f"odds{half}",
        target=f"odds{half}",
        reads=("features", *MAP) if half else ("features",),
        network=_odds(half),
        coded=False,
        halo=STEP_HALO,
    )
    networks: tuple[Network, ...] = (_kind, _which, _flag)
    coded = [
        Step(
            name=f"{name}{half}",
            target=name,
            reads=(f"odds{half}", *MAP[:number]),
            network=network,
            mask=channels((0,), FIELDS[half]),
        )
        for number, (name, network) in enumerate(zip(MAP, networks, strict=True))
    ]
    return odds, *coded


def _network(step: int):
    """The network of a step of y, or of the tail, which is the last."""

    def network(prior: AdaptivePrior, features, kind, which, flag, *rest, exact=True):
        *known, quality, extent = rest
        types = types_of(kind, which, prior.large, prior.small)
        parts = [features, types * float(UNIT), flag * float(UNIT)]
        if known:
            parts += prior.seen(known[0], types, quality, exact=exact)
        x = jnp.concatenate(parts, -1)
        x = getattr(prior, f"adaptor{step}")(x, extent, exact=exact)
        x = prior.trunk(x, extent, exact=exact)
        if step == 4:
            return prior.tail_heads(x, kind, types, quality, extent, exact=exact)
        return prior.heads(step, x, kind, types, quality, extent, exact=exact)

    return network


@cache
def _steps(latents: int) -> tuple[Step, ...]:
    """The coding order for so many leading latents."""
    return (
        *HYPER_STEPS,
        *_map_steps(0),
        *_map_steps(1),
        *(
            Step(
                name=f"y{k}",
                target="y",
                reads=("features", *MAP, "y") if k else ("features", *MAP),
                network=_network(k),
                mask=quarter_mask(k, latents),
                halo=STEP_HALO,
            )
            for k in range(4)
        ),
        Step(
            name="tail",
            target="tail",
            reads=("features", *MAP, "y"),
            network=_network(4),
            halo=STEP_HALO,
            within="flag",
        ),
    )


class AdaptivePrior(HyperPrior):
    """The prior: exact networks, tables, and the coding order above."""

    @property
    def steps(self) -> tuple[Step, ...]:  # type: ignore[override]
        """The coding order."""
        return _steps(self.latents)

    def __init__(self, config: AdaptiveConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_types` sets what depends on the data."""
        super().__init__(config, rngs=rngs)
        self.large, self.small = config.large, config.small
        self.typed = config.typed
        m, f, t = self.latents, config.features, config.types
        self.tail = COEFFICIENTS - m
        self.domain = LatentDomain(t * m, config.transforms.rates)
        # Of the indices of scales, in units of 64 sixteenths; stored as integers.
        self.type_index = nnx.Param(jnp.zeros((t, COEFFICIENTS)), stored="unit")
        own = config.map_features
        for half, inputs in ((0, f), (1, f + t + 1)):
            enter = ExactDense(inputs, own, rngs=rngs, kept_in=inputs - f)
            setattr(self, f"map{half}", enter)
            setattr(self, f"map_block{half}", ExactBlock(own, own, rngs=rngs))
            last = ExactDense(
                own, 3 + t, rngs=rngs, relu=False, limit=HEAD_LIMIT, gain=0.1
            )
            setattr(self, f"map_head{half}", last)
        kinds = 2 if config.small else 1

        def head(shift: int) -> PhaseDense:
            return PhaseDense(
                f, kinds * m // 4, rngs=rngs, shift=shift, limit=HEAD_LIMIT
            )

        for k in range(5):
            inputs = f + t + 1
            if k:
                inputs += m + (t - 1) * self.typed
            adaptor = ExactDense(inputs, f, rngs=rngs, kept_in=inputs - f)
            setattr(self, f"adaptor{k}", adaptor)
            if k < 4:
                setattr(self, f"mean{k}", head(shift=4))
                setattr(self, f"scale{k}", head(shift=8))
        self.scale4 = ExactDense(
            f, kinds * self.tail, rngs=rngs, relu=False, limit=HEAD_LIMIT, gain=0.1
        )
        self.trunk = ExactTrunk(config.blocks, f, config.hidden, rngs=rngs)

    @property
    def sources(self) -> dict[str, Any]:
        """By target of a coding step, how its latents are coded."""
        own = {name: BinarySource() for name in MAP}
        return super().sources | {"tail": ScaleSource(density=self.shape)} | own

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state."""
        odds = dict.fromkeys(ODDS, 3 + self.large + self.small)
        own = dict.fromkeys(MAP, 1) | odds
        return super().channels | {"tail": self.tail} | own

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        return super().strides | dict.fromkeys(("tail", *ODDS, *MAP), 1.0)

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        if step.target == "y":
            return (self.latents // 4,) * 2
        return (self.channels[step.target],)

    def set_types(self, std: np.ndarray, share: np.ndarray) -> None:
        """Starts the scales and the map's odds at those of the transforms.

        Args:
            std: float32[T 768], standard deviations in steps at the middle quality.
            share: float32[T], of cells.
        """
        self.domain.set_scale(std[:, : self.latents].ravel())
        self.type_index[...] = scale_bias(std)
        part = np.maximum(np.append(share, [0.0] * (4 - len(share))), 1e-3)
        if self.large == 1:
            part = part[[0, 3, 1, 2]]
        logits = [
            np.log((part[2] + part[3]) / (part[0] + part[1])),
            np.log(part[1] / part[0]),
            np.log(part[3] / part[2]),
            *[START_FLAG] * len(share),
        ]
        for half in range(2):
            getattr(self, f"map_head{half}").bias[...] = odds_bias(logits)

    def _of_types(self, types: jax.Array, table: jax.Array) -> jax.Array:
        """Rows of a table by each cell's type: exact, one product is not zero."""
        return pointwise(types, table)

    def seen(self, y, types, quality, *, exact=True) -> list[jax.Array]:
        """Known latents as the networks see them, the first in a place by type."""
        scale = self.domain.channel_scale[...].reshape(-1, self.latents)
        own = self._of_types(types, scale)
        own = jnp.where(own > 0, own, 1.0)
        seen = self.domain.see(y, quality, exact=exact, scale=own)
        first = seen[..., : self.typed]
        places = [first * types[..., t, None] for t in range(types.shape[-1])]
        return [*places, seen[..., self.typed :]]

    def _by_kind(self, outputs: jax.Array, kind: jax.Array, count: int) -> jax.Array:
        """Of heads for each kind those of the cell's own."""
        if outputs.shape[-1] == count:
            return outputs
        return jnp.where(kind > 0, outputs[..., count:], outputs[..., :count])

    def _index_bias(self, types: jax.Array, channels: slice, exact: bool):
        table = self.type_index[...][:, channels] * UNIT
        return self._of_types(types, straight_through_round(table) if exact else table)

    def heads(self, step: int, x, kind, types, quality, extent, *, exact=True):
        """Offset and index of a step's symbols, float32[N h w M/4] each."""
        count = self.latents // 4
        head = getattr(self, f"mean{step}")(x, extent, exact=exact)
        raw = getattr(self, f"scale{step}")(x, extent, exact=exact)
        scale = self.domain.channel_scale[...].reshape(-1, self.latents)
        mask = quarter_mask(step, self.latents)
        scale = mask.take(self._of_types(types, scale))
        bias = self._index_bias(types, slice(0, self.latents), exact)
        raw = self._by_kind(raw, kind, count) + mask.take(bias)
        head = self._by_kind(head, kind, count)
        mean = self.domain.mean(head, quality, scale, exact=exact)
        return mean, self.domain.index(raw, quality, exact=exact)

    def tail_heads(self, x, kind, types, quality, extent, *, exact=True):
        """Index of the tail's symbols, float32[N h w 768 - M]."""
        raw = self._by_kind(self.scale4(x, extent, exact=exact), kind, self.tail)
        bias = self._index_bias(types, slice(self.latents, None), exact)
        return (self.domain.index(raw + bias, quality, exact=exact),)


class AdaptiveNetworks(Plain):
    """The networks; what they do is what those of `Autoencoder` do."""

    synthesis_reads = ("y", "tail", "kind", "which")
    has_side = True

    def __init__(self, config: AdaptiveConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `start` fits the types."""
        widths = config.transforms
        self.large, self.small = config.large, config.small
        self.rates, self.latents = widths.rates, widths.latents
        self.analysis_halo = SIDE_HALO
        self.synthesis_halo = widths.synthesis_halo
        self.g_a = AdaptiveAnalysis(widths, config.large, config.small)
        self.g_s = AdaptiveSynthesis(widths, config.large, config.small, rngs=rngs)
        self.h_a = HyperAnalysis(widths, config.hyper, config.side, rngs=rngs)
        self.prior = AdaptivePrior(config, rngs=rngs)

    def start(self, sample: Callable[[int, int], np.ndarray]) -> None:
        """Fits the types to pictures; the argument is that of `Autoencoder.start`."""
        blocks = sample(BLOCKS, 16).reshape(BLOCKS, COEFFICIENTS)
        self.set_types(fit_types(blocks, self.large, self.small))

    def set_types(self, fitted: Fitted) -> None:
        """Starts with these types."""
        self.g_s.bases.set(fitted)
        self.h_a.std[...] = jnp.asarray(fitted.whole[: self.latents])
        gain = float(self.rates.gain(MIDDLE_QUALITY))
        self.prior.set_types(fitted.std * gain, fitted.share)

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Latents and map of pictures float32[N H W 3], 0..255."""
        found = self.g_a(self.g_s.bases, x, quality)
        # The hyper-analysis takes latents in steps.
        base = self.rates.gain(quality.astype(jnp.float32))[:, None, None, None]
        return found | {"z": self.h_a(found.pop("common") * base, quality)}

    def synthesis(
        self,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of decoded latents in steps."""
        types = types_of(latents["kind"], latents["which"], self.large, self.small)
        y = jnp.concatenate([latents["y"], latents["tail"]], -1)
        return self.g_s(y, types, quality, extent)


def adaptive(config: AdaptiveConfig, *, rngs: nnx.Rngs) -> AdaptiveNetworks:
    """Makes the codec's networks."""
    return AdaptiveNetworks(config, rngs=rngs)
