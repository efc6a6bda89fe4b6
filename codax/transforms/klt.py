"""The linear transform that a codec starts from, fitted to pictures in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["block_order", "fit_groups", "fit_klt", "leading"]


def block_order() -> np.ndarray:
    """Where the synthesis wants each entry of a 16x16x3 block.

    `space_to_depth(x, 16)` orders a block as (row, column, channel). The synthesis
    makes four blocks of 8x8 from it: (row half, column half, row, column, channel).

    Returns:
        int64[768], so that `block[order]` is in the synthesis's order.
    """
    index = np.arange(768).reshape(2, 8, 2, 8, 3).transpose(0, 2, 1, 3, 4)
    return index.reshape(-1)


def fit_klt(blocks: np.ndarray, components: int) -> tuple[np.ndarray, ...]:
    """Fits the Karhunen-Loève transform of 16x16x3 blocks.

    Args:
        blocks: float32[B 768], pixels 0..255 in `space_to_depth(x, 16)` order.
        components: how many leading components to keep.

    Returns:
        The mean colour float32[3], the orthonormal matrix float32[768 M] (columns by
        falling variance) and the components' standard deviations float32[M].
    """
    colour = blocks.reshape(-1, 3).mean(0)
    centred = blocks - np.tile(colour, 256)
    raw = (centred.T @ centred / len(centred)).astype(np.float64)
    # Symmetric under flips and transposes, as the augmented training data are.
    index = np.arange(768).reshape(16, 16, 3)
    variants = [index, index[::-1], index[:, ::-1], index[::-1, ::-1]]
    variants += [v.transpose(1, 0, 2) for v in variants]
    covariance = np.zeros_like(raw)
    for v in variants:
        covariance += raw[np.ix_(v.ravel(), v.ravel())] / len(variants)
    vectors, std = leading(covariance, components)
    return (
        colour.astype(np.float32),
        vectors.astype(np.float32),
        std.astype(np.float32),
    )


def leading(covariance: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvectors of most variance, in columns, and standard deviations."""
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:count]
    return vectors[:, order], np.sqrt(np.maximum(values[order], 1e-6))


def fit_groups(
    values: np.ndarray, groups: Sequence[np.ndarray], components: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Fits a Karhunen-Loève transform of its own for each group of channels.

    Args:
        values: float32[B C], centred.
        groups: the channels of each.
        components: how many leading components to keep of each.

    Returns:
        The matrix float32[C M], orthonormal columns by group and falling variance, and
        the components' standard deviations float32[M].
    """
    columns, deviations = [], []
    for group, count in zip(groups, components, strict=True):
        own = values[:, group]
        raw = (own.T @ own / len(own)).astype(np.float64)
        column = np.zeros((values.shape[1], count))
        column[group], std = leading(raw, count)
        columns.append(column)
        deviations.append(std)
    matrix, stds = np.concatenate(columns, 1), np.concatenate(deviations)
    return matrix.astype(np.float32), stds.astype(np.float32)
