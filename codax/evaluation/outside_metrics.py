"""Finds metrics: in the table, in a file of one's own, in an installed package.

`FILE.py:NAME` takes NAME from a file: a `Metric`, or a function of two pictures whose
higher values are better. A name that is not in the table is looked for in the entry
points of the group `codax.metrics`. Nothing else is ever imported.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from codax.errors import ConfigError
from codax.evaluation.metric_table import METRICS, Metric, in_one_line
from codax.files.scripts import run_file

__all__ = ["ENTRY_POINTS", "find_metric", "find_metrics"]

ENTRY_POINTS = "codax.metrics"


def find_metrics(metrics: Iterable[str | Metric]) -> tuple[Metric, ...]:
    """Metrics by what they are asked by.

    Args:
        metrics: names, `FILE.py:NAME`, or metrics themselves.

    Returns:
        As many, in this order.

    Raises:
        ConfigError: none at all, one that is not found, or two of one name.
    """
    files: dict[Path, ModuleType] = {}
    found = tuple(_find(metric, files) for metric in metrics)
    if not found:
        raise ConfigError(f"no metric: expected some of {_known()}")
    names = [metric.name for metric in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"metric {name} is there twice; expected other names")
    return found


def find_metric(metric: str | Metric) -> Metric:
    """One metric; as `find_metrics`."""
    return _find(metric, {})


def _find(metric: str | Metric, files: dict[Path, ModuleType]) -> Metric:
    if isinstance(metric, Metric):
        found = metric
    elif not isinstance(metric, str):
        raise ConfigError(
            f"metric of {type(metric).__name__}: expected a name or a Metric"
        )
    elif metric in METRICS:
        found = METRICS[metric]
    elif ":" in metric or metric.endswith(".py"):
        found = _of_file(metric, files)
    else:
        found = _of_package(metric)
    if METRICS.get(found.name, found) is not found:
        raise ConfigError(
            f"metric {found.name}: the table has another one of this name; rename yours"
        )
    return found


def _of_file(text: str, files: dict[Path, ModuleType]) -> Metric:
    """The metric that `FILE.py:NAME` means."""
    file, _, name = text.rpartition(":")
    path = Path(file or text)
    if not (file and name):
        raise ConfigError(f"metric {text}: expected FILE.py:NAME")
    if path not in files:
        files[path] = run_file(path, "codax_metric")
    module = files[path]
    if name not in vars(module):
        usable = [
            known
            for known, thing in vars(module).items()
            if isinstance(thing, Metric) or callable(thing)
        ]
        hint = _nearest(name, usable)
        raise ConfigError(f"metric {text}: {path} defines no {name}{hint}")
    # The text of the file is the version: changed code shall not leave old values.
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return _made(vars(module)[name], name, version=digest, where=text)


def _of_package(name: str) -> Metric:
    """The metric that an installed package offers under this name."""
    offered = metadata.entry_points(group=ENTRY_POINTS)
    if name not in offered.names:
        hint = _nearest(name, [*METRICS, *offered.names])
        raise ConfigError(f"metric {name!r} is unknown: expected {_known()}{hint}")
    point = offered[name]
    where = f"{name} of {point.value}"
    try:
        thing = point.load()
    except Exception as error:
        raise ConfigError(f"metric {where} failed with {in_one_line(error)}") from error
    version = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    return _made(thing, name, version=version, where=where)


def _made(thing: Any, name: str, *, version: str, where: str) -> Metric:
    """What was found, as a metric."""
    if isinstance(thing, Metric):
        return thing if thing.version else replace(thing, version=version)
    if not callable(thing):
        raise ConfigError(
            f"metric {where} is {type(thing).__name__}; expected a Metric or a "
            "function(reference, decoded)"
        )
    return Metric(name=name, function=thing, version=version)


def _known() -> str:
    offered = metadata.entry_points(group=ENTRY_POINTS).names
    return ", ".join([*METRICS, *sorted(offered), "FILE.py:NAME"])


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]}?" if near else ""
