"""Few shapes for pictures of any size: buckets for small ones, tiles for large ones.

A side of the grid at 1/16 that fits a bucket is padded up to it; a longer side is cut
into tiles that overlap by twice the halo, of the bucket that wastes least. With halos
that are multiples of 4 tiles begin at such multiples, so that coarser grids (1/32,
1/64) line up. Because the exact networks are local and obey the edge rule, their
results do not depend on any of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from codax.coding.telling import tell
from codax.errors import ConfigError

__all__ = [
    "BUCKETS",
    "Span",
    "check_buckets",
    "inside",
    "kept",
    "run_tiles",
    "spans",
    "tiles",
    "window",
]

BUCKETS = (8, 16, 32, 48, 64)
"""Sides in cells of 1/16; multiples of 4."""


@dataclass(frozen=True)
class Span:
    """One tile along one side, in cells of 1/16.

    Attributes:
        begin: first cell of the tile.
        size: its length.
        low: first cell of the part that is kept.
        high: one past the last such cell.
    """

    begin: int
    size: int
    low: int
    high: int


def check_buckets(buckets: tuple[int, ...], halo: int) -> None:
    """Checks that a list of buckets can hold any picture.

    Args:
        buckets: sides in cells of 1/16.
        halo: the largest halo of a codec's networks.

    Raises:
        ConfigError: they are no rising multiples of 4, or the largest leaves nothing of
            a tile after the halo on both sides.
    """
    if not buckets or list(buckets) != sorted({b for b in buckets if b > 0}):
        raise ConfigError(f"buckets: got {buckets}, expected rising positive sides")
    if any(bucket % 4 for bucket in buckets):
        raise ConfigError(f"buckets: got {buckets}, expected multiples of 4")
    if buckets[-1] < 2 * halo + 4:
        raise ConfigError(
            f"buckets: the largest is {buckets[-1]}, expected at least "
            f"{2 * halo + 4}: tiles overlap by {halo} cells on each side"
        )


def spans(side: int, halo: int, buckets: tuple[int, ...] = BUCKETS) -> list[Span]:
    """Cuts a side into tiles.

    Args:
        side: cells, 1 or more.
        halo: how far the network looks; a multiple of 4 where coarser grids take part.
        buckets: lengths that may be used, rising.

    Returns:
        Tiles whose kept parts cover the side: one, or several of the large bucket that
        has the fewest cells in all; of equals, of the largest.

    Raises:
        ConfigError: tiles are needed, and the largest bucket is no more than the halos.
    """
    for bucket in buckets:
        if side <= bucket:
            return [Span(0, bucket, 0, side)]
    check_buckets(buckets, halo)
    # Buckets below half of the largest make calls that are not worth their while.
    least = max(2 * halo + 4, buckets[-1] / 2)
    able = [bucket for bucket in reversed(buckets) if bucket >= least]
    cuts = [_cut(side, halo, bucket) for bucket in able]
    return min(cuts, key=lambda tiles: sum(tile.size for tile in tiles))


def _cut(side: int, halo: int, size: int) -> list[Span]:
    """Tiles of one size that cover a longer side."""
    tiles: list[Span] = []
    begin = 0
    while True:
        low = 0 if begin == 0 else begin + halo
        if begin + size >= side:
            return [*tiles, Span(begin, size, low, side)]
        tiles.append(Span(begin, size, low, begin + size - halo))
        begin += size - 2 * halo


def window(
    whole: np.ndarray, row: Span, column: Span, factor: float, *, edge: bool = False
) -> np.ndarray:
    """The part of an array [1 h w C] under a tile, padded beyond the array's end.

    Args:
        whole: the array.
        row: the tile's rows.
        column: its columns.
        factor: cells of the array per cell of 1/16.
        edge: pad by repeating the array's edge instead of zeros.
    """
    top, left = int(row.begin * factor), int(column.begin * factor)
    height, width = int(row.size * factor), int(column.size * factor)
    part = whole[:, top : top + height, left : left + width]
    short = ((0, 0), (0, height - part.shape[1]), (0, width - part.shape[2]), (0, 0))
    if not any(after for _, after in short):
        return part
    return np.pad(part, short, mode="edge" if edge else "constant")


def inside(row: Span, column: Span, grid: tuple[int, int]) -> np.ndarray:
    """Rows and columns of a tile that belong to the picture's grid, int32[2]."""
    sides = [min(s.size, n - s.begin) for s, n in zip((row, column), grid, strict=True)]
    return np.array(sides, np.int32)


def run_tiles(
    network: Callable[..., tuple[np.ndarray, ...]],
    inputs: list[tuple[np.ndarray, float]],
    outputs: list[tuple[np.ndarray, float]],
    grid: tuple[int, int],
    halo: int,
    buckets: tuple[int, ...],
    *,
    edge: bool = False,
    where: np.ndarray | None = None,
) -> None:
    """Evaluates a local network on whole arrays, tile by tile.

    Args:
        network: `(*windows, extent) -> arrays`, all of one batch entry.
        inputs: arrays [1 h w C] and their cells per cell of 1/16 (z 0.25, pixels 16).
        outputs: arrays to fill, likewise; [n C] where not all of them is wanted.
        grid: rows and columns of the picture at 1/16.
        halo: how far the network looks.
        buckets: see `spans`.
        edge: pad inputs by repeating their edge instead of zeros.
        where: bool[rows columns], what of the outputs is wanted, row by row; tiles
            without any are not evaluated. None for all of them.
    """
    every = list(tiles(grid, halo, buckets))
    # Wanted positions are numbered from 1 on.
    place = None if where is None else np.cumsum(where).reshape(where.shape) * where
    for number, (row, column) in enumerate(every, 1):
        own, sides = None, () if place is None else place.shape
        if place is not None:
            own = place[kept(row, column, outputs[0][1], sides)[1]]
            if not own.any():
                continue
        windows = [window(a, row, column, f, edge=edge) for a, f in inputs]
        results = network(*windows, inside(row, column, grid))
        for (whole, factor), result in zip(outputs, results, strict=True):
            if own is None:
                source, target = kept(row, column, factor, whole.shape[1:3])
                whole[0][target] = np.asarray(result)[0][source]
            else:
                source, _ = kept(row, column, factor, sides)
                wanted = own.nonzero()
                whole[own[wanted] - 1] = np.asarray(result)[0][source][wanted]
        tell(number / len(every))


def tiles(
    grid: tuple[int, int], halo: int, buckets: tuple[int, ...]
) -> Iterator[tuple[Span, Span]]:
    """The rows and columns of each tile of a grid; see `spans`."""
    for row in spans(grid[0], halo, buckets):
        for column in spans(grid[1], halo, buckets):
            yield row, column


def kept(
    row: Span, column: Span, factor: float, sides: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of a tile's result that is kept: there, and in the whole array.

    Args:
        row: the tile's rows.
        column: its columns.
        factor: cells of the array per cell of 1/16.
        sides: rows and columns of the whole array.
    """
    source, target = [], []
    for span, length in zip((row, column), sides, strict=True):
        low = int(span.low * factor)
        high = min(int(np.ceil(span.high * factor)), length)
        begin = int(span.begin * factor)
        source.append(slice(low - begin, high - begin))
        target.append(slice(low, high))
    return tuple(source), tuple(target)
