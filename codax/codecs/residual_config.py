"""What configurations of codecs with a residual quantiser say, and what they check."""

from __future__ import annotations

from typing import Protocol

from codax.entropy.quantisers import Layer
from codax.errors import ConfigError
from codax.transforms.autoencoder import TransformWidths
from codax.transforms.rates import MIDDLE_QUALITY

__all__ = ["ResidualConfig", "check_quarters", "price_of_bits"]


class ResidualConfig(Protocol):
    """What the configuration of such a codec says."""

    @property
    def transforms(self) -> TransformWidths:
        """Widths of the transforms."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the quantiser, never shallower than the one before."""

    @property
    def groups(self) -> int:
        """Layers in a row that share the components of one residual among them."""

    @property
    def span(self) -> int:
        """Side of the square that a vector stands for, in cells of 16x16: 1, 2 or 4."""

    @property
    def components(self) -> int:
        """Of y, how many of each cell a vector has."""

    def worth(self, layer: int) -> float:
        """What a bit of a layer is worth, in squared latent steps."""


def price_of_bits(
    transforms: TransformWidths, first: float, last: float, share: float
) -> float:
    """What a bit is worth, in squared latent steps.

    Args:
        transforms: of the codec.
        first: squared pixel levels that a bit is worth at the first layer.
        last: the same at the last.
        share: of the way from first to last, 0 to 1.
    """
    levels = first ** (1 - share) * last**share
    return levels * float(transforms.rates.gain(MIDDLE_QUALITY)) ** 2


def check_quarters(transforms: TransformWidths) -> None:
    """Checks that layers of quarters have pixels to start from.

    Raises:
        ConfigError: another front.
    """
    if transforms.front != "space-to-depth":
        raise ConfigError(
            f"transforms.front: got {transforms.front!r}, expected 'space-to-depth', "
            "since layers of quarters start from their pixels"
        )
