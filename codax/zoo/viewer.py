"""The browser viewer: a folder of static files that decodes `.codax` files in a page.

    index.html, *.js, *.css    the page, from the package `codax-viewer`
    runtime/                   onnxruntime-web, from there too
    viewer.json                version, models by hash, and the weights of releases
    models/NAME/               model.json, order.json, and the checkpoint unpacked:
                               weights.safetensors, graphs.safetensors

The JavaScript is a second reader of the format: nothing of Python runs in the page.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from codax import __version__
from codax.errors import ConfigError, ModelError, UnsupportedError
from codax.files.writing import making
from codax.zoo.cards import Card
from codax.zoo.graphs import read_graphs
from codax.zoo.placed import metadata_of, place_weights
from codax.zoo.releases import list_released
from codax.zoo.weights import decoding_part, read_checkpoint, read_order

__all__ = ["INDEX", "find_pages", "write_viewer"]

INDEX = "viewer.json"
"""Of a viewer's folder; says that it is one."""
PACKAGE = "codax_viewer"
RUNTIME = "runtime"
CHECKOUT = Path(__file__).resolve().parents[2] / "viewer"
WEIGHTS, GRAPHS, MODEL = "weights.safetensors", "graphs.safetensors", "model.json"


def find_pages() -> Path:
    """The folder of the page and its runtime, in the package or in a checkout.

    Raises:
        UnsupportedError: neither is at hand; says what brings it.
    """
    own = CHECKOUT / PACKAGE
    if own.is_dir():
        remedy = "`tools/build_viewer` brings it, with npm"
    else:
        spec = find_spec(PACKAGE)
        remedy = "`pip install codax-viewer` brings it"
        if spec is None or spec.origin is None:
            raise UnsupportedError(f"the viewer is not installed; {remedy}")
        own = Path(spec.origin).parent
    pages = own / "page"
    if not any((pages / RUNTIME).glob("*.wasm")):
        raise UnsupportedError(f"the viewer's ONNX Runtime is not here; {remedy}")
    return pages


def write_viewer(
    folder: Path,
    cards: Sequence[Card],
    files: Mapping[str, bytes] | None = None,
    *,
    force: bool = False,
) -> int:
    """Writes a viewer.

    Args:
        folder: where to; made if it is missing.
        cards: of the models whose files it shall decode; stored pictures need none.
        files: that go with it, by their paths in the folder.
        force: replace a viewer that is there.

    Returns:
        The bytes written.

    Raises:
        ConfigError: the folder holds something else, or a viewer without `force`.
        UnsupportedError: the package of the page is not installed.
        ModelError: a checkpoint is damaged or has no graphs.
    """
    pages = find_pages()
    names = [card.name for card in cards]
    if len(set(names)) < len(names):
        raise ConfigError(f"of {', '.join(names)} two have one name; leave one out")
    _check_free(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with making(folder):
        shutil.copytree(pages, folder, ignore=shutil.ignore_patterns("stamp"))
        models = [_write_model(folder / "models" / card.name, card) for card in cards]
        for name, data in (files or {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        index = {
            "version": __version__,
            "models": models,
            "released": [asdict(own) for own in list_released()],
            "files": [*_paths(folder), INDEX],
        }
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return sum((folder / path).stat().st_size for path in _paths(folder))


def _paths(folder: Path) -> list[str]:
    """The files in a folder, by their paths in it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _check_free(folder: Path, force: bool) -> None:
    """Refuses a folder that holds what no viewer wrote, or a viewer without force."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        own = json.loads((folder / INDEX).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{folder} exists and is no viewer; name another folder"
        ) from None
    if not force:
        raise ConfigError(f"{folder} holds a viewer; add -f to replace it")
    if other := [path for path in _paths(folder) if path not in own]:
        raise ConfigError(
            f"{folder} holds {other[0]}, which is none of the viewer's; move it, or "
            "name another folder"
        )


def _write_model(folder: Path, card: Card) -> dict[str, Any]:
    """Writes what the page needs of a checkpoint; returns its entry of the index."""
    packed, fields = read_checkpoint(card.folder)
    graphs = read_graphs(card.folder, fields)
    graphs.pop("analysis", None)
    folder.mkdir(parents=True)
    part = decoding_part(packed)
    weights = save_tensors({path: np.array(v, order="C") for path, v in part.items()})
    offsets = _offsets(weights)
    try:
        placed = {
            name: np.frombuffer(place_weights(graph.model, offsets), np.uint8)
            for name, graph in graphs.items()
        }
    except KeyError as error:
        raise ModelError(f"{card.folder}: graphs want {error}, no weight") from error
    facts = metadata_of(graphs["synthesis"].model) if "synthesis" in graphs else {}
    entry = {
        "name": card.name,
        "codec_id": card.codec_id,
        "weights_hash": card.weights_hash,
    }
    model = entry | {
        "lossless": card.lossless,
        "tests": fields["graphs"]["tests"],
        "synthesis_halo": int(facts.get("halo", 0)),
    }
    (folder / MODEL).write_text(json.dumps(model, indent=1) + "\n")
    (folder / "order.json").write_text(read_order(card.folder).to_json())
    (folder / WEIGHTS).write_bytes(weights)
    (folder / GRAPHS).write_bytes(save_tensors(placed))
    return entry | {"bytes": len(weights)}


def _offsets(data: bytes) -> dict[str, int]:
    """Where each array of a safetensors file begins in it."""
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    return {
        name: begin + entry["data_offsets"][0]
        for name, entry in header.items()
        if name != "__metadata__"
    }
