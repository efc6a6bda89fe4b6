"""Clusters of vectors and the statistics of tokens, in NumPy.

Source: Lloyd 1982 (k-means); Chou, Lookabaugh and Gray 1989 (with prices).
"""

from __future__ import annotations

import numpy as np

__all__ = ["SHRINKAGE", "k_means", "nearest", "prices", "prices_by_kind", "usage"]

SHRINKAGE = 64.0
"""Statistics of a kind count those of all kinds as so many tokens of their own."""


def usage(tokens: np.ndarray, codes: int) -> tuple[float, float]:
    """How a vocabulary is used.

    Args:
        tokens: integers of any shape.
        codes: the size of the vocabulary.

    Returns:
        The share of the codes that occur, 0..1, and the perplexity, 1..codes: two to
        the power of the entropy.
    """
    counts = np.bincount(tokens.ravel(), minlength=codes)
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(np.mean(counts > 0)), float(2.0 ** -(share * np.log2(share)).sum())


def prices(tokens: np.ndarray, codes: int) -> np.ndarray:
    """Bits of each code by its frequency, float32[codes].

    Codes that are hardly used count as an eighth of the mean, so that they can come
    back.
    """
    counts = np.bincount(tokens.ravel(), minlength=codes) + 0.5
    bits = -np.log2(counts / counts.sum())
    return np.minimum(bits, np.log2(codes) + 3.0).astype(np.float32)


def prices_by_kind(
    tokens: np.ndarray, kinds: np.ndarray, count: int, codes: int
) -> np.ndarray:
    """Bits of each code where something of a kind is known, float32[count codes].

    Args:
        tokens: integers [n].
        kinds: integers [n], 0..count-1.
        count: number of kinds; those that do not occur have the prices of all.
        codes: size of the vocabulary.
    """
    joint = np.bincount(kinds * codes + tokens, minlength=count * codes)
    joint = joint.reshape(count, codes).astype(np.float64)
    common = joint.sum(0) + 0.5
    joint += SHRINKAGE * common / common.sum()
    bits = -np.log2(joint / joint.sum(1, keepdims=True))
    return np.minimum(bits, np.log2(codes) + 3.0).astype(np.float32)


def k_means(
    vectors: np.ndarray, count: int, price: float = 0.0, seed: int = 0, turns: int = 10
) -> np.ndarray:
    """Codes for vectors by Lloyd's algorithm, with prices.

    The first code starts, and where bits cost, tends to stay, at zero: nothing to add.

    Args:
        vectors: float32[n d], n >= 1.
        count: number of codes K; with fewer vectors, codes repeat with a little noise.
        price: squared distance that a bit is worth; it rises to this over the turns.
        seed: for the choice of the first codes and of new places for empty clusters.
        turns: passes over the vectors.

    Returns:
        float32[K d].
    """
    random = np.random.default_rng(seed)
    chosen = random.choice(len(vectors), count, replace=len(vectors) < count)
    codes = vectors[chosen].astype(np.float32)
    if len(vectors) < count:
        codes += 0.01 * vectors.std(0) * random.standard_normal(codes.shape)
    codes[0] = 0.0
    bits = np.zeros(count, np.float32)
    for turn in range(turns):
        tokens = nearest(vectors, codes, price * turn / max(turns - 1, 1) * bits)
        counts = np.bincount(tokens, minlength=count)
        order = np.argsort(tokens, kind="stable")
        live = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[live]
        sums = np.add.reduceat(vectors[order], starts)
        error = ((vectors - codes[tokens]) ** 2).sum(1).astype(np.float64) + 1e-12
        codes[live] = sums / counts[live, None]
        empty = np.flatnonzero(counts == 0)
        if empty.size and turn < turns - 1:
            chance = error / error.sum()
            codes[empty] = vectors[random.choice(len(vectors), empty.size, p=chance)]
        bits = prices(tokens, count)
    return codes.astype(np.float32)


def nearest(
    vectors: np.ndarray,
    codes: np.ndarray,
    price: np.ndarray,
    kinds: np.ndarray | None = None,
) -> np.ndarray:
    """Finds codes by squared distance plus price, in blocks that fit into a cache.

    Args:
        vectors: float32[n d].
        codes: float32[K d].
        price: float32[K], or float32[kinds K].
        kinds: integers [n], the row of prices of each vector; None for the first.

    Returns:
        int64[n].
    """
    rows = np.atleast_2d(price) + (codes**2).sum(1)
    found = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), 4096):
        part = slice(start, start + 4096)
        offset = rows[0] if kinds is None else rows[kinds[part]]
        found[part] = np.argmin(offset - 2.0 * vectors[part] @ codes.T, 1)
    return found
