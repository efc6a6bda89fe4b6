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
        every: bits of the symbols of each step that coded any, in turn, whole or in
            parts: [n * k] by position, or [k n].
        state: what was coded.
        extents: by target, the rows and columns that are coded.
    """
    found: dict[str, np.ndarray] = {}
    left = iter(every)
    for step in steps:
        # Layers that the quality does not have, the chroma of a grey picture.
        if not step.coded or not step.applies(state):
            continue
        sides = extents[step.target]
        where = step.positions(state, *sides)
        own = np.ones(sides, bool) if where is None else where
        width = step.width(state[step.target].shape[-1])
        count, sums = np.count_nonzero(own), [np.zeros(0)]
        while sum(map(len, sums)) < count:
            bits = next(left, None)
            if bits is None:
                return found
            # Rounds are rows of one channel each; other steps list by position.
            rounds = bits.ndim > 1
            sums.append(bits.sum(0) if rounds else bits.reshape(-1, width).sum(-1))
        found[step.name] = np.zeros(own.shape)
        found[step.name][own] = np.concatenate(sums)
    return found
