"""Probability tables: the stored integers of the files, and how they are made. No JAX.

Three kinds:

* **Scale tables**: 64 zero-mean tables whose scales are spaced evenly in the
  logarithm from 0.11 to 256. Their shape is a scale mixture of two Gaussians with
  learned weight and spread, since what a prior leaves is heavier-tailed than one.
* **Grid tables**, for integers that must stay what they are: 32 scales times the mean's
  fraction in eighths. Their shape is a mixture of two logistics, likewise learned.
* **Static tables**: one table per channel at each of 14 quality anchors, learned as a
  mixture of three logistics.

For integers of one's own: `count_table` makes a table of how often symbols were seen,
`integer_table` of masses; see docs/entropy-coder.md.

What training learns is in `codax.entropy.densities`; at export it becomes integer
frequencies here. Those integers are the format, and no float is ever evaluated again to
get a probability.

Source: 64 log-spaced scales: Ballé et al. 2018, Minnen et al. 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import erfc

import numpy as np

from codax.errors import ConfigError, ModelError

__all__ = [
    "ANCHORS",
    "ANCHOR_SPACING",
    "BINARY_COUNT",
    "BINARY_STEP",
    "FRACTIONS",
    "GRID_LOG_MIN",
    "GRID_LOG_STEP",
    "GRID_SCALES",
    "LOG_SCALE_MIN",
    "LOG_SCALE_STEP",
    "SCALE_COUNT",
    "TABLE_TOTAL",
    "bank_tables",
    "binary_tables",
    "count_table",
    "gaussian_cells",
    "gaussian_mixture_pmf",
    "grid_pmf",
    "grid_tables",
    "integer_table",
    "logistic_mixture_pmf",
    "pack_tables",
    "scale_tables",
    "static_tables",
    "stored_tables",
]

SCALE_COUNT = 64
BINARY_COUNT = 64
BINARY_STEP = 0.32
"""Tables of two symbols: logits of the 1, a step apart, even about 0 (1/2)."""
LOG_SCALE_MIN = float(np.log(0.11))
LOG_SCALE_STEP = float((np.log(256.0) - np.log(0.11)) / (SCALE_COUNT - 1))
GRID_SCALES = 32
GRID_LOG_MIN = float(np.log(0.06))
GRID_LOG_STEP = float((np.log(30.0) - np.log(0.06)) / (GRID_SCALES - 1))
FRACTIONS = 8
"""Parts of 1 in which a grid table's mean is given; table = scale * 8 + fraction."""
GRID_TAIL = 10.0
GRID_MAX_HALF = 255
ANCHOR_SPACING = 16
ANCHORS = 14
"""Quality anchors at half steps 0, 16, ..., 208; qualities are 0..200 half steps."""
TABLE_TOTAL = 2**24
TAIL_SIGMAS = 8.0
MAX_HALF_WIDTH = 1023
STATIC_TAIL = 14.0
"""Static tables reach this many logistic scales beyond the location."""
STATIC_MAX_HALF = 1023

Arrays = dict[str, np.ndarray]


def _erfc(x: np.ndarray) -> np.ndarray:
    return np.vectorize(erfc, otypes=[np.float64])(x)


def gaussian_mixture_pmf(scale: float, weight: float, spread: float) -> np.ndarray:
    """Masses of the integers 0..half-width of one scale table (it is symmetric)."""
    half = int(min(MAX_HALF_WIDTH, np.ceil(TAIL_SIGMAS * scale * spread) + 1))
    return gaussian_cells(np.arange(half + 2) - 0.5, scale, weight, spread)


def gaussian_cells(
    edges: np.ndarray, scale: float, weight: float, spread: float
) -> np.ndarray:
    """Masses between edges float64[n + 1] under a scale mixture of two Gaussians."""

    def mass(s):
        upper = 0.5 * _erfc(edges / (s * np.sqrt(2.0)))
        return upper[:-1] - upper[1:]

    return (1 - weight) * mass(scale) + weight * mass(scale * spread)


def grid_pmf(scale: float, mean: float, weight: float, spread: float) -> np.ndarray:
    """Masses of the integers -half..half of one grid table, mean in 0..1."""
    reach = np.ceil(GRID_TAIL * scale * max(1.0, spread)) + 1
    half = int(min(GRID_MAX_HALF, reach))
    size = np.abs(np.arange(-half, half + 1) - mean)
    return (1 - weight) * _logistic_mass(size, scale) + weight * _logistic_mass(
        size, scale * spread
    )


