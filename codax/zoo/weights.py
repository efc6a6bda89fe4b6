"""Weights as they ship: float16 for the transforms, integers for the exact path.

A checkpoint is a folder with `card.json`, `order.json` (the coding order) and
`weights.safetensors.xz`, a flat map `path -> array`; without the `.xz` it is read as
well. Paths under `prior` are the exact
path: kernels are int16 (shadow times 2**8), biases int32 (times 2**14), the quality
embedding int16 (times 64); stored constants stay float32 and are dyadic. Each variable
says so itself, as `stored`. `tables/...` are the integer tables of the range coder.

Codecs with the same transforms need them once: a card's `shared` names networks that
lie in another folder, beside this one or where codecs are looked for, and their digest:
`{"from": "quadtree-tiny-v2", "networks": ["g_a", "g_s"], "digest": "..."}`. The hash is
that of the whole.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from codax.coding.order import Order
from codax.entropy.units import STORED, WEIGHT_LIMIT
from codax.errors import ModelError
from codax.zoo.cards import checkpoint_folders
from codax.zoo.unpacked import unpacked

__all__ = [
    "DEFAULT",
    "TABLES",
    "decoding_part",
    "digest",
    "of_networks",
    "pack_weights",
    "read_checkpoint",
    "read_order",
    "unpack_weights",
    "weights_hash",
    "write_checkpoint",
]

DEFAULT, TABLES = "float16", "tables/"

FILE, PLAIN_FILE = "weights.safetensors.xz", "weights.safetensors"
ORDER_FILE = "order.json"

EXACT = ("prior/", "tables/", "g_s/gain")
"""What decides latents."""
PIXELS = ("g_s", "g_e")
"""What makes pixels of them."""

PACKING = [
    {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 3, "lp": 1, "pb": 1},
]
"""Contexts for values of two bytes: 4 % less than without, 17 % less than gzip."""

Arrays = dict[str, np.ndarray]


def pack_weights(arrays: Mapping[str, np.ndarray], stored: Mapping[str, str]) -> Arrays:
    """Turns trained weights into their stored form.

    Args:
        arrays: float32 by path.
        stored: by path, a word of `codax.entropy.units.STORED`, or the path of tables
            that hold the array; float16 for those that it lacks.

    Raises:
        ModelError: a value is not finite or beyond its type.
    """
    packed = {}
    for path, value in arrays.items():
        word = stored.get(path, DEFAULT)
        if word.startswith(TABLES):
            continue
        name, factor = STORED[word]
        kind = np.dtype(name)
        scaled = np.asarray(value, np.float64) * factor
        if not np.all(np.isfinite(scaled)):
            raise ModelError(f"weights: {path} is not finite")
        if kind.kind == "i":
            scaled = np.round(scaled)
            if word == "kernel":
                scaled = np.clip(scaled, -WEIGHT_LIMIT, WEIGHT_LIMIT)
        with np.errstate(over="ignore"):
            found = scaled.astype(kind)
        if not np.allclose(found.astype(np.float64), scaled, rtol=2e-3, atol=1e-4):
            raise ModelError(f"weights: {path} exceeds the range of {kind}")
        packed[path] = found
    return packed


def unpack_weights(
    packed: Mapping[str, np.ndarray], stored: Mapping[str, str]
) -> Arrays:
    """The float32 shadows of stored weights; integers survive exactly.

    Args:
        packed: stored arrays.
        stored: as `pack_weights` had it.

    Raises:
        ModelError: tables that hold an array are missing.
    """
    found = {}
    for path, value in packed.items():
        if not path.startswith(TABLES):
            factor = STORED[stored.get(path, DEFAULT)][1]
            found[path] = (value.astype(np.float64) / factor).astype(np.float32)
    for path, word in stored.items():
        if word.startswith(TABLES):
            if word not in packed:
                raise ModelError(f"weights: {word} is missing")
            found[path] = packed[word].astype(np.float32)
    return found


def weights_hash(packed: Arrays) -> bytes:
    """Six bytes that identify weights in a file's header.

    Four over everything that decides the latents (tables, integer weights, gains), two
    over the rest of what decodes, the synthesis and the enhancement layer's transform.
    """
    exact = {p: v for p, v in packed.items() if p.startswith(EXACT)}
    pixels = {
        p: v for p, v in packed.items() if p.startswith(PIXELS) and p not in exact
    }
    return digest(exact)[:4] + digest(pixels)[:2]


def decoding_part(packed: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays that decoding needs, all of which the hash covers."""
    return {p: v for p, v in packed.items() if p.startswith(EXACT + PIXELS)}


