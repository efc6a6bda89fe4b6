"""Rate-distortion curves: from rows of a sweep, and published ones.

A curve is the mean over pictures at each quality setting: mean bits per pixel, and the
mean of the pictures' values on the scale of the metric, such as the mean PSNR and
-10 log10(1 - mean MS-SSIM).
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from codax.errors import ConfigError
from codax.evaluation.metric_table import Metric
from codax.evaluation.outside_metrics import find_metric

__all__ = [
    "Curve",
    "complete_pictures",
    "curve_of",
    "picture_curves",
    "published",
    "published_ids",
]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points of one codec, in order of rising rate.

    Attributes:
        name: what the report calls it.
        metric: of the values; a name of the table becomes its metric.
        bpp: bits per pixel, above 0.
        db: values on the scale of the metric: dB for PSNR and MS-SSIM.
        source: where published figures come from; empty for own rows.
        notes: what a reader should know about published figures.
    """

    name: str
    metric: str | Metric
    bpp: tuple[float, ...]
    db: tuple[float, ...]
    source: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        """Sorts the points by rate; refuses unequal counts and impossible values.

        Raises:
            ConfigError: those, or a metric that is not found.
        """
        object.__setattr__(self, "metric", find_metric(self.metric))
        if len(self.bpp) != len(self.db):
            raise ConfigError(
                f"curve {self.name}: {len(self.bpp)} rates and {len(self.db)} "
                "qualities; expected as many of each"
            )
        if not all(math.isfinite(rate) and rate > 0 for rate in self.bpp):
            raise ConfigError(f"curve {self.name}: expected finite rates above 0")
        points = sorted(zip(self.bpp, self.db, strict=True))
        object.__setattr__(self, "bpp", tuple(float(rate) for rate, _ in points))
        object.__setattr__(self, "db", tuple(float(value) for _, value in points))


def curve_of(
    rows: Iterable[Mapping[str, Any]], codec: str, metric: str | Metric = "psnr"
) -> Curve | None:
    """The mean curve of one codec over the pictures of a sweep.

    Every point is a mean over the same pictures: those of `complete_pictures`.

    Args:
        rows: rows of `codax.evaluation.sweep`.
        codec: the name to take.
        metric: a metric, or what `find_metric` finds it by.

    Returns:
        The curve; None if no picture is complete in this metric.

    Raises:
        ConfigError: a metric that is not found.
    """
    metric = find_metric(metric)
    own = [row for row in rows if row["codec"] == codec]
    pictures = complete_pictures(own, codec, metric)
    by_quality: dict[float, list[Mapping[str, Any]]] = {}
    for row in own:
        if row["picture"] in pictures:
            by_quality.setdefault(row["quality"], []).append(row)
    if not by_quality:
        return None
    groups = list(by_quality.values())
    means = [float(np.mean([row[metric.name] for row in group])) for group in groups]
    return Curve(
        name=codec,
        metric=metric,
        bpp=tuple(float(np.mean([row["bpp"] for row in group])) for group in groups),
        db=tuple(metric.on_scale(mean) for mean in means),
    )


def complete_pictures(
    rows: Iterable[Mapping[str, Any]], codec: str, metric: str | Metric = "psnr"
) -> set[str]:
    """The pictures that a codec coded at every quality, with a value of the metric."""
    name = find_metric(metric).name
    qualities: dict[str, set[float]] = {}
    for row in rows:
        if row["codec"] == codec and row.get(name) is not None:
            qualities.setdefault(row["picture"], set()).add(row["quality"])
    wanted = set().union(*qualities.values())
    return {picture for picture, found in qualities.items() if found == wanted}


def picture_curves(
    rows: Iterable[Mapping[str, Any]], codec: str, metric: str | Metric = "psnr"
) -> dict[str, Curve]:
    """One curve for each complete picture, by its name."""
    metric = find_metric(metric)
    own = [row for row in rows if row["codec"] == codec]
    pictures = complete_pictures(own, codec, metric)
    by_picture: dict[str, list[Mapping[str, Any]]] = {}
    for row in own:
        if row["picture"] in pictures:
            by_picture.setdefault(row["picture"], []).append(row)
    return {
        picture: Curve(
            name=f"{codec}, {picture}",
            metric=metric,
            bpp=tuple(row["bpp"] for row in group),
            db=tuple(metric.on_scale(row[metric.name]) for row in group),
        )
        for picture, group in sorted(by_picture.items())
    }


def published(curve_id: str, metric: str | Metric = "psnr") -> Curve | None:
    """A published curve on Kodak, by its identifier, such as "compressai/vtm".

    Args:
        curve_id: one of `published_ids()`.
        metric: a metric, or what `find_metric` finds it by.

    Returns:
        The curve; None if the source does not give this metric.

    Raises:
        ConfigError: an unknown identifier, or a metric that is not found.

    Example:
        >>> published("compressai/vtm").db[0]
        26.14485
    """
    metric = find_metric(metric)
    data = _published_data()
    if curve_id not in data:
        near = difflib.get_close_matches(curve_id, data, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"published curve {curve_id!r} is unknown{hint}")
    entry = data[curve_id]
    values = entry.get(metric.name)
    if values is None:
        return None
    return Curve(
        name=curve_id,
        metric=metric,
        bpp=tuple(entry["bpp"]),
        db=tuple(metric.on_scale(value) for value in values),
        source=entry["source"],
        notes=entry["notes"],
    )


def published_ids() -> list[str]:
    """The identifiers of the published curves that ship with codax."""
    return list(_published_data())


@cache
def _published_data() -> dict[str, dict[str, Any]]:
    text = resources.files("codax.evaluation").joinpath("published.json")
    curves = json.loads(text.read_text(encoding="utf-8"))["curves"]
    return {entry["id"]: entry for entry in curves}
