"""`prefix`: a picture as a row of tokens of each tile, any beginning of which decodes.

    x -> g_a -> y -> tile -> token 0 -> token 1 -> ... -> token L-1
                               |          |
                             code   +   code   + ...  -> y_hat -> g_s -> x_hat

A vector holds the leading components of y of a tile of 64x64 pixels, four by four
cells. Every token is about the whole tile: it quantises what the tokens before it left,
along the directions in which that has most, from coarse to fine. So the first N tokens
of all tiles are a picture for every N; training draws N at random for every sample, and
the synthesis knows it. Files hold the tokens of all tiles rank by rank, and can be cut
after any rank: `codax truncate --tokens N`.

Coding order, contexts and prices are those of `codax/codecs/residual.py`, with a layer
of one token for each rank.

Source: Miwa et al. 2025 (One-D-Piece: tail token drop); Rippel et al. 2014 (nested
dropout). There a transformer's tokens are of a whole picture of 256x256, ordered by
training alone; here a tile's tokens start in the order of its residual's energy, and
pictures have any size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from codax.codecs.residual import ResidualNetworks
from codax.codecs.residual_config import price_of_bits
from codax.entropy.quantisers import Layer
from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths

__all__ = ["PrefixConfig", "prefix"]

MOST_TOKENS = 200
"""As many as there are qualities above 0 in half steps."""


@dataclass(frozen=True, kw_only=True)
class PrefixConfig:
    """Widths of a `prefix` codec."""

    transforms: TransformWidths = field(default_factory=TransformWidths)
    length: int = 32
    """Tokens of a tile."""
    tile_codes: int = 512
    """Codes of a rank."""
    tile_dimension: int = 8
    """Of the codes."""
    tile_components: int = 24
    """Of y, how many of each cell of 16x16 the tokens are about."""
    dear: float = 2000.0
    cheap: float = 800.0
    """Squared pixel levels that a bit is worth, at the first and the last token."""

    def __post_init__(self) -> None:
        """Checks the numbers of tokens and components."""
        if not 2 <= self.length <= MOST_TOKENS:
            raise ConfigError(
                f"length: got {self.length}, expected 2 to {MOST_TOKENS} tokens"
            )
        if not 1 <= self.tile_components <= self.transforms.latents:
            raise ConfigError(
                f"tile_components: got {self.tile_components}, expected 1 to "
                f"{self.transforms.latents}, the latents"
            )

    @property
    def span(self) -> int:
        """A tile has four by four cells of 16x16 pixels."""
        return 4

    @property
    def components(self) -> int:
        """The leading ones of a cell."""
        return self.tile_components

    @property
    def groups(self) -> int:
        """Each token sees all of the residual."""
        return 1

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the quantiser: a token each."""
        own = Layer(codes=self.tile_codes, dimension=self.tile_dimension)
        return (own,) * self.length

    def worth(self, layer: int) -> float:
        """What a bit of a token is worth, in squared latent steps."""
        share = layer / (self.length - 1)
        return price_of_bits(self.transforms, self.dear, self.cheap, share)


def prefix(config: PrefixConfig, *, rngs: nnx.Rngs) -> ResidualNetworks:
    """Makes the codec's networks."""
    return ResidualNetworks(config, rngs=rngs)
