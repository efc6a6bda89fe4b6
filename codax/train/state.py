"""Run states as flat npz files: any tree of arrays, keyed by its paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from codax.codecs.trees import flatten
from codax.errors import ModelError

__all__ = ["load_state", "save_state"]


def save_state(path: Path, tree: Any) -> None:
    """Writes a tree of arrays; the file appears whole or not at all."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez(file, **flatten(tree))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_state(path: Path) -> dict[str, np.ndarray]:
    """Reads `path -> array`.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: no readable run state: {error}") from error
