"""Weights as they ship: float16 for the transforms, integers for the exact path.

A checkpoint is a folder with `card.json`, `order.json` (the coding order) and
`weights.safetensors.xz`, a flat map `path -> array`; without the `.xz` it is read as
well. Paths under `prior` are the exact
path: kernels are int16 (shadow times 2**8), biases int32 (times 2**14), the quality
embedding int16 (times 64); stored constants stay float32 and are dyadic. `tables/...`
are the integer tables of the range coder.

Codecs with the same transforms need them once: a card's `shared` names networks that
lie in another folder beside this one, and their digest: `{"from": "quadtree-tiny-v2",
"networks": ["g_a", "g_s"], "digest": "..."}`. The hash is that of the whole.
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
from codax.entropy.units import BIAS_SCALE, KERNEL_SCALE, UNIT, WEIGHT_LIMIT
from codax.errors import ModelError

__all__ = [
    "BANK",
    "digest",
    "of_networks",
    "pack_weights",
    "read_checkpoint",
    "read_order",
    "unpack_weights",
    "weights_hash",
    "write_checkpoint",
]

PLAIN = ("density", "shape", "domain", "bank")
"""Parts of a prior that hold no layer: kept as float32."""

BANK, BANK_TABLES = "prior/bank/frequencies", "tables/bank/frequencies"
"""A bank's tables in a network and among the stored arrays."""

FILE, PLAIN_FILE = "weights.safetensors.xz", "weights.safetensors"
ORDER_FILE = "order.json"

PACKING = [
    {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 3, "lp": 1, "pb": 1},
]
"""Contexts for values of two bytes: 4 % less than without, 17 % less than gzip."""

Arrays = dict[str, np.ndarray]


def _kind(path: str) -> tuple[Any, float]:
    """Stored type and factor of an array."""
    if not path.startswith("prior/"):
        return np.float16, 1.0
    if any(word in path for word in PLAIN):
        return np.float32, 1.0
    if "/kernel" in path:
        return np.int16, KERNEL_SCALE
    if "/bias" in path:
        return np.int32, BIAS_SCALE
    return np.int16, float(UNIT)


def pack_weights(arrays: Arrays) -> Arrays:
    """Turns trained weights into their stored form.

    Raises:
        ModelError: a value is not finite or beyond its type.
    """
    packed = {}
    for path, value in arrays.items():
        kind, factor = _kind(path)
        scaled = np.asarray(value, np.float64) * factor
        if not np.all(np.isfinite(scaled)):
            raise ModelError(f"weights: {path} is not finite")
        if np.issubdtype(kind, np.integer):
            scaled = np.round(scaled)
            if "/kernel" in path:
                scaled = np.clip(scaled, -WEIGHT_LIMIT, WEIGHT_LIMIT)
        with np.errstate(over="ignore"):
            stored = scaled.astype(kind)
        if not np.allclose(stored.astype(np.float64), scaled, rtol=2e-3, atol=1e-4):
            raise ModelError(f"weights: {path} exceeds the range of {kind.__name__}")
        packed[path] = stored
    return packed


def unpack_weights(packed: Arrays) -> Arrays:
    """The float32 shadows of stored weights; integers survive exactly.

    The tables of a bank are part of its network, and stored once, as tables.
    """
    found = {
        path: (value.astype(np.float64) / _kind(path)[1]).astype(np.float32)
        for path, value in packed.items()
        if not path.startswith("tables/")
    }
    if BANK_TABLES in packed:
        found[BANK] = packed[BANK_TABLES].astype(np.float32)
    return found


def weights_hash(packed: Arrays) -> bytes:
    """Six bytes that identify weights in a file's header.

    Four over everything that decides the latents (tables, integer weights, gains), two
    over the synthesis.
    """
    decides = ("prior/", "tables/", "g_s/gain")
    exact = {p: v for p, v in packed.items() if p.startswith(decides)}
    synthesis = {
        p: v for p, v in packed.items() if p.startswith("g_s") and p not in exact
    }
    return digest(exact)[:4] + digest(synthesis)[:2]


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
        other = folder.parent / card["shared"]["from"]
        if not other.is_dir():
            raise ModelError(f"{folder}: takes networks from {other}, which is missing")
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
        packed = load_tensors(lzma.decompress(data) if name == FILE else data)
    except Exception as error:
        raise ModelError(f"{folder}: {name} is damaged") from error
    return packed, card
