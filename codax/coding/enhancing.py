"""An encoder's choice of the cells that an enhancement layer codes. No JAX.

Which errors are worth their bits is known when they have been coded: all that may be
are tried. Coefficients are kept of such cells alone, which are few in most pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codax.coding.costs import cost_maps
from codax.coding.enhancement import ERRORS, FLAGS, pays
from codax.coding.order import Order, State, steps_of
from codax.entropy.coder import CostMeter, TableSet

__all__ = ["worth"]

PART = 4096
"""Cells that are tried at a time, for which 200 MB are enough."""


class _Meter(CostMeter):
    """Notes what steps cost by position where that is known."""

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Notes the cost of a part of a step, of rounds only their sum."""
        super().put(symbols, index, tables)
        if symbols.ndim > 1:
            self.bits[-1] = self.bits[-1].sum(0, keepdims=True)


def worth(
    order: Order,
    size: tuple[int, int],
    where: np.ndarray,
    value: np.ndarray,
    code: Callable[..., State],
    known: State,
) -> tuple[dict[str, np.ndarray], State]:
    """The latents of a layer: errors and flags of the cells that are worth it.

    Args:
        order: the codec's.
        size: rows and columns of the picture.
        where: bool[h w], the cells that may be.
        value: float32[n 768], their coefficients in steps.
        code: codes latents of the layer, `(latents, sinks, known=) -> state`.
        known: what a decoder has by then.

    Returns:
        Latents by name, float32[1 h w C] on padded grids; and what is known, with what
        was derived to find out.
    """
    latents = _latents(order, size, where, value)
    if not where.any():
        return latents, known
    meter = _Meter()
    state = code(latents, [meter], known=known, most=PART)
    steps = steps_of(order, 1)
    maps = cost_maps(steps, meter.bits, state, order.extents(*size))
    rows, columns = where.nonzero()
    kept = state[ERRORS][0, rows, columns] / np.float32(16.0)
    bits = {name: bits[where] for name, bits in maps.items()}
    paid = pays(value, kept, bits)
    chosen = where.copy()
    chosen[where] = paid
    derived = {step.target for step in steps if not step.coded}
    known = known | {name: state[name] for name in derived}
    return _latents(order, size, chosen, value[paid]), known


def _latents(
    order: Order, size: tuple[int, int], where: np.ndarray, value: np.ndarray
) -> dict[str, np.ndarray]:
    """Errors of some cells, and flags that say which, on padded grids."""
    shapes: dict[str, Any] = order.shapes(*size)
    found = {name: np.zeros(shapes[name], np.float32) for name in (ERRORS, FLAGS)}
    rows, columns = where.nonzero()
    found[ERRORS][0, rows, columns] = value
    found[FLAGS][0, rows, columns] = 1.0
    return found
