"""Small pictures of large files: the synthesis's linear path alone. No JAX.

A lossy codec's picture is a linear transform of its latents, and what networks add to
it (`codax/transforms/autoencoder.py`). Averages over blocks of pixels are linear, too:
a picture of an eighth of the size takes a matrix of 12 columns for each cell, and none
of the networks of the synthesis.

    y / gain(q) -> averages of the transform's pixels -+-> + mean colour -> picture / r
    e * step(q) -> those of the enhancement layer's ---+

What the networks add changes details more than averages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codax.coding.enhancement import ERRORS, FLAGS, Enhancement
from codax.coding.order import CELL, Order
from codax.entropy.tables import ANCHOR_SPACING
from codax.transforms.rates import RateRange

__all__ = ["REDUCTIONS", "Preview"]

REDUCTIONS = {16: 120, 8: 160}
"""Pixels of a side that become one, and the quality in half steps from which on that is
within 1 dB of the decoded picture, reduced (`tests/test_coding_preview.py`)."""
LAST = 180
"""The last such quality of codecs with an enhancement layer: above it most cells have
errors, and those are of the picture that the networks make."""
CODECS = ("factorized", "hyperprior", "channelwise", "quadtree")
"""Families for which that was measured."""
KLT, MEAN, DEVIATION = "g_s/klt", "g_s/mean", "g_s/gain/deviation"
"""Of what is stored with the weights."""


@dataclass(frozen=True)
class Preview:
    """The linear path of a codec.

    Attributes:
        klt: float[M 768], pixels (half row, half column, row, column, colour).
        mean: float[3], the mean colour.
        deviation: float[14 M], of log gains, by quality.
        rates: what the qualities stand for.
        unit: of decoded latents, in a step.
        enhancement: the codec's layer; None without one.
    """

    klt: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    rates: RateRange
    unit: int
    enhancement: Enhancement | None

    @classmethod
    def load(
        cls,
        packed: Mapping[str, np.ndarray],
        card: Mapping[str, Any],
        order: Order,
        enhancement: Enhancement | None,
    ) -> Preview | None:
        """The linear path among stored arrays; None of a codec without such a one.

        Args:
            packed: stored arrays.
            card: the checkpoint's card.
            order: the coding order.
            enhancement: the codec's layer; None without one.
        """
        transforms = card.get("config", {}).get("transforms", {})
        known = {"lmbda_low", "lmbda_high", "front", "side_path"} <= transforms.keys()
        if card["codec"] not in CODECS or not known or not transforms["side_path"]:
            return None
        if transforms["front"] != "space-to-depth":
            return None
        return cls(
            packed[KLT],
            packed[MEAN],
            packed[DEVIATION],
            RateRange(low=transforms["lmbda_low"], high=transforms["lmbda_high"]),
            order.sources["y"].unit,
            enhancement,
        )

    def reductions(self, quality: int) -> tuple[int, ...]:
        """By how much pictures of a file's quality, in half steps, can be reduced."""
        if self.enhancement is not None and quality > LAST:
            return ()
        return tuple(r for r, first in REDUCTIONS.items() if quality >= first)

    def picture(
        self,
        latents: Mapping[str, np.ndarray],
        size: tuple[int, int],
        reduction: int,
        quality: int,
    ) -> np.ndarray:
        """The reduced picture, uint8[ceil(H/r) ceil(W/r) 3].

        Args:
            latents: `y` integers[h w M], and those of the enhancement layer.
            size: H and W of the whole picture.
            reduction: r, one of `reductions`.
            quality: half steps 0..200, as networks are told.
        """
        side = CELL // reduction
        h, w = latents["y"].shape[:2]
        found = np.empty((h, w, side * side * 3), np.float32)
        # The last row and the last column of cells may have fewer pixels.
        for rows, high in _parts(size[0]):
            for columns, wide in _parts(size[1]):
                own = {name: value[rows, columns] for name, value in latents.items()}
                pixels = side, high, wide
                found[rows, columns] = self._cells(own, quality, pixels)
        found = found.reshape(h, w, side, side, 3).transpose(0, 2, 1, 3, 4)
        found = found.reshape(h * side, w * side, 3) + self.mean
        ends = [-(-length // reduction) for length in size]
        return np.clip(np.round(found[: ends[0], : ends[1]]), 0, 255).astype(np.uint8)

    def _cells(
        self,
        latents: Mapping[str, np.ndarray],
        quality: int,
        pixels: tuple[int, int, int],
    ) -> np.ndarray:
        """Averages of cells less the mean colour, float32[h w K]; see `_averages`."""
        klt = self.klt.reshape(-1, 2, 2, 8, 8, 3).transpose(0, 1, 3, 2, 4, 5)
        unit = (self._gain(quality) * self.unit)[:, None]
        cells = latents["y"].astype(np.float32) @ (_averages(klt, *pixels) / unit)
        layer = self.enhancement
        if layer is not None:
            where = np.nonzero(latents[FLAGS][..., 0])
            own = latents[ERRORS][where].astype(np.float32)
            rows = _averages(layer.matrix.T, *pixels) * (layer.steps[quality] / 16.0)
            cells[where] += own @ rows
        return cells

    def _gain(self, quality: int) -> np.ndarray:
        """Latent steps per unit of the transform, float32[M]."""
        row, rest = divmod(quality, ANCHOR_SPACING)
        low, high = self.deviation[row : row + 2].astype(np.float32)
        mixed = low + (high - low) * np.float32(rest / ANCHOR_SPACING)
        return np.exp(mixed) * np.float32(self.rates.gain(quality))


def _parts(side: int) -> list[tuple[slice, int]]:
    """Cells along a side: those that are whole and the last, with their pixels."""
    whole, rest = divmod(side, CELL)
    parts = [(slice(0, whole), CELL), (slice(whole, whole + 1), rest)]
    return [(cells, pixels) for cells, pixels in parts if pixels and cells.stop]


def _averages(columns: np.ndarray, side: int, high: int, wide: int) -> np.ndarray:
    """What columns of pixels are on average in side x side parts of a cell.

    Args:
        columns: float[K ...] with 768 pixels (row, column, colour) each.
        side: parts of a side.
        high: rows of the cell that belong to the picture; others do not count.
        wide: columns, likewise.

    Returns:
        float32[K, side * side * 3].
    """
    shares = []
    for own in (high, wide):
        inside = (np.arange(CELL) < own).astype(np.float32).reshape(side, -1)
        shares.append(inside / np.maximum(inside.sum(1, keepdims=True), 1.0))
    blocks = columns.reshape(-1, side, CELL // side, side, CELL // side, 3)
    found = np.einsum("kiajbc,ia,jb->kijc", blocks.astype(np.float32), *shares)
    return found.reshape(len(columns), -1)
