"""Quantisers: vectors to tokens and back, behind one interface.

A token is an integer from 0 to its vocabulary's size less one. Each quantiser maps
`x: float32[N ... d]` to tokens and to the values that a decoder has, with
straight-through gradients:

* `Rounding`: every component to the nearest integer, one large vocabulary.
* `FiniteScalar` (FSQ): every component to one of a few levels, a vocabulary each.
* `VectorQuantiser` (VQ): the whole vector to the nearest of K codes.
* `ResidualQuantiser` (RVQ): layer upon layer, each quantises what is left.

The choice of a token is the encoder's alone and need not be exact; what decides
probabilities sees tokens, which are integers.

Source: FSQ: Mentzer et al. 2023; VQ: van den Oord et al. 2017, low dimension and
normalised lookup: Yu et al. 2021 (ViT-VQGAN); RVQ and quantiser dropout: Zeghidour et
al. 2021 (SoundStream); revival of dead codes: Dhariwal et al. 2020 (Jukebox); prices of
codes: Chou, Lookabaugh and Gray 1989 (entropy-constrained VQ); drawing one of two
integers: Yang, Bamler and Mandt 2020 (stochastic Gumbel annealing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.entropy.clusters import k_means
from codax.entropy.exact import inward_clip, straight_through_round
from codax.errors import ConfigError
from codax.transforms.layers import Fixed, normal, pointwise

__all__ = [
    "FiniteScalar",
    "Layer",
    "Quantised",
    "Quantiser",
    "ResidualQuantiser",
    "Rounding",
    "VectorQuantiser",
    "drawn",
]


def drawn(x: jax.Array, noise: jax.Array, temperature: jax.Array) -> jax.Array:
    """Values between the two integers around x, at random near one of them.

    The nearer integer is likelier, the more so the colder; so is a value near it.

    Args:
        x: float32[...].
        noise: float32[...], uniform in +-1/2.
        temperature: above 0; at 0 this were rounding.

    Returns:
        float32[...], with gradients.
    """
    low = jax.lax.stop_gradient(jnp.floor(x))
    part = jnp.clip(x - low, 1e-4, 1 - 1e-4)
    chance = jnp.clip(noise + 0.5, 1e-4, 1 - 1e-4)
    pull = (jnp.arctanh(part) - jnp.arctanh(1 - part)) / temperature
    logistic = jnp.log(chance) - jnp.log1p(-chance)
    return low + jax.nn.sigmoid((pull + logistic) / temperature)


class Quantised(NamedTuple):
    """What a quantiser makes of `x: float32[N ... d]`.

    Attributes:
        tokens: int32[N ... t], t tokens for each vector.
        values: float32[N ... d], what a decoder has; gradients reach x (straight
            through) and the codes.
        loss: float32[N], the commitment: mean squared distance of vectors and codes,
            which pulls both; 0 where there are no codes.
    """

    tokens: jax.Array
    values: jax.Array
    loss: jax.Array


class Quantiser(Protocol):
    """What every quantiser does."""

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Sizes of the vocabularies of a vector's tokens."""

    def __call__(self, x: jax.Array) -> Quantised:
        """Quantises float32[N ... d]."""

    def values(self, tokens: jax.Array) -> jax.Array:
        """What tokens int32[N ... t] stand for, float32[N ... d]."""


@dataclass(frozen=True)
class Rounding:
    """Scalar rounding within +-limit; the token is the integer plus the limit.

    Attributes:
        limit: the largest absolute value.
        channels: components of a vector.
    """

    limit: int
    channels: int = 1

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """See `Quantiser`."""
        return (2 * self.limit + 1,) * self.channels

    def __call__(self, x: jax.Array) -> Quantised:
        """See `Quantiser`."""
        values = straight_through_round(inward_clip(x, -self.limit, self.limit))
        tokens = values.astype(jnp.int32) + self.limit
        return Quantised(tokens, values, jnp.zeros(x.shape[0]))

    def values(self, tokens: jax.Array) -> jax.Array:
        """See `Quantiser`."""
        return (tokens - self.limit).astype(jnp.float32)


