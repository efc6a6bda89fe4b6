"""Codecs whose latents are tokens of a residual quantiser: what they share.

    x -> g_a -> y -> vectors -> layer 0 -> layer 1 -> ... -> tokens
                                  |          |
                                codes  +   codes   + ...  -> y_hat -> g_s -> x_hat

A vector holds the leading components of y of a square of `span` by `span` cells of
16x16 pixels. Each layer has one token for a vector, or one for each of its quarters,
or for each quarter of those: its depth. All layers are views of one residual, see
`codax/entropy/quantisers.py`. The quality says how many layers a file has; the tokens
themselves do not depend on it. A code costs what its bits are worth, so that flat areas
take next to nothing.

Coding order: the first layer in three groups of cells (at once where `span` is 4, since
tiles of networks may begin at any vector there); each further layer of depth 0 at
once; each deeper one in the two halves of a checkerboard. Every layer has a stream of
its own, its tokens are coded by stored tables that contexts choose
(`codax/entropy/contexts.py`).

Source: Zeghidour et al. 2021 (SoundStream: residual VQ, quantiser dropout); views of
several scales, prices and contexts are this project's.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.codecs.residual_config import ResidualConfig
from codax.coding.masks import channels
from codax.coding.order import Step, layer_count, layers_at
from codax.coding.rate import rate
from codax.entropy.clusters import nearest, prices_by_kind, usage
from codax.entropy.contexts import FINE_PARTS, KINDS, TABLES, IndexContexts, groups_of
from codax.entropy.quantisers import Layer, ResidualQuantiser
from codax.entropy.training import IndexSource, Source
from codax.files.container import quality_of_layers
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.klt import block_order, leading
from codax.transforms.rates import MIDDLE_QUALITY

__all__ = ["ResidualNetworks", "ResidualPrior"]

COMMITMENT = 0.25
"""Weight of the commitment beside the distortion."""
START_VECTORS = 60_000
"""Views that a layer's codes start from."""
STEP_HALO = 4
BATCH = 16