def digest(packed: Arrays) -> bytes:
    """SHA-256 of arrays with their paths and shapes, in order of their paths."""
    found = hashlib.sha256()
    for path in sorted(packed):
        value = np.array(packed[path], order="C")
        little = value.astype(value.dtype.newbyteorder("<"))
        found.update(path.encode() + str(value.shape).encode() + little.tobytes())
    return found.digest()


def write_checkpoint(
    folder: Path, packed: Arrays, card: dict[str, Any], order: Order | None = None
) -> None:
    """Writes a checkpoint folder; `order` is the codec's coding order."""
    folder.mkdir(parents=True, exist_ok=True)
    data = save_tensors({path: np.array(v, order="C") for path, v in packed.items()})
    data = lzma.compress(data, filters=PACKING)
    (folder / FILE).write_bytes(data)
    card = {**card, "weights_crc32": f"{zlib.crc32(data):08x}", "bytes": len(data)}
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    if order is not None:
        (folder / ORDER_FILE).write_text(order.to_json())


def read_order(folder: Path) -> Order:
    """Reads the coding order of a checkpoint folder.

    Raises:
        ModelError: it has none, or none that can be read.
    """
    try:
        text = (folder / ORDER_FILE).read_text()
    except OSError as error:
        raise ModelError(f"{folder}: no readable {ORDER_FILE}: {error}") from error
    return Order.from_json(text)


def read_checkpoint(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    """Reads a checkpoint folder.

    Returns:
        The stored arrays, with those shared with another checkpoint, and the card.

    Raises:
        ModelError: a file is missing, damaged or does not belong to the card.
    """
    packed, card = _read_own(folder)
    if "shared" in card:
        name = card["shared"]["from"]
        places = [folder.parent, *checkpoint_folders()]
        other = next((p / name for p in places if (p / name).is_dir()), None)
        if other is None:
            raise ModelError(
                f"{folder}: takes networks from {name}, which is missing; put it beside"
            )
        found = of_networks(_read_own(other)[0], card["shared"]["networks"])
        if digest(found).hex()[:16] != card["shared"]["digest"]:
            raise ModelError(f"{folder}: {other} holds other networks than it shares")
        packed |= found
    if weights_hash(packed).hex() != card.get("weights_hash"):
        raise ModelError(f"{folder}: the weights' hash differs from the card's")
    return packed, card


def of_networks(packed: Mapping[str, np.ndarray], networks: Sequence[str]) -> Arrays:
    """The arrays of some networks, such as `g_a`."""
    return {path: v for path, v in packed.items() if path.split("/")[0] in networks}


def _read_own(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays in the folder's own file, and its card."""
    name = FILE if (folder / FILE).is_file() else PLAIN_FILE
    try:
        card = json.loads((folder / "card.json").read_text())
        data = (folder / name).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no readable checkpoint: {error}") from error
    if f"{zlib.crc32(data):08x}" != card.get("weights_crc32"):
        raise ModelError(f"{folder}: {name} does not belong to card.json")
    try:
        packed = load_tensors(unpacked(data) if name == FILE else data)
    except Exception as error:
        raise ModelError(f"{folder}: {name} is damaged") from error
    return packed, card