@dataclass(frozen=True)
class FiniteScalar:
    """Finite scalar quantisation: L levels a component, one apart, around 0.

    Odd L has the levels -(L-1)/2 to (L-1)/2, even L those between: -(L-1)/2 in steps
    of 1. The bound is a clip whose gradients lead back inside; the tanh of the paper
    spaces levels unevenly, which costs bits where the loss is a squared error.

    Attributes:
        levels: L of each component, 2 or more.

    Raises:
        ConfigError: a component has fewer than two levels.
    """

    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks the levels."""
        if not self.levels or min(self.levels) < 2:
            raise ConfigError(f"levels: got {self.levels}, expected 2 or more each")

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """See `Quantiser`."""
        return self.levels

    @property
    def half(self) -> np.ndarray:
        """The largest level of each component, float32[d]."""
        return (np.asarray(self.levels, np.float32) - 1.0) / 2.0

    def bound(self, x: jax.Array) -> jax.Array:
        """Clips float32[N ... d] to the outer levels."""
        return inward_clip(x, -self.half, self.half)

    def __call__(self, x: jax.Array) -> Quantised:
        """See `Quantiser`."""
        half = self.half
        digits = straight_through_round(self.bound(x) + half)
        return Quantised(digits.astype(jnp.int32), digits - half, jnp.zeros(x.shape[0]))

    def values(self, tokens: jax.Array) -> jax.Array:
        """See `Quantiser`."""
        return tokens.astype(jnp.float32) - self.half


class VectorQuantiser(nnx.Module):
    """Vector quantisation by K codes of few dimensions.

    Codes live at their own scale, and the nearest by squared distance is taken, plus
    the code's price where there is one. With `normalised` the lookup is by the cosine:
    it spreads codes evenly where only a direction counts, but cannot choose among
    lengths, which a squared error pays for.
    """

    def __init__(
        self, codes: int, dimension: int, *, rngs: nnx.Rngs, normalised: bool = False
    ):
        """Makes codes at random; see `start`."""
        self.codes = nnx.Param(normal(rngs.params(), (codes, dimension)))
        self.normalised = normalised

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """See `Quantiser`."""
        return (self.codes.shape[0],)

    def nearest(self, x: jax.Array, price: jax.Array | None = None) -> jax.Array:
        """The codes of vectors.

        Args:
            x: float32[N ... d].
            price: float32[K] or [N ... K], added to the squared distances; None for
                none.

        Returns:
            int32[N ... 1].
        """
        codes = self.codes[...]
        if self.normalised:
            x, codes = _unit(x), _unit(codes)
        cost = (codes**2).sum(-1) - 2.0 * pointwise(x, codes.T)
        if price is not None:
            cost = cost + price
        return jnp.argmin(cost, -1).astype(jnp.int32)[..., None]

    def __call__(self, x: jax.Array, price: jax.Array | None = None) -> Quantised:
        """See `Quantiser` and `nearest`."""
        tokens = self.nearest(jax.lax.stop_gradient(x), price)
        code = self.values(tokens)
        values = code + x - jax.lax.stop_gradient(x)
        loss = ((x - code) ** 2).mean(tuple(range(1, x.ndim)))
        return Quantised(tokens, values, loss)

    def values(self, tokens: jax.Array) -> jax.Array:
        """See `Quantiser`."""
        return jnp.take(self.codes[...], tokens[..., 0], 0)

    def start(self, vectors: np.ndarray, price: float = 0.0, seed: int = 0) -> None:
        """Starts from the means of clusters; see `k_means`."""
        count = self.codes.shape[0]
        self.codes[...] = jnp.asarray(k_means(vectors, count, price, seed))

    def revive(self, vectors: np.ndarray, tokens: np.ndarray, seed: int = 0) -> int:
        """Puts codes that no token names onto vectors that codes serve worst.

        Args:
            vectors: float32[n d].
            tokens: int32[n], their codes.
            seed: for the choice, by the squared distance to the present code.

        Returns:
            How many codes were dead.
        """
        codes = np.array(self.codes[...])
        dead = np.flatnonzero(np.bincount(tokens, minlength=len(codes)) == 0)
        error = ((vectors - codes[tokens]) ** 2).sum(-1).astype(np.float64)
        live = np.flatnonzero(error)[: len(error)]
        if dead.size and live.size:
            chance = error[live] / error[live].sum()
            random = np.random.default_rng(seed)
            codes[dead] = vectors[random.choice(live, dead.size, p=chance)]
            self.codes[...] = jnp.asarray(codes)
        return int(dead.size)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a residual quantiser.

    Attributes:
        tokens: how many a vector has at this layer, one for each of its views.
        codes: K, shared by the views.
        dimension: of the codes; each view is a projection to so many components.
        parts: equal parts of a vector, one after another, that have the same views.
    """

    tokens: int = 1
    codes: int = 512
    dimension: int = 16
    parts: int = 1


