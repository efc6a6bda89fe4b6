"""`fsq`: finite scalar quantisation; tokens that are also a file.

    x -> g_a -> bound -> digits -----------> four steps -> y_hat -> g_s -> x_hat
                           | -> h_a -> z -> h_s ---^

Every latent is a digit of an alphabet of its own channel: many levels for the first
components of the transform, few for the last. Training is that of any other codec,
rate plus distortion; the prior is that of `quadtree`, and each digit is coded by the
table of its scale and of its mean's fraction, on its grid. So the digits are the tokens
of a picture, and a file holds them at the price that the prior sets.

Coding order: z by static tables; features = h_s(z); then the digits in the four steps
of `quadtree`.

Source: Mentzer et al. 2023 (finite scalar quantisation), whose bound is a tanh and
whose digits are coded at fixed length; clip and entropy model are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.autoencoder import Autoencoder
from codax.codecs.quadtree import QUARTERS, QuadtreeConfig, QuadtreePrior
from codax.coding.order import Step
from codax.entropy.densities import GridShape
from codax.entropy.exact import half_up, inward_clip
from codax.entropy.quantisers import FiniteScalar
from codax.entropy.tables import FRACTIONS, GRID_SCALES
from codax.entropy.training import DigitSource, Source, StaticSource
from codax.errors import ConfigError

__all__ = ["FsqConfig", "FsqPrior", "fsq"]

INDEX_FACTOR = 157.0 / 256.0
"""Steps of the grid tables in one of the scale tables; index 0 is one scale in both: a
logistic of 0.06 is about a Gaussian of 0.11."""


@dataclass(frozen=True, kw_only=True)
class FsqConfig(QuadtreeConfig):
    """Widths of an `fsq` codec."""

    sizes: tuple[int, ...] = (511, 255, 127, 63, 31)
    """Sizes of the alphabets, odd, of groups of channels."""
    ends: tuple[int, ...] = (1, 4, 16, 64)
    """Where the groups end, but for the last."""

    def __post_init__(self) -> None:
        """Checks the alphabets."""
        super().__post_init__()
        if any(size < 3 or size % 2 == 0 for size in self.sizes):
            raise ConfigError(f"sizes: got {self.sizes}, expected odd ones from 3")
        if len(self.sizes) != len(self.ends) + 1:
            raise ConfigError(
                f"sizes: got {len(self.sizes)}, expected {len(self.ends) + 1}, one "
                "more than ends"
            )

    @property
    def alphabets(self) -> tuple[int, ...]:
        """The size of each channel's alphabet."""
        channel = np.arange(self.transforms.latents)
        group = np.searchsorted(np.asarray(self.ends), channel, side="right")
        return tuple(int(size) for size in np.asarray(self.sizes)[group])


class FsqPrior(QuadtreePrior):
    """The prior of `quadtree`, with digits in place of residuals."""

    def __init__(self, config: FsqConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        super().__init__(config, rngs=rngs)
        del self.shape
        self.grid_shape = GridShape()
        self.alphabets = config.alphabets

    @property
    def sources(self) -> dict[str, Source]:
        """By target of a coding step, how its latents are coded."""
        return {
            "y": DigitSource(density=self.grid_shape),
            "z": StaticSource(tables="z", density=self.z_density),
        }

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        own = super().output_channels(step)
        return (*own, own[0]) if step.coded else own

    def heads(self, step: int, x, quality, extent, *, exact=True):
        """Mean in eighths, scale index and largest digit, float32[N h w M/4] each."""
        mean, index = super().heads(step, x, quality, extent, exact=exact)
        _, h, w, _ = mean.shape
        half = (np.asarray(self.alphabets, np.float32) - 1.0) / 2.0
        cell = half.reshape(4, -1)[np.asarray(QUARTERS[step])].reshape(2, 2, -1)
        largest = jnp.tile(jnp.asarray(cell), (h // 2, w // 2, 1))
        # From sixteenths to eighths, and from one spacing of scales to the other.
        mean, index = mean * 0.5, index * INDEX_FACTOR
        if exact:
            mean, index = half_up(mean), half_up(index)
        mean = inward_clip(mean, -FRACTIONS * largest, FRACTIONS * largest)
        index = inward_clip(index, 0.0, GRID_SCALES - 1.0)
        return mean, index, jnp.broadcast_to(largest, mean.shape)


class FsqNetworks(Autoencoder):
    """The transforms of the house around digits."""

    def __init__(self, config: FsqConfig, *, rngs: nnx.Rngs):
        """Makes the networks."""
        prior = FsqPrior(config, rngs=rngs)
        hyper = (config.hyper, config.side)
        super().__init__(config.transforms, prior, rngs=rngs, hyper=hyper)
        self.quantiser = FiniteScalar(config.alphabets)

    def latents(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """What is quantised: y within the alphabets, float32[N h w M]."""
        return self.quantiser.bound(self.g_a(x, quality, extent))

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Latents of pictures float32[N H W 3] 0..255, sides multiples of 64."""
        y = self.latents(x, quality, extent)
        return {"y": y, "z": self.h_a(y, quality)}

    # The tokenizer's face, see `codax.face.tokens`.

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Sizes of the vocabularies of a cell's tokens."""
        return self.quantiser.vocabulary

    def token_counts(self) -> tuple[int, ...]:
        """How many tokens a cell may have."""
        return (len(self.vocabulary),)

    def tokens(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Tokens int32[N h w M] of pictures float32[N 16h 16w 3]."""
        return self.quantiser(self.latents(x, quality, extent)).tokens

    def picture(
        self, tokens: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of tokens."""
        return self.synthesis({"y": self.quantiser.values(tokens)}, quality, extent)


def fsq(config: FsqConfig, *, rngs: nnx.Rngs) -> FsqNetworks:
    """Makes the codec's networks."""
    return FsqNetworks(config, rngs=rngs)
