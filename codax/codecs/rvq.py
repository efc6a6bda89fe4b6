"""`rvq`: residual vector quantisation; files can be cut after any layer.

    x -> g_a -> y -> layer 0 -> layer 1 -> ... -> tokens
                       |          |
                     codes  +   codes   + ...  -> y_hat -> g_s -> x_hat

The first layers are coarse, a token for each cell of 16x16 pixels; the others are fine,
a token for each quarter of a cell. All layers are views of one residual, see
`codax/entropy/quantisers.py`. The quality says how many layers a file has; the tokens
themselves do not depend on it. A code costs what its bits are worth, so that flat areas
take next to nothing.

Coding order: the first layer in three groups of cells; each further coarse layer at
once; each fine layer in the two halves of a checkerboard. Every layer has a stream of
its own, its tokens are coded by stored tables that contexts choose
(`codax/entropy/contexts.py`).

Source: Zeghidour et al. 2021 (SoundStream: residual VQ, quantiser dropout); views of
two scales, prices and contexts are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.coding.masks import channels
from codax.coding.order import Step, layer_count, layers_at
from codax.coding.rate import rate
from codax.entropy.clusters import nearest, prices_by_kind, usage
from codax.entropy.contexts import FINE_PARTS, KINDS, TABLES, IndexContexts
from codax.entropy.quantisers import Layer, ResidualQuantiser
from codax.entropy.training import IndexSource, Source
from codax.errors import ConfigError
from codax.files.container import quality_of_layers
from codax.transforms.autoencoder import TransformWidths
from codax.transforms.klt import block_order
from codax.transforms.rates import MIDDLE_QUALITY

__all__ = ["RvqConfig", "RvqPrior", "rvq"]

COMMITMENT = 0.25
"""Weight of the commitment beside the distortion."""
START_VECTORS = 60_000
"""Vectors that a layer's codes start from."""
STEP_HALO = 4
BATCH = 16


@dataclass(frozen=True, kw_only=True)
class RvqConfig:
    """Widths of an `rvq` codec."""

    transforms: TransformWidths = field(default_factory=TransformWidths)
    coarse: int = 2
    """Layers with a token for each cell of 16x16 pixels."""
    fine: int = 6
    """Layers with a token for each 8x8 pixels."""
    coarse_codes: int = 1024
    fine_codes: int = 512
    coarse_dimension: int = 16
    fine_dimension: int = 24
    """Dimensions of the codes."""
    dear: float = 1200.0
    cheap: float = 500.0
    """Squared pixel levels that a bit is worth, at the first and the last layer."""

    def __post_init__(self) -> None:
        """Checks the layers."""
        if self.coarse < 1 or self.fine < 1:
            raise ConfigError(
                f"layers: got {self.coarse} coarse and {self.fine} fine, expected at "
                "least 1 of each"
            )
        if self.transforms.front != "space-to-depth":
            raise ConfigError(
                f"transforms.front: got {self.transforms.front!r}, expected "
                "'space-to-depth', since fine layers start from the pixels of quarters"
            )

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the quantiser."""
        coarse = Layer(
            tokens=1, codes=self.coarse_codes, dimension=self.coarse_dimension
        )
        fine = Layer(tokens=4, codes=self.fine_codes, dimension=self.fine_dimension)
        return (coarse,) * self.coarse + (fine,) * self.fine

    def worth(self, layer: int) -> float:
        """What a bit of a layer is worth, in squared latent steps."""
        share = layer / (self.coarse + self.fine - 1)
        gain = float(self.transforms.rates.gain(MIDDLE_QUALITY))
        return self.dear ** (1 - share) * self.cheap**share * gain**2


def _first(direct: bool):
    def network(prior: RvqPrior, y, quality, extent, *, exact=True):
        return (prior.bank.first(y, direct, extent),)

    return network


def _further(layer: int):
    def network(prior: RvqPrior, y, quality, extent, *, exact=True):
        return (prior.bank.further(y, layer, extent),)

    return network


def _fine(layer: int, part: int):
    def network(prior: RvqPrior, y, quality, extent, *, exact=True):
        return (prior.bank.fine(y, layer, part, extent),)

    return network


GROUPS = ((0,), (3,), (1, 2))
"""Places of a 2x2 cell that the first layer codes in turn: both even, both odd, the
others."""


@cache
def _steps(coarse: int, fine: int) -> tuple[Step, ...]:
    """The coding order of so many layers."""
    names = ("even", "odd", "others")
    networks = (None, _first(False), _first(True))
    steps = [
        Step(
            name=f"layer0-{names[k]}",
            target="y",
            reads=("y",) if k else (),
            network=networks[k],
            mask=channels((0,), GROUPS[k]),
            halo=STEP_HALO,
        )
        for k in range(3)
    ]
    for layer in range(1, coarse):
        steps.append(
            Step(
                name=f"layer{layer}",
                target="y",
                reads=("y",),
                network=_further(layer),
                layer=layer,
                mask=channels((layer,)),
                halo=STEP_HALO,
            )
        )
    for layer in range(coarse, coarse + fine):
        begin = coarse + 4 * (layer - coarse)
        for part, quarters in enumerate(FINE_PARTS):
            steps.append(
                Step(
                    name=f"layer{layer}-{part}",
                    target="y",
                    reads=("y",),
                    network=_fine(layer, part),
                    layer=layer,
                    mask=channels(begin + quarter for quarter in quarters),
                    halo=STEP_HALO,
                )
            )
    return tuple(steps)


class RvqPrior(nnx.Module):
    """The coding order, and the contexts and tables of the tokens."""

    def __init__(self, config: RvqConfig):
        """Makes contexts that know nothing."""
        self.coarse, self.fine = config.coarse, config.fine
        codes = [layer.codes for layer in config.layers]
        self.bank = IndexContexts(codes, config.coarse)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""
        return _steps(self.coarse, self.fine)

    @property
    def sources(self) -> dict[str, Source]:
        """By target of a coding step, how its latents are coded."""
        bank = self.bank
        source = IndexSource(
            sizes=tuple((codes, TABLES) for codes in bank.codes),
            frequencies=bank.frequencies[...],
            starts=bank.starts,
        )
        return {"y": source}

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state."""
        return {"y": self.coarse + 4 * self.fine}

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        return {"y": 1.0}

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        return (1 if step.layer < self.coarse else 2,)

    def check_exact(self) -> None:
        """Checks maps and thresholds; raises ModelError if one is no integer."""
        self.bank.check()

    def set_scale(self, std: np.ndarray) -> None:
        """Nothing to set: codes and tables start from tokens."""