class _Projections(nnx.Module):
    """Into and out of the layers' views; named so that training moves them slowly."""

    def __init__(self, channels: int, layers: Sequence[Layer]):
        for number, layer in enumerate(layers):
            width = layer.tokens // layer.parts * layer.dimension
            into = np.eye(channels // layer.parts, width, dtype=np.float32)
            setattr(self, f"enter{number}", nnx.Param(jnp.asarray(into)))
            setattr(self, f"leave{number}", nnx.Param(jnp.asarray(into.T)))


class ResidualQuantiser(nnx.Module):
    """Residual vector quantisation: each layer quantises what those before left.

    A layer sees the residual through one or several views, projections to a few
    components each, and gives a token for each view. A code's price is what its bits
    are worth in squared distance, so that what can be said cheaply is; it depends on
    the kind of the code that the layer before has there.

    Attributes:
        layers: their shapes.
        starts: the first token of each layer, and their number in all.
    """

    def __init__(
        self,
        channels: int,
        layers: Sequence[Layer],
        *,
        rngs: nnx.Rngs,
        kinds: int = 1,
    ):
        """Makes the layers at random; a codec starts them from data.

        Args:
            channels: of the vectors.
            layers: their shapes.
            rngs: random streams.
            kinds: of codes; by the kind of the code before a layer has other prices.
        """
        self.layers = tuple(layers)
        starts = np.cumsum([0, *(layer.tokens for layer in layers)])
        self.starts = tuple(int(start) for start in starts)
        self.klt = _Projections(channels, layers)
        for number, layer in enumerate(layers):
            quantiser = VectorQuantiser(layer.codes, layer.dimension, rngs=rngs)
            setattr(self, f"layer{number}", quantiser)
            price = jnp.zeros((kinds if number else 1, layer.codes))
            setattr(self, f"price{number}", Fixed(price))
            setattr(self, f"kind{number}", Fixed(jnp.zeros((layer.codes,))))

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """See `Quantiser`."""
        return tuple(layer.codes for layer in self.layers for _ in range(layer.tokens))

    def view(self, residual: jax.Array, number: int) -> jax.Array:
        """A layer's views: float32[N ... C] -> float32[N ... tokens dimension]."""
        layer = self.layers[number]
        flat = self._enter(residual, getattr(self.klt, f"enter{number}")[...], number)
        return flat.reshape(*residual.shape[:-1], layer.tokens, layer.dimension)

    def _enter(self, residual: jax.Array, matrix: jax.Array, number: int) -> jax.Array:
        """The views of a layer's parts, float32[N ... tokens * dimension] or parted."""
        parts = self.layers[number].parts
        if parts > 1:
            residual = residual.reshape(*residual.shape[:-1], parts, -1)
        return pointwise(residual, matrix)

    def unview(self, views: jax.Array, number: int) -> jax.Array:
        """What a layer adds: float32[N ... tokens dimension] -> float32[N ... C]."""
        parts = self.layers[number].parts
        shape = views.shape[:-2] if parts == 1 else (*views.shape[:-2], parts)
        matrix = getattr(self.klt, f"leave{number}")[...]
        flat = pointwise(views.reshape(*shape, -1), matrix)
        return flat if parts == 1 else flat.reshape(*views.shape[:-2], -1)

    def __call__(self, x: jax.Array, used: jax.Array | None = None) -> Quantised:
        """Quantises.

        Args:
            x: float32[N ... C].
            used: int32[N], how many layers the values are of (quantiser dropout); all
                if None. Tokens are always those of all layers.

        Returns:
            See `Quantised`; the loss is the mean, over the layers used, of the squares
            of what each leaves in its views.
        """
        total = known = jnp.zeros_like(x)
        loss = jnp.zeros(x.shape[0])
        tokens: list[jax.Array] = []
        for number in range(len(self.layers)):
            # Cut off from the layers before: what they leave is taken as it is.
            residual = x - known
            quantiser = getattr(self, f"layer{number}")
            views = self.view(jax.lax.stop_gradient(residual), number)
            found = quantiser.nearest(views, self._price(number, tokens))
            added = self.unview(quantiser.values(found), number)
            enter = getattr(self.klt, f"enter{number}")[...]
            enter = jax.lax.stop_gradient(enter)
            left = self._enter(residual - added, enter, number)
            kept = self._share(used, number, x)
            loss = loss + kept.ravel() * (left**2).mean(tuple(range(1, left.ndim)))
            total = total + kept * added
            known = known + jax.lax.stop_gradient(added)
            tokens.append(found[..., 0])
        count = len(self.layers) if used is None else used
        values = total + x - jax.lax.stop_gradient(x)
        return Quantised(jnp.concatenate(tokens, -1), values, loss / count)

    def _price(self, number: int, tokens: list[jax.Array]) -> jax.Array:
        """The prices of a layer's codes, float32[K], or by token, [N ... tokens K]."""
        price = getattr(self, f"price{number}")[...]
        if not tokens:
            return price[0]
        kind = getattr(self, f"kind{number - 1}")[...].astype(jnp.int32)
        kinds = jnp.take(kind, tokens[-1], 0)
        more = self.layers[number].tokens // kinds.shape[-1]
        return jnp.take(price, jnp.repeat(kinds, more, -1), 0)

    def values(self, tokens: jax.Array, used: jax.Array | None = None) -> jax.Array:
        """What tokens stand for.

        Args:
            tokens: int32[N ... t]; those of the first layers are enough.
            used: int32[N], how many layers count; all that are there if None.

        Returns:
            float32[N ... C].
        """
        total: jax.Array | None = None
        for number in range(len(self.layers)):
            own = tokens[..., self.starts[number] : self.starts[number + 1]]
            if not own.shape[-1]:
                break
            codes = getattr(self, f"layer{number}").values(own[..., None])
            added = self.unview(codes, number)
            added = self._share(used, number, added) * added
            total = added if total is None else total + added
        if total is None:
            raise ConfigError("0 tokens, expected those of at least one layer")
        return total

    def _share(self, used: jax.Array | None, number: int, like: jax.Array) -> jax.Array:
        """1 where a layer is used and 0 elsewhere, [N 1 ... 1]."""
        shape = (like.shape[0],) + (1,) * (like.ndim - 1)
        if used is None:
            return jnp.ones(shape)
        return (number < used).astype(jnp.float32).reshape(shape)


def _unit(x: jax.Array) -> jax.Array:
    """Vectors of length 1."""
    return x * jax.lax.rsqrt(jnp.maximum((x**2).sum(-1, keepdims=True), 1e-12))
