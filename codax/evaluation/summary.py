"""What a report says of a sweep: curves, BD-rates, seconds, machine."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codax import __version__
from codax.errors import ConfigError
from codax.evaluation.bdrate import (
    METHOD,
    BdRate,
    PictureBdRate,
    bd_rate,
    bd_rate_pictures,
)
from codax.evaluation.curves import (
    Curve,
    complete_pictures,
    curve_of,
    picture_curves,
    published,
)
from codax.evaluation.metric_table import Metric, metrics_in
from codax.evaluation.outside_metrics import find_metrics

__all__ = [
    "CodecSummary",
    "anchor_curve",
    "as_json",
    "codec_as_json",
    "conditions",
    "summarise",
]

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CodecSummary:
    """One codec of a sweep against one anchor.

    Attributes:
        name: of the codec.
        pictures: how many it coded at any quality.
        curves: mean curve by metric; absent where a metric was not measured.
        bd: BD-rate by metric; absent where it could not be computed.
        by_picture: BD-rates of single pictures by the first of `metrics`; None against
            a published curve, or where they were not asked for.
        reasons: why a BD-rate is absent or should be read with care.
        encode_s: median seconds to encode a picture.
        decode_s: median seconds to decode a picture.
        settings: of the codec.
        measured: where the rows were made: each commit and machine in them.
        metrics: those that codecs are compared by, the first rules the report.
    """

    name: str
    pictures: int
    curves: dict[str, Curve]
    bd: dict[str, BdRate]
    by_picture: PictureBdRate | None
    reasons: tuple[str, ...]
    encode_s: float
    decode_s: float
    settings: Mapping[str, Any]
    measured: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()


def anchor_curve(
    rows: Sequence[Row], anchor: str, metric: str | Metric
) -> Curve | None:
    """The mean curve of a codec of the sweep, or a published curve.

    Args:
        rows: of the sweep.
        anchor: a codec in the rows, or the identifier of a published curve, which
            holds for Kodak only.
        metric: a metric, or what `find_metric` finds it by.

    Returns:
        The curve; None if it does not have the metric.

    Raises:
        ConfigError: neither a codec of the rows nor a published curve, or a metric that
            is not found.
    """
    if any(row["codec"] == anchor for row in rows):
        return curve_of(rows, anchor, metric)
    return published(anchor, metric)


def summarise(
    rows: Sequence[Row],
    anchor: str,
    metrics: Iterable[str | Metric] | None = None,
    *,
    single: bool = True,
) -> list[CodecSummary]:
    """Every codec of a sweep against an anchor.

    Args:
        rows: of the sweep.
        anchor: as for `anchor_curve`.
        metrics: to compare by, such as those of `Sweep`; None: those of the table that
            the rows hold.
        single: with BD-rates of single pictures, which take the most time.

    Returns:
        One summary for each codec, in the order of the rows.

    Raises:
        ConfigError: an unknown anchor, or a metric that is not found.
    """
    found = metrics_in(rows) if metrics is None else find_metrics(metrics)
    compared = tuple(metric for metric in found if metric.compared)
    names = list(dict.fromkeys(str(row["codec"]) for row in rows))
    return [_codec(rows, name, anchor, compared, single) for name in names]


def conditions(folder: str, command: str) -> dict[str, str]:
    """What must stand beside figures: command, commit, machine, data, version."""
    return {
        "command": command,
        "codax": __version__,
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} threads, {platform.system()}",
        "python": platform.python_version(),
        "data": folder,
    }


def as_json(
    summaries: Sequence[CodecSummary], anchor: str, facts: Mapping[str, str]
) -> dict[str, Any]:
    """All that a report says in numbers, for a JSON file."""
    return {
        "conditions": dict(facts),
        "anchor": anchor,
        "method": METHOD,
        "intervals_db": {
            metric.name: metric.interval for s in summaries[:1] for metric in s.metrics
        },
        "codecs": [codec_as_json(summary) for summary in summaries],
    }


def codec_as_json(summary: CodecSummary) -> dict[str, Any]:
    """One codec's figures as JSON values."""
    pictures = summary.by_picture
    rates = {metric: asdict(rate) for metric, rate in summary.bd.items()}
    for rate in rates.values():
        del rate["part"]  # The same as low and high.
    return {
        "codec": summary.name,
        "pictures": summary.pictures,
        "bd_rate": rates,
        "bd_rate_pictures": asdict(pictures) if pictures else None,
        "curves": {
            metric: {"bpp": curve.bpp, "db": curve.db}
            for metric, curve in summary.curves.items()
        },
        "encode_s": summary.encode_s,
        "decode_s": summary.decode_s,
        "settings": dict(summary.settings),
        "measured": summary.measured,
        "notes": summary.reasons,
    }


