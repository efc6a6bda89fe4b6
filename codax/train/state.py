"""Run states as flat npz files, and trunk files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codax.coding.trees import flatten
from codax.errors import ModelError
from codax.files.writing import writing

__all__ = [
    "COUNTERS",
    "averaged",
    "large_layer",
    "load_state",
    "load_trunk",
    "save_state",
    "save_trunk",
]

SCALE = "#scale"
"""Ends the name of the scales of an array of few bits in a trunk file."""
LARGE = 4096
"""Elements of a layer from which it is stored so."""
TRUNK_STEPS = 31
"""Steps to the largest weight of an output there: 6 bits with the sign."""
COUNTERS = ("step", "seconds", "pixels")

Arrays = dict[str, np.ndarray]


def averaged(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Averaged weights and constants of a run's arrays, by path in the networks."""
    return {
        path.partition("/")[2]: value
        for path, value in arrays.items()
        if path.startswith(("ema/", "fixed/"))
    }


def save_state(path: Path, tree: Any) -> None:
    """Writes a tree of arrays; see `writing`."""
    with writing(path) as file:
        np.savez(file, **flatten(tree))  # type: ignore[arg-type]


def load_state(path: Path) -> Arrays:
    """Reads `path -> array`.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        # Opened here, since np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path}: no readable run state: {error}") from error


def save_trunk(
    path: Path, arrays: Mapping[str, np.ndarray], *, compact: bool = True
) -> None:
    """Writes what the next hours of training need of a run, on any machine.

    The averaged weights, layers as 6 bits with a scale for each output, what is small
    and the linear transforms as float16; constants as float32; the counters `step`,
    `seconds` and `pixels` (megapixels seen). The optimiser rebuilds itself in a few
    hundred steps, and its first ones move weights further than the 6 bits do.

    Args:
        path: the file, usually `checkpoints/trunk/CODEC-PRESET.npz`; replaced in place.
        arrays: a run's full state, see `load_state`.
        compact: False keeps layers as float16 too, as weights that are to ship need.

    Raises:
        ModelError: a weight is not finite, or beyond the range of float16.
    """
    kept: Arrays = {}
    for name, value in arrays.items():
        if name in COUNTERS or name.startswith("fixed/"):
            kept[name] = np.asarray(value)
        elif name.startswith("ema/"):
            with np.errstate(over="ignore"):
                kept[name] = np.asarray(value).astype(np.float16)
            if not np.all(np.isfinite(kept[name])):
                raise ModelError(f"trunk: {name} does not fit into float16")
            if compact and large_layer(name, value):
                value = np.asarray(value, np.float32)
                scale = np.abs(value).max(-2, keepdims=True) / TRUNK_STEPS + 1e-12
                kept[name] = np.round(value / scale).astype(np.int8)
                kept[name + SCALE] = scale
    # As np.savez_compressed writes it, but for LZMA, which takes 6 % less.
    with (
        writing(path) as whole,
        zipfile.ZipFile(whole, "w", zipfile.ZIP_LZMA) as archive,
    ):
        for name, value in kept.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)


def large_layer(name: str, value: np.ndarray) -> bool:
    """Whether an array of a run is an averaged kernel that few bits suffice for."""
    kernel = name.startswith("ema/") and name.endswith("/kernel")
    return kernel and value.size >= LARGE


def load_trunk(path: Path) -> Arrays:
    """Reads a trunk file, weights as float32.

    Raises:
        ModelError: the file is missing, damaged or holds no averaged weights.
    """
    arrays = load_state(path)
    if not any(name.startswith("ema/") for name in arrays):
        raise ModelError(f"{path}: holds no averaged weights; expected ema/...")
    scales = {name: value for name, value in arrays.items() if name.endswith(SCALE)}
    found = {}
    for name in arrays.keys() - scales.keys():
        value = arrays[name]
        small = value.dtype in (np.float16, np.int8)
        found[name] = value.astype(np.float32) if small else value
        if name + SCALE in scales:
            found[name] = found[name] * scales[name + SCALE]
    return found
