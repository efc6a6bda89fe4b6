"""The start of a run: networks that code like a transform coder fitted to the data."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import nnx

from codax.codecs.families import family
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.transforms.klt import block_order, fit_klt

__all__ = ["sample_blocks", "sample_crops", "start_networks"]

BLOCKS = 40_000


def sample_crops(resident: ResidentSet, count: int, size: int, seed: int) -> np.ndarray:
    """Random crops, uint8[count size size 3]; edges of small pictures repeat."""
    random = np.random.default_rng(seed)
    area = resident.heights.astype(np.float64) * resident.widths
    pictures = random.choice(len(area), count, p=area / area.sum())
    out = np.empty((count, size, size, 3), np.uint8)
    for i, p in enumerate(pictures):
        h, w, start = resident.heights[p], resident.widths[p], resident.offsets[p]
        top, left = random.integers(0, [max(h - size, 0) + 1, max(w - size, 0) + 1])
        rows = np.minimum(np.arange(top, top + size), h - 1)
        columns = np.minimum(np.arange(left, left + size), w - 1)
        out[i] = resident.flat[start + rows[:, None] * w + columns]
    return out


def sample_blocks(resident: ResidentSet, count: int, seed: int) -> np.ndarray:
    """Random 16x16x3 blocks of a set, float32[count 768], (row, column, channel)."""
    crops = sample_crops(resident, count, 16, seed)
    return crops.astype(np.float32).reshape(count, 768)


def start_networks(config: TrainConfig, resident: ResidentSet) -> Any:
    """Makes a codec's networks and sets the transform coder into them.

    Returns:
        The `nnx` module, ready to train.
    """
    model = family(config.codec).networks(config.model, rngs=nnx.Rngs(config.seed))
    latents = config.model.transforms.latents
    blocks = sample_blocks(resident, BLOCKS, config.seed)
    colour, matrix, std = fit_klt(blocks, latents)
    model.set_transform_coder(colour, matrix, matrix.T[:, block_order()], std)
    return model
