"""Where the bits of a stream go: what meters noted, by step and position. No JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from codax.coding.order import State, Step

__all__ = ["cost_maps"]


def cost_maps(
    steps: Sequence[Step],
    every: Sequence[np.ndarray],
    state: State,
    extents: Mapping[str, tuple[int, int]],
) -> dict[str, np.ndarray]:
    """What coded steps cost by position, by step float64[rows columns].

    Args:
        steps: those of a coding order.
        every: bits of the symbols of each step that coded any, in turn.
        state: what was coded.
        extents: by target, the rows and columns that are coded.
    """
    found = {}
    left = iter(every)
    for step in steps:
        # Layers that the quality does not have, the chroma of a grey picture.
        if not step.coded or not step.applies(state):
            continue
        sides = extents[step.target]
        where = step.positions(state, *sides)
        own = np.ones(sides, bool) if where is None else where
        bits = next(left, None) if own.any() else np.zeros(0)
        if bits is None:
            break
        found[step.name] = np.zeros(own.shape)
        # Rounds are rows of one channel each; other steps list by position.
        sums = bits.sum(0) if bits.ndim > 1 else bits.reshape(own.sum(), -1).sum(-1)
        found[step.name][own] = sums
    return found
