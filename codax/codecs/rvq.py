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

from flax import nnx

from codax.codecs.residual import ResidualNetworks
from codax.codecs.residual_config import check_quarters, price_of_bits
from codax.entropy.quantisers import Layer
from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths

__all__ = ["RvqConfig", "rvq"]


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
        check_quarters(self.transforms)

    @property
    def span(self) -> int:
        """A vector stands for one cell of 16x16 pixels."""
        return 1

    @property
    def components(self) -> int:
        """All of a cell's."""
        return self.transforms.latents

    @property
    def groups(self) -> int:
        """Each layer sees all of the residual."""
        return 1

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
        return price_of_bits(self.transforms, self.dear, self.cheap, share)


def rvq(config: RvqConfig, *, rngs: nnx.Rngs) -> ResidualNetworks:
    """Makes the codec's networks."""
    return ResidualNetworks(config, rngs=rngs)
