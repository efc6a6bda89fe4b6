"""What a run records beside its weights, so that its card can tell all of it.

run/before.json       of the weights it began with: hours by kind of machine, and the
chain of runs that made them, back to nothing
run/environments.json code and packages of each session of the run
run/data.json         how many pictures, digests of them and of those held out, the
names of the latter, and the folders that were given
run/commands.txt      the commands that were not refused
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from codax.errors import ConfigError
from codax.evaluation.summary import conditions
from codax.train.pictures import Picture, digest

__all__ = [
    "CHAIN",
    "HOURS",
    "START",
    "chain_of",
    "check_data",
    "data_of",
    "digest_of",
    "machine_name",
    "package_versions",
    "read_data",
    "read_record",
    "write_before",
    "write_command",
    "write_data",
    "write_environment",
]

HOURS, CHAIN = "hours/", "chain"
"""Names, among arrays to start from, of hours by kind of machine and of the chain."""
START = "start.npz"
"""The weights that a run of fine-tuning began with, in its folder."""
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow", "constriction")
OF_A_LINK = (
    "name",
    "weights_hash",
    "config",
    "training",
    "command",
    "environments",
    "data_digests",
    "hours",
    "megapixels",
    "steps",
)
"""What a chain keeps of the card of weights that others began with."""


def chain_of(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The chain of runs behind a checkpoint, the oldest first and itself last.

    Args:
        card: its card; older ones begin the chain, since they have none.
    """
    own = {name: card[name] for name in OF_A_LINK if name in card}
    return [*card.get("chain", []), own]


def machine_name(hosts: int = 1) -> str:
    """The kind of machine, such as `cpu, 2 cores` or `4 hosts of 8 x NVIDIA H100`.

    Args:
        hosts: how many such machines there are.
    """
    devices = jax.local_devices()
    before = f"{hosts} hosts of " if hosts > 1 else ""
    if devices[0].platform == "cpu":
        return f"{before}cpu, {os.cpu_count()} cores"
    count = f"{len(devices)} x " if len(devices) > 1 else ""
    return before + count + devices[0].device_kind


def write_before(run: Path, initial: Mapping[str, np.ndarray]) -> None:
    """Writes what a run's weights had before it, for its card.

    Args:
        run: its folder.
        initial: arrays to start from, see `codax.train.initial.load_initial`.
    """
    hours = {
        name.removeprefix(HOURS): float(value)
        for name, value in initial.items()
        if name.startswith(HOURS)
    }
    chain = json.loads(str(initial[CHAIN])) if CHAIN in initial else []
    _write(run / "before.json", {"hours": hours, "chain": chain})


def write_environment(run: Path) -> None:
    """Adds code and packages of this session, if they differ from the last one's."""
    facts: dict[str, Any] = conditions("", "")
    own = {name: facts[name] for name in ("codax", "commit", "python", "machine")}
    own["packages"] = package_versions()
    known = _read(run / "environments.json", [])
    if not known or known[-1] != own:
        _write(run / "environments.json", [*known, own])


def package_versions() -> dict[str, str]:
    """Versions of what a run computes with, `none` of what is not installed."""
    return {name: _version(name) for name in PACKAGES}


def data_of(
    folders: Sequence[str], training: Sequence[Picture], held_out: Sequence[Picture]
) -> dict[str, Any]:
    """What is recorded of the pictures of a run.

    Args:
        folders: that were given in place of the configuration's.
        training: pictures to train on.
        held_out: pictures that are set aside.
    """
    return {
        "training": digest_of(training),
        "held_out": digest_of(held_out),
        "folders": [os.path.abspath(folder) for folder in folders],
        "held_out_names": sorted(path.name for path in held_out),
    }


def write_data(run: Path, data: Mapping[str, Any]) -> None:
    """Writes what `data_of` gave."""
    _write(run / "data.json", data)


def read_data(run: Path) -> dict[str, Any]:
    """What a run recorded of its pictures; empty for runs before there was a record."""
    return _read(run / "data.json", {})


def check_data(run: Path, data: Mapping[str, Any]) -> None:
    """Compares pictures with those that a run was begun with.

    Args:
        run: its folder.
        data: of `data_of`.

    Raises:
        ConfigError: they are others.
    """
    before = read_data(run)
    changed = [
        f"{data[key]['pictures']} {what} instead of {before[key]['pictures']}"
        + (" (others)" if data[key]["pictures"] == before[key]["pictures"] else "")
        for key, what in (("training", "to train on"), ("held_out", "held out"))
        if before and data[key] != before[key]
    ]
    if changed:
        raise ConfigError(
            f"{run}: not the pictures that the run was begun with: "
            f"{', '.join(changed)}; give its own, or say `new_data=True`"
        )


def write_command(run: Path, command: str, *, first: bool) -> None:
    """Adds a command that was not refused, for the card.

    Args:
        run: the run's folder.
        command: its words; nothing is written for none.
        first: of the run.
    """
    if command:
        with (run / "commands.txt").open(
            "w" if first else "a", encoding="utf-8", errors="surrogateescape"
        ) as file:
            file.write(command + "\n")


def digest_of(paths: Iterable[Picture]) -> dict[str, Any]:
    """How many pictures, and a digest of all, whatever their names and order.

    Returns:
        `pictures` and `sha256`, the hash of the sorted `digest`s.
    """
    found = sorted(digest(path).hex() for path in paths)
    whole = hashlib.sha256("\n".join(found).encode()).hexdigest()
    return {"pictures": len(found), "sha256": whole}


def read_record(run: Path) -> dict[str, Any]:
    """What a run recorded.

    Returns:
        `hours` and `chain` of the weights before it, its `environments`, and its
        `data_digests` where they were written.
    """
    before = _read(run / "before.json", {})
    found = {
        "hours": before.get("hours", {}),
        "chain": before.get("chain", []),
        "environments": _read(run / "environments.json", []),
    }
    # Folders and names are the machine's own, and stay out of cards.
    data = {k: v for k, v in read_data(run).items() if k in ("training", "held_out")}
    return found | ({"data_digests": data} if data else {})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text()) if path.is_file() else otherwise


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
