"""Networks over pictures of any size, tile by tile, whatever evaluates them. No JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from codax.coding.order import CELL, Order, Run, State, Step, extent
from codax.coding.reversible import run_whole
from codax.coding.telling import part
from codax.coding.tiles import run_tiles

__all__ = ["Network", "analyse", "running", "synthesise", "telling_run"]

Network = Callable[..., tuple[np.ndarray, ...]]
"""`(*windows, extent) -> arrays`, of one tile."""


def running(
    order: Order,
    size: tuple[int, int],
    network_of: Callable[[Step], tuple[Network, Sequence[int]]],
    buckets: tuple[int, ...],
    shifts: Mapping[str, int] | None,
) -> Run:
    """What evaluates the steps of the coding order for a picture.

    Args:
        order: the codec's.
        size: rows and columns of the picture.
        network_of: gives a step's network, and the channels of the arrays that it
            gives; not asked of steps that NumPy evaluates, by `Step.whole`.
        buckets: sides of tiles in cells of 1/16.
        shifts: by array, how many low bits of its values are not in the state; None for
            none.
    """

    def run(
        step: Step, state: State, where: np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        if step.whole:
            return (run_whole(order, step, state, *size, shifts or {}),)
        network, channels = network_of(step)
        stride = order.strides[step.target]
        whole = (1, *order.padded(*size, step.target))
        shape = whole if where is None else (np.count_nonzero(where),)
        outputs = [np.zeros((*shape, c), np.float32) for c in channels]
        run_tiles(
            network,
            [(state[name], order.strides[name]) for name in step.reads],
            [(array, stride) for array in outputs],
            extent(*size),
            step.halo,
            buckets,
            where=where,
        )
        return tuple(outputs)

    return run


def analyse(
    order: Order,
    rgb: np.ndarray,
    names: Sequence[str],
    network: Network,
    halo: int,
    buckets: tuple[int, ...],
) -> dict[str, np.ndarray]:
    """Latents of a picture, by target float32[1 h w C] in steps, on padded grids.

    Args:
        order: the codec's.
        rgb: uint8[H W 3].
        names: the targets, in the order in which the network gives them.
        network: of a window of it, uint8[1 h w 3], and an extent.
        halo: how far it looks, in cells of 1/16.
        buckets: sides of tiles in such cells.
    """
    shapes = order.shapes(*rgb.shape[:2])
    outputs = {name: np.zeros(shapes[name], np.float32) for name in names}
    run_tiles(
        network,
        [(rgb[None], float(CELL))],
        [(outputs[name], order.strides[name]) for name in outputs],
        extent(*rgb.shape[:2]),
        halo,
        buckets,
        edge=True,
    )
    return outputs


def synthesise(
    order: Order,
    latents: Mapping[str, np.ndarray],
    size: tuple[int, int],
    network: Network,
    halo: int,
    buckets: tuple[int, ...],
) -> np.ndarray:
    """A picture, uint8[H W 3].

    Args:
        order: the codec's.
        latents: those that the network reads, in turn, int32[h w C] in the units of
            their sources.
        size: rows and columns of the picture.
        network: of windows of the latents and an extent, uint8[1 H W 3].
        halo: how far it looks, in cells of 1/16.
        buckets: sides of tiles in such cells.
    """
    out = np.zeros((1, *size, 3), np.uint8)
    run_tiles(
        network,
        [(value[None], order.strides[name]) for name, value in latents.items()],
        [(out, float(CELL))],
        extent(*size),
        halo,
        buckets,
    )
    return out[0]


def telling_run(run: Run, steps: Sequence[Step], low: float, high: float) -> Run:
    """What evaluates the networks of steps, each the same part of `low` to `high`."""
    names = [step.name for step in steps if step.network is not None]
    share = (high - low) / max(len(names), 1)

    def told(
        step: Step, state: State, where: np.ndarray | None
    ) -> tuple[np.ndarray, ...]:
        begin = low + share * names.index(step.name)
        with part(begin, begin + share):
            return run(step, state, where)

    return told
