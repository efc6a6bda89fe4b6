"""The graphs of a checkpoint: its networks as ONNX, in one file without weights.

`graphs.safetensors.xz` maps the name of each network to the bytes of its graph,
uint8[n]. Its metadata `weights` is a JSON object of the names of the stored arrays that
each graph takes as external initialisers. The card says which file belongs to it, and
what the exact networks give for a fixed input with its weights:
`{"digest": ..., "tests": {step: crc32}}`.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from codax.coding.sessions import Graph
from codax.errors import ModelError

__all__ = [
    "GRAPHS_FILE",
    "has_graphs",
    "note_graphless",
    "read_graphs",
    "write_graphs",
]

GRAPHS_FILE = "graphs.safetensors.xz"
WEIGHTS = "weights"
DIGITS = 16
"""Of the digest on the card."""


def write_graphs(
    folder: Path, graphs: Mapping[str, Graph], tests: Mapping[str, str]
) -> None:
    """Writes graphs beside a checkpoint's weights, and what its card says of them.

    Args:
        folder: of the checkpoint, with a card.
        graphs: by the name of the network.
        tests: by the name of the step, see `codax.coding.sessions.probe`.
    """
    arrays = {name: np.frombuffer(g.model, np.uint8) for name, g in graphs.items()}
    weights = {name: graph.weights for name, graph in graphs.items()}
    # One entry, since those of several come in any order.
    facts = {WEIGHTS: json.dumps(weights)}
    data = lzma.compress(save_tensors(arrays, facts), preset=9)
    (folder / GRAPHS_FILE).write_bytes(data)
    _note(folder, {"digest": _digest(data), "tests": dict(tests)})


def note_graphless(folder: Path, reason: str) -> None:
    """Says on the card of a checkpoint why it has no graphs."""
    (folder / GRAPHS_FILE).unlink(missing_ok=True)
    _note(folder, {"none": reason})


def _note(folder: Path, facts: dict[str, Any]) -> None:
    path = folder / "card.json"
    card = json.loads(path.read_text()) | {"graphs": facts}
    path.write_text(json.dumps(card, indent=1) + "\n")


def has_graphs(card: Mapping[str, Any]) -> bool:
    """Whether a checkpoint has graphs, as its card says."""
    return "digest" in card.get("graphs", {})


def read_graphs(folder: Path, card: Mapping[str, Any]) -> dict[str, Graph]:
    """Reads the graphs of a checkpoint by the name of the network.

    Raises:
        ModelError: it has none, or the file is not the one that the card says.
    """
    if not has_graphs(card):
        reason = card.get("graphs", {}).get("none", "`codax export` writes them")
        raise ModelError(
            f"{folder}: has no graphs for ONNX Runtime ({reason}); it runs with "
            "`runtime=jax`"
        )
    try:
        data = (folder / GRAPHS_FILE).read_bytes()
    except OSError as error:
        raise ModelError(f"{folder}: no readable {GRAPHS_FILE}: {error}") from error
    if _digest(data) != card["graphs"].get("digest"):
        raise ModelError(f"{folder}: {GRAPHS_FILE} does not belong to card.json")
    try:
        plain = lzma.decompress(data)
        end = 8 + int.from_bytes(plain[:8], "little")
        weights = json.loads(json.loads(plain[8:end])["__metadata__"][WEIGHTS])
        return {
            name: Graph(array.tobytes(), tuple(weights[name]))
            for name, array in load_tensors(plain).items()
        }
    except Exception as error:
        raise ModelError(f"{folder}: {GRAPHS_FILE} is damaged") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]
