"""Weights as they ship: float16 for the transforms, integers for the exact path.

A checkpoint is a folder with `card.json` and `weights.safetensors.xz`, a flat map
`path -> array`; without the `.xz` it is read as well. Paths under `prior` are the exact
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

from codax.entropy.coder import TableSet
from codax.entropy.exact import UNIT, WEIGHT_BITS
from codax.entropy.tables import (
    ANCHORS,
    BINARY_COUNT,
    BINARY_STEP,
    FRACTIONS,
    GRID_LOG_MIN,
    GRID_LOG_STEP,
    GRID_SCALES,
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    SCALE_COUNT,
    TABLE_TOTAL,
    gaussian_mixture_pmf,
    grid_pmf,
    integer_table,
    logistic_mixture_pmf,
)
from codax.errors import ModelError

__all__ = [
    "BANK",
    "bank_tables",
    "binary_tables",
    "digest",
    "grid_tables",
    "of_networks",
    "pack_tables",
    "pack_weights",
    "read_checkpoint",
    "scale_tables",
    "static_tables",
    "unpack_tables",
    "unpack_weights",
    "weights_hash",
    "write_checkpoint",
]

KERNEL_SCALE = 2.0**WEIGHT_BITS
BIAS_SCALE = UNIT * 2.0**WEIGHT_BITS
STATIC_TAIL = 14.0
"""Static tables reach this many logistic scales beyond the location."""
STATIC_MAX_HALF = 1023
PLAIN = ("density", "shape", "domain", "bank")
"""Parts of a prior that hold no layer: kept as float32."""

BANK, BANK_TABLES = "prior/bank/frequencies", "tables/bank/frequencies"
"""A bank's tables in a network and among the stored arrays."""

FILE, PLAIN_FILE = "weights.safetensors.xz", "weights.safetensors"

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
                scaled = np.clip(scaled, -1023, 1023)
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


def bank_tables(flat: np.ndarray) -> list[np.ndarray]:
    """The tables of a bank: frequencies in a row, each table with its own sum."""
    ends = np.flatnonzero(np.cumsum(flat.astype(np.int64)) % TABLE_TOTAL == 0)
    return np.split(flat, ends[:-1] + 1)


def scale_tables(weight: float, spread: float) -> list[np.ndarray]:
    """The 64 scale tables: frequencies of 0..half, the escape last.

    Only half of each symmetric table is stored; see `unpack_tables`.
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


def _split(packed: Arrays, name: str) -> list[np.ndarray]:
    try:
        flat = packed[f"tables/{name}/frequencies"].astype(np.int64)
        lengths = packed[f"tables/{name}/lengths"]
    except KeyError as error:
        raise ModelError(f"weights: the tables of {name} are missing") from error
    return np.split(flat, np.cumsum(lengths)[:-1])


def unpack_tables(packed: Arrays, name: str) -> list[TableSet]:
    """The table sets of a source.

    Returns:
        One set of 64 for `scales` and for `binary`, one of 256 for `grid`, one of all
        for a bank; for a static source one set for each quality anchor, with a table
        per channel.

    Raises:
        ModelError: tables are missing or break the rules.
    """
    parts = _split(packed, name)
    if name in ("bank", "binary"):
        return [TableSet(parts, [0] * len(parts))]
    if name == "scales":
        whole = [np.concatenate([p[1:-1][::-1], p]) for p in parts]
        return [TableSet(whole, [-(p.size - 2) for p in parts])]
    count = 1 if name == "grid" else ANCHORS
    size = len(parts) // count
    sets = []
    for number in range(count):
        own = parts[number * size : (number + 1) * size]
        sets.append(TableSet(own, [-(table.size - 2) // 2 for table in own]))
    return sets


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


def write_checkpoint(folder: Path, packed: Arrays, card: dict[str, Any]) -> None:
    """Writes a checkpoint folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data = save_tensors({path: np.array(v, order="C") for path, v in packed.items()})
    data = lzma.compress(data, filters=PACKING)
    (folder / FILE).write_bytes(data)
    card = {**card, "weights_crc32": f"{zlib.crc32(data):08x}", "bytes": len(data)}
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n")


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