def depths_of(layers: tuple[Layer, ...]) -> tuple[int, ...]:
    """How often a vector's square is quartered for the tokens of each layer."""
    return tuple((layer.tokens.bit_length() - 1) // 2 for layer in layers)


def _first(direct: bool):
    def network(prior: ResidualPrior, y, quality, extent, *, exact=True):
        return (prior.bank.first(y, direct, extent),)

    return network


def _further(layer: int):
    def network(prior: ResidualPrior, y, quality, extent, *, exact=True):
        return (prior.bank.further(y, layer, extent),)

    return network


def _fine(layer: int, part: int):
    def network(prior: ResidualPrior, y, quality, extent, *, exact=True):
        return (prior.bank.fine(y, layer, part, extent),)

    return network


GROUPS = ((0,), (3,), (1, 2))
"""Places of a 2x2 cell that the first layer codes in turn: both even, both odd, the
others."""


@cache
def _steps(depths: tuple[int, ...], grouped: bool) -> tuple[Step, ...]:
    """The coding order of layers of these depths; the first in groups or at once."""
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
    if not grouped:
        steps = [Step(name="layer0", target="y", mask=channels((0,)))]
    begin = 1
    for layer, depth in enumerate(depths[1:], 1):
        count = 4**depth
        halves = [[k for k in range(count) if k % 4 in part] for part in FINE_PARTS]
        for part, own in enumerate(halves if depth else [[0]]):
            steps.append(
                Step(
                    name=f"layer{layer}-{part}" if depth else f"layer{layer}",
                    target="y",
                    reads=("y",),
                    network=_fine(layer, part) if depth else _further(layer),
                    layer=layer,
                    mask=channels(begin + k for k in own),
                    halo=STEP_HALO,
                )
            )
        begin += count
    return tuple(steps)


class ResidualPrior(nnx.Module):
    """The coding order, and the contexts and tables of the tokens."""

    def __init__(self, config: ResidualConfig):
        """Makes contexts that know nothing."""
        self.span, self.depths = config.span, depths_of(config.layers)
        codes = [layer.codes for layer in config.layers]
        self.bank = IndexContexts(codes, self.depths, config.span)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""
        return _steps(self.depths, groups_of(self.span))

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
        return {"y": sum(4**depth for depth in self.depths)}

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        return {"y": 1.0 / self.span}

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        return (max(1, 4 ** self.depths[step.layer] // 2),)

    def check_exact(self) -> None:
        """Checks maps and thresholds; raises ModelError if one is no integer."""
        self.bank.check()

    def set_scale(self, std: np.ndarray) -> None:
        """Nothing to set: codes and tables start from tokens."""


class ResidualNetworks(Autoencoder):
    """The transforms of the house around a residual quantiser.

    Attributes:
        g_s_quantiser: vectors to tokens, tokens to vectors.
        token_span: side of a token's cell in cells of 16x16 pixels.
    """

    adapts = True
    counts = True

    def __init__(self, config: ResidualConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `adapt` starts the codes."""
        super().__init__(config.transforms, ResidualPrior(config), rngs=rngs)
        self.config, self.token_span = config, config.span
        self.g_s_quantiser = ResidualQuantiser(
            config.span**2 * config.components, config.layers, rngs=rngs, kinds=KINDS
        )

    def vectors(self, x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
        """What is quantised, float32[N h w C]: y at the middle quality, whatever."""
        middle = jnp.full(x.shape[:1], MIDDLE_QUALITY, jnp.int32)
        y = self.g_a(x, middle, extent)
        y = y[..., : self.config.components]
        return y if self.token_span == 1 else space_to_depth(y, self.token_span)

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Tokens of pictures float32[N H W 3] 0..255, of all layers, as float32."""
        found = self.g_s_quantiser(self.vectors(x, extent))
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
        if self.token_span > 1:
            values = depth_to_space(values, self.token_span)
        rest = self.config.transforms.latents - values.shape[-1]
        if rest:
            values = jnp.pad(values, ((0, 0), (0, 0), (0, 0), (0, rest)))
        quality = quality_of_layers(used, layer_count(self.prior))
        own = self.rates.relative_gain(quality.astype(jnp.float32))
        return self.g_s(values * own[:, None, None, None], quality, extent)

    def forward(
        self, x: jax.Array, quality: jax.Array, key: jax.Array | None, *, exact: bool
    ) -> tuple[dict[str, jax.Array], jax.Array, dict[str, jax.Array]]:
        """See `Autoencoder.forward`; the further term is the commitment."""
        used = layers_at(quality, layer_count(self.prior))
        found = self.g_s_quantiser(self.vectors(x), used)
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

    def tokens(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Tokens int32[N h w L] of all layers, of pictures float32[N H W 3]."""
        return self.g_s_quantiser(self.vectors(x, extent)).tokens

    def picture(
        self, tokens: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Pictures float32[N H W 3] of the tokens of a quality's layers."""
        return self.synthesis({"y": tokens}, quality, extent)

    def adapt(self, pictures: np.ndarray, stage: str) -> dict[str, float]:
        """Starts or revives codes, sets their prices, fits contexts and tables.

        Args:
            pictures: float32[N S S 3], 0..255, sides multiples of 64.
            stage: at the `start` codes begin as means of clusters; in a `run` dead ones
                are revived and prices renewed; at the `end` only contexts are fitted.

        Returns:
            Usage (share of the codes) and perplexity of each layer.
        """
        vectors = jax.jit(self.vectors)
        parts = [
            np.asarray(vectors(pictures[i : i + BATCH]))
            for i in range(0, len(pictures), BATCH)
        ]
        y = np.concatenate(parts)
        facts = self._adapt(y, stage)
        # Only now codes have kinds, by which prices differ.
        return self._adapt(y, "run") if stage == "start" else facts

    def _adapt(self, y: np.ndarray, stage: str) -> dict[str, float]:
        """Adapts to vectors float32[N h w C]; see `adapt`."""
        left = y.reshape(-1, y.shape[-1])
        facts: dict[str, float] = {}
        basis = np.zeros((0, 0), np.float32)
        tokens: list[np.ndarray] = []
        for number, layer in enumerate(self.config.layers):
            if stage == "start":
                if number % self.config.groups == 0:
                    basis = self._basis(number, left)
                self._start_layer(number, left, basis)
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

    def _views_of(self, layer: Layer, left: np.ndarray) -> np.ndarray:
        """All that a layer's views can see, float32[tokens of the layer, inputs]."""
        return np.concatenate(
            [self._parts_of(layer, left) @ v for v in self._sights(layer)]
        )

    def _parts_of(self, layer: Layer, left: np.ndarray) -> np.ndarray:
        return left.reshape(len(left) * layer.parts, -1)

    def _sights(self, layer: Layer) -> np.ndarray:
        """What each token of a part sees of it, float32[tokens channels inputs]."""
        if layer.tokens == layer.parts:
            side = self.config.span**2 * self.config.components // layer.parts
            return np.eye(side, dtype=np.float32)[None]
        # The pixels of each quarter of a cell, as far as the latents know them.
        matrix = np.asarray(self.g_a.klt[...]).T[:, block_order()]
        return matrix.reshape(len(matrix), 4, 192).transpose(1, 0, 2)

    def _basis(self, number: int, left: np.ndarray) -> np.ndarray:
        """Where a layer sees most of the residual: columns by falling energy."""
        inner = self._views_of(self.config.layers[number], left)
        square = inner.T.astype(np.float64) @ inner
        return leading(square, len(square))[0].astype(np.float32)

    def _start_layer(self, number: int, left: np.ndarray, basis: np.ndarray) -> None:
        """Sets a layer's views to its share of a basis, and its codes."""
        layer, groups = self.config.layers[number], self.config.groups
        own = basis[:, number % groups :: groups][:, : layer.dimension]
        enter = np.concatenate([sight @ own for sight in self._sights(layer)], 1)
        klt = self.g_s_quantiser.klt
        getattr(klt, f"enter{number}")[...] = jnp.asarray(enter)
        getattr(klt, f"leave{number}")[...] = jnp.asarray(enter.T)
        views = (self._parts_of(layer, left) @ enter).reshape(-1, layer.dimension)
        random = np.random.default_rng(number)
        few = random.permutation(len(views))[:START_VECTORS]
        quantiser = getattr(self.g_s_quantiser, f"layer{number}")
        quantiser.start(views[few], self.config.worth(number), seed=number)

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
        views = (self._parts_of(layer, left) @ enter).reshape(-1, layer.dimension)
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
        added = added.reshape(len(left) * layer.parts, -1) @ leave
        return tokens.reshape(-1, layer.tokens), left - added.reshape(left.shape)
