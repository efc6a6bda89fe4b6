"""The start of a run: networks that code like a plain coder fitted to the data."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import nnx

from codax.codecs.families import family
from codax.coding.checks import check_order
from codax.entropy.trellis import Trellis
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.zoo.cards import find_card
from codax.zoo.weights import read_checkpoint

__all__ = ["adapting_crops", "sample_crops", "start_networks"]

PART = 512
"""Crops that are cut at once."""
ADAPT_CROPS, ADAPT_SIDE, END_CROPS = 128, 256, 512
"""Crops that networks adapt to in a run, their side, and at the end of a phase: as
many as there ever are, they take 400 MB."""


def sample_crops(resident: ResidentSet, count: int, side: int, seed: int) -> np.ndarray:
    """Random parts of the pictures of a set, float32[count side side 3], 0..255."""
    random = np.random.default_rng(seed)
    area = resident.heights.astype(np.float64) * resident.widths
    own = random.choice(len(area), count, p=area / area.sum())
    height, width = resident.heights[own], resident.widths[own]
    places = []
    for size in (height, width):
        begin = random.integers(0, np.maximum(size - side, 0) + 1)
        place = begin[:, None] + np.arange(side)
        places.append(np.minimum(place, size[:, None] - 1))
    rows, columns = places
    lines = resident.offsets[own, None] + rows.astype(np.int64) * width[:, None]
    out = np.empty((count, side, side, 3), np.float32)
    for i in range(0, count, PART):  # of which the memory is of no account
        part = slice(i, i + PART)
        out[part] = resident.flat[lines[part, :, None] + columns[part, None, :]]
    return out


def adapting_crops(
    resident: ResidentSet, stage: str, seed: int, span: int = 1
) -> np.ndarray:
    """Crops that networks adapt to, float32[N S S 3], 0..255.

    Args:
        resident: the pictures.
        stage: see `Trainer.adapt`; at the end there are more.
        seed: others make other crops.
        span: side of a token's square in cells of 16x16 pixels: with large ones a crop
            has few tokens, so that there are more crops.
    """
    count = END_CROPS if stage == "end" else min(ADAPT_CROPS * span**2, END_CROPS)
    return sample_crops(resident, count, ADAPT_SIDE, seed)


def start_networks(config: TrainConfig, resident: ResidentSet) -> Any:
    """Makes a codec's networks and fits their start to the set.

    Returns:
        The `nnx` module, ready to train.

    Raises:
        ModelError: its coding order does not code every latent once, or the checkpoint
            of dependent quantisation is missing or has none.
    """
    model = family(config.codec).networks(config.model, rngs=nnx.Rngs(config.seed))
    check_order(model.prior)
    if config.trellis:
        model.trellis = Trellis.read(
            read_checkpoint(find_card(config.trellis).folder)[0]
        )
    model.start(lambda count, side: sample_crops(resident, count, side, config.seed))
    return model
