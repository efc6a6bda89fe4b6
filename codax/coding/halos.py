"""How far a step's network looks, measured: its halo must cover that."""

from __future__ import annotations

from math import ceil

import jax
import numpy as np

from codax.coding.order import Step
from codax.coding.rate import Prior
from codax.errors import ModelError

__all__ = ["check_halos", "reach"]

MARGIN = 4
"""Cells beyond the halo, on each side, that are looked at."""
SIZES = {True: 48, False: 200}
"""About how large the integers of latents and of derived arrays are that it is tried
with, by whether they are coded."""


def check_halos(prior: Prior) -> None:
    """Checks that every step's halo covers what its network looks at.

    Takes seconds, since networks are compiled: for exports and tests.

    Raises:
        ModelError: one looks further; the message names the step.
    """
    for step in prior.steps:
        if step.network is None or step.whole:
            continue
        far = reach(prior, step)
        if far > step.halo:
            raise ModelError(
                f"step {step.name}: its network looks {far} cells far, more than its "
                f"halo of {step.halo}; large pictures, in tiles, would not decode"
            )


def reach(prior: Prior, step: Step) -> int:
    """Cells of 1/16 that a step's outputs look beyond their own.

    One cell's inputs are changed at random, in the float twin of the network, and what
    changes elsewhere is counted: a network may be found to look less far than it could,
    never further than it does. At most 4 cells beyond the halo are seen.

    Args:
        prior: the codec's.
        step: one with a network.
    """
    random = np.random.default_rng(0)
    side = 4 * ceil((2 * (step.halo + MARGIN) + 1) / 4)
    centre = side // 2
    # A cell of a grid coarser than 1/16 is changed whole.
    block = max(1, *(int(1 / prior.strides[name]) for name in step.reads))
    centre -= centre % block
    before, after = [], []
    for name in step.reads:
        stride, size = prior.strides[name], SIZES[name in prior.sources]
        length = int(side * stride)
        shape = (1, length, length, prior.channels[name])
        value = np.round(random.normal(0, size, shape)).astype(np.float32)
        other = np.round(random.normal(0, size, shape)).astype(np.float32)
        inside = np.zeros((length, length, 1), bool)
        part = slice(int(centre * stride), ceil((centre + block) * stride))
        inside[part, part] = True
        before.append(value)
        after.append(np.where(inside, other, value))
    quality = np.array([100], np.int32)
    call = jax.jit(lambda *reads: step.function(prior, *reads, exact=False))
    extent = np.array([side, side], np.int32)
    far = 0
    for one, two in zip(
        call(*before, quality, extent), call(*after, quality, extent), strict=True
    ):
        changed = np.abs(np.asarray(one) - np.asarray(two)).max((0, 3)) > 1e-4
        stride = prior.strides[step.target]
        for axis in (0, 1):
            places = np.flatnonzero(changed.any(1 - axis)) / stride
            if len(places):
                low, high = np.floor(places.min()), np.floor(places.max())
                far = max(far, int(centre - low), int(high - (centre + block - 1)))
    return far
