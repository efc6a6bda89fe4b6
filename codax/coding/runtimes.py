"""What evaluates a codec's networks: what the runtimes of ONNX and of JAX both do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from codax.coding.order import Run

__all__ = ["Runtime"]


class Runtime(Protocol):
    """What evaluates a codec's networks on pictures of any size."""

    @property
    def vocabulary(self) -> tuple[int, ...] | None:
        """Sizes of the vocabularies of a cell's tokens; None of a codec without."""

    @property
    def latent_channels(self) -> int | None:
        """Channels of latents to learn on; None of a codec without."""

    @property
    def synthesis_reads(self) -> tuple[str, ...]:
        """The latents that the synthesis needs."""

    @property
    def batch(self) -> int:
        """Pictures at a time that are fast here."""

    @property
    def synthesis_halo(self) -> int:
        """How far the synthesis looks, in cells of 1/16."""

    @property
    def token_counts(self) -> tuple[int, ...] | None:
        """How many tokens a cell may have; None of a codec without."""

    def steps(
        self,
        height: int,
        width: int,
        quality: int,
        *,
        shifts: Mapping[str, int] | None = None,
    ) -> Run:
        """What evaluates a step's exact network, see `Networks.steps`."""

    def analyse(self, rgb: np.ndarray, quality: int) -> dict[str, np.ndarray]:
        """Latents of a picture uint8[H W 3], by target, on padded grids."""

    def synthesise(
        self, latents: dict[str, np.ndarray], height: int, width: int, quality: int
    ) -> np.ndarray:
        """The picture, uint8[H W 3], of decoded latents."""