def _logistic_mass(size: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Mass within 1/2 of a distance from the centre of a logistic."""
    sigmoid = lambda x: 0.5 * (1 + np.tanh(0.5 * x))  # noqa: E731
    return sigmoid((0.5 - size) / scale) - sigmoid((-0.5 - size) / scale)


def logistic_mixture_pmf(
    logits: np.ndarray, loc: np.ndarray, log_scale: np.ndarray, half: int
) -> np.ndarray:
    """Masses of -half..half under a mixture of logistics, float64[2 half + 1]."""
    weight = np.exp(logits - logits.max())
    weight = weight / weight.sum()
    scale = np.exp(np.maximum(log_scale, -4.0)).astype(np.float64)
    size = np.abs(np.arange(-half, half + 1)[:, None] - loc[None].astype(np.float64))
    return (_logistic_mass(size, scale) * weight).sum(-1)


def integer_table(
    pmf: np.ndarray, rest: int | None = None, escape: float = 2.0**-20
) -> np.ndarray:
    """Turns masses into the stored form of a table.

    Args:
        pmf: float64[n], masses of the n symbols of the table, sum at most 1.
        rest: the symbol that gets what rounding leaves, so that a symmetric table
            stays so; the likeliest if None.
        escape: least mass of the escape symbol.

    Returns:
        int64[n + 1], frequencies of the n symbols and, last, of the escape; each at
        least 1, sum 2**24.
    """
    mass = np.append(pmf, max(escape, 1.0 - pmf.sum()))
    mass = mass / mass.sum()
    count = mass.size
    freq = np.floor(mass * (TABLE_TOTAL - count)).astype(np.int64) + 1
    taker = int(np.argmax(freq)) if rest is None else rest
    freq[taker] += TABLE_TOTAL - int(freq.sum())
    return freq


def count_table(counts: np.ndarray, escape: int = 0) -> np.ndarray:
    """The table of how often symbols were seen.

    Integer arithmetic alone, so that whoever knows the counts makes the same table.

    Args:
        counts: integers[n] of 0 or more, of the n symbols in their order; a symbol that
            was never seen can be coded all the same, for about 24 bits.
        escape: how often symbols beyond these were seen.

    Returns:
        int64[n + 1], as `integer_table` returns.

    Raises:
        ConfigError: no row of integers, a negative one, or nothing counted.
    """
    seen = np.append(np.asarray(counts), escape)
    if seen.dtype.kind not in "iu" or np.ndim(counts) != 1:
        raise ConfigError(
            f"counts are {seen.dtype}{list(np.shape(counts))}; expected integers[n]"
        )
    total = sum(seen.tolist())  # of Python's integers, which do not overflow
    if seen.min() < 0 or not 0 < total < 2**63 // TABLE_TOTAL:
        raise ConfigError(
            f"counts are {seen.min()} or more and sum to {total}; expected 0 or more, "
            f"sum 1 to {2**63 // TABLE_TOTAL - 1}"
        )
    freq = seen.astype(np.int64) * (TABLE_TOTAL - seen.size) // total + 1
    freq[np.argmax(freq)] += TABLE_TOTAL - int(freq.sum())
    return freq


def bank_tables(flat: np.ndarray) -> list[np.ndarray]:
    """The tables of a bank: frequencies in a row, each table with its own sum."""
    ends = np.flatnonzero(np.cumsum(flat.astype(np.int64)) % TABLE_TOTAL == 0)
    return np.split(flat, ends[:-1] + 1)


def scale_tables(weight: float, spread: float) -> list[np.ndarray]:
    """The 64 scale tables: frequencies of 0..half, the escape last.

    Only half of each symmetric table is stored; see `codax.entropy.sources`.
    """
    tables = []
    for index in range(SCALE_COUNT):
        scale = float(np.exp(LOG_SCALE_MIN + LOG_SCALE_STEP * index))
        half = gaussian_mixture_pmf(scale, weight, spread)
        centre = half.size - 1
        whole = integer_table(np.concatenate([half[:0:-1], half]), rest=centre)
        tables.append(whole[centre:])
    return tables


def grid_tables(weight: float, spread: float) -> list[np.ndarray]:
    """The 256 grid tables, [scale][fraction] in one list."""
    tables = []
    for index in range(GRID_SCALES):
        scale = float(np.exp(GRID_LOG_MIN + GRID_LOG_STEP * index))
        for fraction in range(FRACTIONS):
            pmf = grid_pmf(scale, fraction / FRACTIONS, weight, spread)
            tables.append(integer_table(pmf))
    return tables


def binary_tables() -> list[np.ndarray]:
    """The 64 tables of decisions, by the logit of the 1."""
    logits = BINARY_STEP * (np.arange(BINARY_COUNT) - 0.5 * (BINARY_COUNT - 1))
    ones = 1.0 / (1.0 + np.exp(-logits))
    return [integer_table(np.array([1.0 - p, p])) for p in ones]


def static_tables(logits, loc, log_scale) -> list[np.ndarray]:
    """Tables of one static source, [anchor][channel] in one list."""
    tables = []
    for anchor in range(ANCHORS):
        for channel in range(logits.shape[1]):
            at = (anchor, channel)
            reach = np.abs(loc[at]) + STATIC_TAIL * np.exp(log_scale[at])
            half = int(np.clip(np.ceil(reach.max()), 1, STATIC_MAX_HALF))
            pmf = logistic_mixture_pmf(logits[at], loc[at], log_scale[at], half)
            tables.append(integer_table(pmf))
    return tables


def pack_tables(name: str, tables: list[np.ndarray]) -> Arrays:
    """Stores tables of any lengths as one array and their lengths."""
    return {
        f"tables/{name}/frequencies": np.concatenate(tables).astype(np.uint32),
        f"tables/{name}/lengths": np.array([t.size for t in tables], np.int32),
    }


def stored_tables(packed: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """The tables that `pack_tables` stored under a name.

    Raises:
        ModelError: they are missing.
    """
    try:
        flat = packed[f"tables/{name}/frequencies"].astype(np.int64)
        lengths = packed[f"tables/{name}/lengths"]
    except KeyError as error:
        raise ModelError(f"weights: the tables of {name} are missing") from error
    return np.split(flat, np.cumsum(lengths)[:-1])