class RvqNetworks(Autoencoder):
    """The transforms of the house around a residual quantiser.

    Attributes:
        g_s_quantiser: y to tokens, tokens to y.
    """

    adapts = True
    counts = True

    def __init__(self, config: RvqConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `adapt` starts the codes."""
        super().__init__(config.transforms, RvqPrior(config), rngs=rngs)
        self.config = config
        self.g_s_quantiser = ResidualQuantiser(
            config.transforms.latents, config.layers, rngs=rngs, kinds=KINDS
        )

    def latents(self, x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
        """What is quantised, float32[N h w M]: y at the middle quality, whatever."""
        middle = jnp.full(x.shape[:1], MIDDLE_QUALITY, jnp.int32)
        return self.g_a(x, middle, extent)

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Tokens of pictures float32[N H W 3] 0..255, of all layers, as float32."""
        found = self.g_s_quantiser(self.latents(x, extent))
        return {"y": found.tokens.astype(jnp.float32)}

    def synthesis(
        self,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of the tokens of a quality's layers."""
        tokens = latents["y"].astype(jnp.int32)
        used = layers_at(quality, layer_count(self.prior))
        values = self.g_s_quantiser.values(tokens, used)
        return self._decoded(values, used, extent)

    def _decoded(self, values: jax.Array, used: jax.Array, extent: jax.Array | None):
        """Pictures of what so many layers gave; the transform knows how many."""
        quality = quality_of_layers(used, layer_count(self.prior))
        own = self.rates.relative_gain(quality.astype(jnp.float32))
        return self.g_s(values * own[:, None, None, None], quality, extent)

    def forward(
        self, x: jax.Array, quality: jax.Array, key: jax.Array | None, *, exact: bool
    ) -> tuple[dict[str, jax.Array], jax.Array, dict[str, jax.Array]]:
        """See `Autoencoder.forward`; the further term is the commitment."""
        used = layers_at(quality, layer_count(self.prior))
        found = self.g_s_quantiser(self.latents(x), used)
        tokens = {"y": found.tokens.astype(jnp.float32)}
        bits, _ = rate(self.prior, tokens, quality, key, exact=exact)
        # In squared pixel levels: a view has about an eighth of a cell's samples.
        unit = 8.0 * self.rates.gain(MIDDLE_QUALITY) ** 2
        lmbda = self.rates.lmbda(quality.astype(jnp.float32))
        commitment = COMMITMENT * lmbda * found.loss / unit
        return bits, self._decoded(found.values, used, None), {"commitment": commitment}

    # The tokenizer's face, see `codax.face.tokens`.

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Sizes of the vocabularies of a cell's tokens."""
        return self.g_s_quantiser.vocabulary

    def token_counts(self) -> tuple[int, ...]:
        """How many tokens a cell may have: those of the first layers."""
        return self.g_s_quantiser.starts[1:]

    def tokens(self, x: jax.Array, quality: jax.Array) -> jax.Array:
        """Tokens int32[N h w L] of all layers, of pictures float32[N 16h 16w 3]."""
        return self.g_s_quantiser(self.latents(x)).tokens

    def picture(self, tokens: jax.Array, quality: jax.Array) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of the tokens of a quality's layers."""
        return self.synthesis({"y": tokens}, quality)

    def adapt(self, pictures: np.ndarray, stage: str) -> dict[str, float]:
        """Starts or revives codes, sets their prices, fits contexts and tables.

        Args:
            pictures: float32[N S S 3], 0..255, sides multiples of 16.
            stage: at the `start` codes begin as means of clusters; in a `run` dead ones
                are revived and prices renewed; at the `end` only contexts are fitted.

        Returns:
            Usage (share of the codes) and perplexity of each layer.
        """
        latents = jax.jit(self.latents)
        parts = [
            np.asarray(latents(pictures[i : i + BATCH]))
            for i in range(0, len(pictures), BATCH)
        ]
        y = np.concatenate(parts)
        facts = self._adapt(y, stage)
        # Only now codes have kinds, by which prices differ.
        return self._adapt(y, "run") if stage == "start" else facts

    def _adapt(self, y: np.ndarray, stage: str) -> dict[str, float]:
        """Adapts to latents float32[N h w M]; see `adapt`."""
        left = y.reshape(-1, y.shape[-1])
        facts: dict[str, float] = {}
        tokens: list[np.ndarray] = []
        for number, layer in enumerate(self.config.layers):
            if stage == "start":
                self._start_layer(number, left)
            if stage == "run":
                found = getattr(self.prior.bank, f"kind{number}")[...]
                getattr(self.g_s_quantiser, f"kind{number}")[...] = found
            own, left = self._adapt_layer(number, left, tokens, stage)
            tokens.append(own)
            share, perplexity = usage(own, layer.codes)
            facts |= {f"usage{number}": share, f"perplexity{number}": perplexity}
        whole = np.concatenate(tokens, -1).reshape(*y.shape[:-1], -1)
        # The first component is the mean of a cell, up to its sign.
        first = getattr(self.g_s_quantiser, "layer0")  # noqa: B009
        brightness = np.asarray(first.codes[...])[:, 0]
        self.prior.bank.fit(whole, brightness)
        return facts

    def _start_layer(self, number: int, left: np.ndarray) -> None:
        """Sets a layer's views to where the residual has most, and its codes."""
        layer = self.config.layers[number]
        if layer.tokens == 1:
            parts = np.eye(left.shape[1], dtype=np.float32)[None]
        else:
            # The pixels of each quarter, as far as the latents know them.
            matrix = np.asarray(self.g_a.klt[...]).T[:, block_order()]
            parts = matrix.reshape(len(matrix), 4, 192).transpose(1, 0, 2)
        inner = np.concatenate([left @ part for part in parts])
        vectors = np.linalg.eigh(inner.T.astype(np.float64) @ inner)[1]
        basis = vectors[:, ::-1][:, : layer.dimension].astype(np.float32)
        enter = np.concatenate([part @ basis for part in parts], 1)
        klt = self.g_s_quantiser.klt
        getattr(klt, f"enter{number}")[...] = jnp.asarray(enter)
        getattr(klt, f"leave{number}")[...] = jnp.asarray(enter.T)
        random = np.random.default_rng(number)
        few = random.permutation(len(inner))[:START_VECTORS]
        quantiser = getattr(self.g_s_quantiser, f"layer{number}")
        quantiser.start(inner[few] @ basis, self.config.worth(number), seed=number)

    def _adapt_layer(
        self, number: int, left: np.ndarray, before: list[np.ndarray], stage: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adapts one layer.

        Args:
            number: of the layer.
            left: float32[n M], what the layers before leave.
            before: their tokens, [n tokens] each.
            stage: see `adapt`.

        Returns:
            The layer's tokens [n tokens], and what it leaves [n M].
        """
        layer = self.config.layers[number]
        quantiser = getattr(self.g_s_quantiser, f"layer{number}")
        price = getattr(self.g_s_quantiser, f"price{number}")
        enter, leave = (
            np.asarray(getattr(self.g_s_quantiser.klt, f"{way}{number}")[...])
            for way in ("enter", "leave")
        )
        views = (left @ enter).reshape(-1, layer.dimension)
        kinds = np.zeros(len(views), np.int64)
        if before:
            known = np.asarray(getattr(self.g_s_quantiser, f"kind{number - 1}")[...])
            own = known[before[-1]].astype(np.int64)
            kinds = np.repeat(own, layer.tokens // own.shape[1], 1).ravel()

        def chosen() -> np.ndarray:
            codes = np.asarray(quantiser.codes[...])
            return nearest(views, codes, np.asarray(price[...]), kinds)

        tokens = chosen()
        # What is dear is chosen less, and so gets dearer: a few turns settle it.
        for _ in range({"start": 3, "run": 1, "end": 0}[stage]):
            quantiser.revive(views, tokens, seed=number)
            bits = prices_by_kind(tokens, kinds, price.shape[0], layer.codes)
            price[...] = jnp.asarray(bits * self.config.worth(number))
            tokens = chosen()
        added = np.asarray(quantiser.codes[...])[tokens]
        return tokens.reshape(-1, layer.tokens), left - added.reshape(
            len(left), -1
        ) @ leave


def rvq(config: RvqConfig, *, rngs: nnx.Rngs) -> RvqNetworks:
    """Makes the codec's networks."""
    return RvqNetworks(config, rngs=rngs)
