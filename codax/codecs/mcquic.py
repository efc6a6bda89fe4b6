"""`mcquic`: a cascade of multi-codebook quantisers over three levels.

    x -> g_a -> y -> 1/32 -> 1/16 -> 1/8 -> tokens
                      |       |       |
                    codes + codes + codes -> y_hat -> g_s -> x_hat

Each level quantises what the coarser ones left: a vector of 32x32 pixels, then those of
its four cells of 16x16, then those of their quarters of 8x8. A level has one or several
stages; a stage parts its components among some books, each with codes of its own, and
gives a token for each book. So a code of a stage is a product of small ones. Files can
be cut after any book.

Coding order, contexts and prices are those of `codax/codecs/residual.py`, tables by
level, book and context.

Source: Zhu et al. 2022 (McQuic: multivariate Gaussian mixtures, cascaded multi-codebook
quantisation), whose levels are networks of their own at 1/16, 1/32 and 1/64, whose
codes are drawn by Gumbel-softmax and whose indices are all but incompressible. Here
levels are linear views of one analysis, codes are chosen by distance and price, and
several stages share a level.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from codax.codecs.residual import ResidualNetworks
from codax.codecs.residual_config import check_quarters, price_of_bits
from codax.entropy.quantisers import Layer
from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths

__all__ = ["McquicConfig", "mcquic"]

SHAPES = ((1, 1), (4, 4), (16, 4))
"""Of each level, tokens of a vector for a book, and how many parts have them."""


@dataclass(frozen=True, kw_only=True)
class McquicConfig:
    """Widths of an `mcquic` codec."""

    transforms: TransformWidths = field(default_factory=TransformWidths)
    books: int = 2
    """Of each stage."""
    stages: tuple[int, ...] = (1, 1, 4)
    """Stages at 1/32, 1/16 and 1/8."""
    level_codes: tuple[int, ...] = (256, 512, 512)
    """Of a book, by level."""
    level_dimensions: tuple[int, ...] = (8, 12, 16)
    """Of a book's codes, by level."""
    dear: float = 1200.0
    cheap: float = 300.0
    """Squared pixel levels that a bit is worth, at the first and the last stage."""

    def __post_init__(self) -> None:
        """Checks books, levels and transforms."""
        if self.books < 1:
            raise ConfigError(f"books: got {self.books}, expected at least 1")
        for name in ("stages", "level_codes", "level_dimensions"):
            value = getattr(self, name)
            if len(value) != len(SHAPES) or min(value) < 1:
                raise ConfigError(
                    f"{name}: got {value}, expected {len(SHAPES)} from 1, one for each "
                    "level"
                )
        check_quarters(self.transforms)

    @property
    def span(self) -> int:
        """A vector stands for two by two cells of 16x16 pixels."""
        return 2

    @property
    def components(self) -> int:
        """All of a cell's."""
        return self.transforms.latents

    @property
    def groups(self) -> int:
        """The books of a stage share its residual."""
        return self.books

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the quantiser: a book each."""
        return tuple(
            Layer(tokens=tokens, codes=codes, dimension=dimension, parts=parts)
            for (tokens, parts), stages, codes, dimension in zip(
                SHAPES,
                self.stages,
                self.level_codes,
                self.level_dimensions,
                strict=True,
            )
            for _ in range(stages * self.books)
        )

    def worth(self, layer: int) -> float:
        """What a bit of a book is worth, in squared latent steps."""
        share = layer // self.books / (sum(self.stages) - 1)
        return price_of_bits(self.transforms, self.dear, self.cheap, share)


def mcquic(config: McquicConfig, *, rngs: nnx.Rngs) -> ResidualNetworks:
    """Makes the codec's networks."""
    return ResidualNetworks(config, rngs=rngs)