def _codec(
    rows: Sequence[Row],
    name: str,
    anchor: str,
    metrics: tuple[Metric, ...],
    single: bool,
) -> CodecSummary:
    own = [row for row in rows if row["codec"] == name]
    first = metrics[0] if metrics else None
    curves: dict[str, Curve] = {}
    bd: dict[str, BdRate] = {}
    reasons: list[str] = []
    for metric in metrics:
        shared = _shared_pictures(rows, name, anchor, metric, reasons)
        curve = curve_of([row for row in own if row["picture"] in shared], name, metric)
        if curve is None:
            reasons += _without_value(own, metric)
            continue
        curves[metric.name] = curve
        compared = [row for row in rows if row["picture"] in shared]
        reference = anchor_curve(compared, anchor, metric)
        if reference is None:
            reasons.append(f"{anchor} has no figures for {metric.name}")
            continue
        try:
            bd[metric.name] = bd_rate(reference, curve)
        except ConfigError as error:
            reasons.append(str(error))
        else:
            reasons += bd[metric.name].notes
    return CodecSummary(
        name=name,
        pictures=len({row["picture"] for row in own}),
        curves=curves,
        bd=bd,
        by_picture=_by_picture(rows, name, anchor, first if single else None),
        reasons=tuple(dict.fromkeys(reasons)),
        encode_s=statistics.median(row["encode_s"] for row in own),
        decode_s=statistics.median(row["decode_s"] for row in own),
        settings=own[0]["settings"],
        measured=tuple(
            dict.fromkeys(
                f"commit {row['commit']}, {row['machine']}"
                for row in own
                if "commit" in row
            )
        ),
        metrics=metrics,
    )


def _shared_pictures(
    rows: Sequence[Row], name: str, anchor: str, metric: Metric, reasons: list[str]
) -> set[str]:
    """Pictures that codec and anchor both coded in full; a reason if some are not."""
    shared = complete_pictures(rows, name, metric)
    # Without figures of the anchor there is a curve and no BD-rate.
    shared &= complete_pictures(rows, anchor, metric) or shared
    count = len({row["picture"] for row in rows})
    if shared and len(shared) < count:
        reasons.append(f"{metric.name} over {len(shared)} of {count} pictures")
    return shared


def _without_value(own: Sequence[Row], metric: Metric) -> list[str]:
    """Why a metric that was measured has no curve, such as too small pictures."""
    causes = dict.fromkeys(row.get(f"{metric.name}_reason") for row in own)
    return [f"{metric.name} has no curve: {cause}" for cause in causes if cause]


def _by_picture(
    rows: Sequence[Row], name: str, anchor: str, metric: Metric | None
) -> PictureBdRate | None:
    """BD-rates of single pictures by a metric; None if one has too few points."""
    if metric is None:
        return None
    try:
        return bd_rate_pictures(
            picture_curves(rows, anchor, metric), picture_curves(rows, name, metric)
        )
    except ConfigError:
        return None


def _commit() -> str:
    """The commit of the checkout that codax runs from, or "unknown"."""
    folder = Path(__file__).resolve().parents[2]
    try:
        commit = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip()


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
