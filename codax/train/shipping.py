"""A finished run becomes a folder that ships: checks, and the facts of its card."""

from __future__ import annotations

import dataclasses
import json
import lzma
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codax.coding.halos import check_halos
from codax.errors import ConfigError
from codax.face.codec import Codec
from codax.train.config import TrainConfig
from codax.train.export import check_estimate, codec_of, export_weights
from codax.train.record import START, read_record
from codax.train.state import large_layer, load_state

__all__ = ["export_run", "next_version", "rounded_layers", "run_facts", "set_default"]

CHECKED = (0.1, 0.4, 0.7, 1.0)
"""Where, on the way from the lowest quality to the highest, the estimate is compared
with files."""
LEAST_WEIGHT = 1e-6
LAYER_BITS, LINEAR_BITS = 7, 11
"""Beside the sign, of the largest weight of an output."""
LOG = "log.jsonl.xz"
"""The log of the run, beside the weights."""
LICENCE = "Apache-2.0; for the training pictures' terms see ATTRIBUTION.md"


def export_run(
    run: Path,
    config: TrainConfig,
    folder: Path,
    pictures: Sequence[np.ndarray],
    *,
    version: int,
    share: str | None = None,
) -> Codec:
    """Writes the checkpoint folder of a run.

    The transforms' layers are rounded, see `rounded_layers`. Those that were taken from
    a checkpoint are so already, and stay what they are. Those of fine-tuning are not:
    it moves most weights by less than a step of the grid that it began on.

    Args:
        run: the run's folder, with `weights.npz`.
        config: its configuration; the preset may be another, for another name.
        folder: the new folder's parent, usually `checkpoints`.
        pictures: held-out uint8[H W 3], sides multiples of 64, on which the estimate of
            training is compared with real streams.
        version: N of `codec-preset-vN`.
        share: a checkpoint beside it whose networks are not stored again where equal.

    Returns:
        The codec, loaded from the new folder.

    Raises:
        ConfigError: there are no pictures to check on.
        ModelError: the weights break a bound, a network looks beyond its halo, or
            the estimate differs from the files.
    """
    if not pictures:
        raise ConfigError(
            "0 held-out pictures, expected at least 1 of 64x64 to check the estimate "
            "on; give `data=DIR`"
        )
    arrays = load_state(run / "weights.npz")
    if not (run / START).is_file():
        arrays = rounded_layers(arrays)
    codec = codec_of(arrays, config)
    check_halos(codec.model.prior)
    low, high = (2 * end for end in codec.coder.qualities)
    checked = sorted({round(low + share * (high - low)) for share in CHECKED})
    differences = {q: check_estimate(codec, list(pictures), q) for q in checked}
    facts = run_facts(run, config) | {
        "estimate_error": {f"{q / 2:g}": round(d, 5) for q, d in differences.items()},
        "previous": _previous(folder, config, version),
    }
    found = export_weights(
        arrays, config, folder, version=version, facts=facts, share=share
    )
    log = lzma.compress((run / "log.jsonl").read_bytes(), preset=9)
    (folder / found.name / LOG).write_bytes(log)
    return found


def rounded_layers(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A run's arrays with the matrices of its transforms on coarser grids.

    Each output's weights are rounded to multiples of a power of two, so many of which
    hold the largest: 128 in the networks' large layers, 2048 in the linear transforms,
    whose errors go into every pixel. They are float16 still, but xz packs them into
    little more than a byte, and into 12 bits. The prior stays: it has its own grid.

    Args:
        arrays: `ema/...` and others, as `weights.npz` holds them.
    """
    found = dict(arrays)
    for path, value in arrays.items():
        if path.startswith("ema/prior/"):
            continue
        linear = path.startswith("ema/") and path.endswith("/klt")
        if linear or large_layer(path, value):
            top = np.maximum(np.abs(value).max(-2, keepdims=True), LEAST_WEIGHT)
            bits = LINEAR_BITS if linear else LAYER_BITS
            step = 2.0 ** (np.ceil(np.log2(top)) - bits)
            # Zeros without a sign, as a step of training leaves them.
            rounded = np.round(value / step) * step + 0.0
            found[path] = rounded.astype(value.dtype)
    return found


def run_facts(run: Path, config: TrainConfig) -> dict[str, Any]:
    """What a card says of the training.

    Args:
        run: the run's folder, with `log.jsonl` and what it recorded
            (`codax.train.record`).
        config: its configuration.

    Returns:
        Hours by kind of machine, megapixels, steps, seed, training configuration, data
        and digests of it, licence, attribution, the commands, code and packages, and
        the chain of runs behind the weights that it began with.
    """
    record = read_record(run)
    hours = record.pop("hours")
    last = {"seconds": 3600 * sum(hours.values()), "megapixels": 0.0, "step": 0}
    for text in (run / "log.jsonl").read_text().splitlines():
        line = json.loads(text)
        machine = line.get("machine", "cpu")
        spent = max(0.0, line["seconds"] - last["seconds"])
        hours[machine] = hours.get(machine, 0.0) + spent / 3600
        last = line
    commands = run / "commands.txt"
    settings = dataclasses.asdict(config)
    del settings["model"]
    return {
        "hours": {machine: round(value, 3) for machine, value in hours.items()},
        "megapixels": round(last["megapixels"], 1),
        "steps": last["step"],
        "seed": config.seed,
        "training": settings,
        "data": list(config.data),
        "licence": LICENCE,
        "attribution": "ATTRIBUTION.md",
        "command": commands.read_text().splitlines() if commands.is_file() else [],
    } | record


def next_version(folder: Path, stem: str) -> int:
    """The version after the newest `stem-vN` of a folder of checkpoints; 1 at first."""
    return max(_versions(folder, stem), default=0) + 1


def _versions(folder: Path, stem: str) -> dict[int, Path]:
    """Folders `stem-vN` by N."""
    pattern = re.compile(re.escape(stem) + r"-v(\d+)")
    found = {path: pattern.fullmatch(path.name) for path in folder.glob(f"{stem}-v*")}
    return {int(match[1]): path for path, match in found.items() if match}


def _previous(folder: Path, config: TrainConfig, version: int) -> dict[str, str]:
    """Hashes of older versions to their names, so that an error can name them."""
    known: dict[str, str] = {}
    versions = _versions(folder, f"{config.codec}-{config.preset}")
    for number in sorted(n for n in versions if n < version):
        card = json.loads((versions[number] / "card.json").read_text())
        known |= card.get("previous", {}) | {card["weights_hash"]: card["name"]}
    return known


def set_default(folder: Path, name: str) -> None:
    """Makes one checkpoint of a folder the one used when none is named."""
    for path in sorted(folder.glob("*/card.json")):
        card = json.loads(path.read_text())
        wanted = path.parent.name == name
        if wanted != bool(card.get("default", False)):
            card["default"] = wanted
            path.write_text(json.dumps(card, indent=1) + "\n")
