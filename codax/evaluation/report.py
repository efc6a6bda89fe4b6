"""The report page: one HTML file with plots, tables and pictures, and no network.

The page's own text, style and script stand in `report.html`; this module fills in data.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codax.evaluation.bdrate import METHOD, BdRate
from codax.evaluation.candidate import FileCodec
from codax.evaluation.curves import Curve, published
from codax.evaluation.metric_table import DEFAULT_METRICS, Metric, metrics_in
from codax.evaluation.outside_metrics import find_metrics
from codax.evaluation.plots import bd_bars, rate_distortion, rate_time, scatter, to_svg
from codax.evaluation.summary import CodecSummary
from codax.evaluation.sweep import Sweep, measure, open_picture

__all__ = ["MatchedFile", "draw_plots", "match_rate", "shown_pictures", "write_report"]

# Larger pictures are shown by their middle; sizes and metrics are of the whole.
_SHOWN_SIDE = 768


@dataclass(frozen=True, kw_only=True)
class MatchedFile:
    """A file near a wanted rate, and its picture.

    Attributes:
        quality: the setting that came nearest.
        data: the file.
        picture: decoded from it.
    """

    quality: float
    data: bytes
    picture: Image.Image


def match_rate(
    codec: FileCodec,
    picture: Image.Image,
    target_bytes: int,
    known: Mapping[float, int] | None = None,
) -> MatchedFile:
    """The file of a codec whose size comes nearest to a target.

    Args:
        codec: to code with.
        picture: RGB.
        target_bytes: size wanted.
        known: sizes in bytes at some qualities, which narrow the search.

    Returns:
        The nearest file within the codec's range of qualities.
    """
    # Whole multiples of the step, so that no quality is tried twice.
    low = round(codec.qualities[0] / codec.step)
    high = round(codec.qualities[-1] / codec.step)
    for quality, size in (known or {}).items():
        place = round(quality / codec.step)
        if size <= target_bytes:
            low = max(low, place)
        else:
            high = min(high, place)
    files: dict[int, bytes] = {}

    def size_at(place: int) -> int:
        if place not in files:
            files[place] = codec.encode(picture, place * codec.step)
        return len(files[place])

    while high - low > 1:
        middle = (low + high) // 2
        if size_at(middle) <= target_bytes:
            low = middle
        else:
            high = middle
    place = min((low, high), key=lambda p: abs(size_at(p) - target_bytes))
    return MatchedFile(
        quality=place * codec.step,
        data=files[place],
        picture=codec.decode(files[place]),
    )


def shown_pictures(
    folder: Path,
    names: Sequence[str],
    codecs: Sequence[FileCodec],
    rows: Sequence[Mapping[str, Any]],
    *,
    bpp: float,
    metrics: Iterable[str | Metric] = DEFAULT_METRICS,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Originals and decoded pictures at a matched rate, for the page.

    Args:
        folder: of the pictures.
        names: of those to show, below the folder.
        codecs: to show.
        rows: of the sweep, which narrow the search for the rate.
        bpp: wanted rate in bits per pixel.
        metrics: whose values stand below the pictures.

    Returns:
        What the page's script reads, one entry for each picture; and the failures.
    """
    found = find_metrics(metrics)
    shown, failures = [], []
    for name in names:
        original = open_picture(folder / name)
        pixels = original.width * original.height
        entry: dict[str, Any] = {
            "name": name,
            "width": original.width,
            "height": original.height,
            "original": _data_address(original),
            "originalBytes": (folder / name).stat().st_size,
            "files": {},
        }
        for codec in codecs:
            known = {
                row["quality"]: row["bytes"]
                for row in rows
                if row["codec"] == codec.name and row["picture"] == name
            }
            try:
                match = match_rate(codec, original, round(bpp * pixels / 8), known)
                entry["files"][codec.name] = _shown_file(original, match, found)
            except Exception as error:
                # Whatever a codec raises, the page is still made with the others.
                failures.append(f"{codec.name}, {name}: {error}")
        shown.append(entry)
    return shown, failures


def draw_plots(
    summaries: Sequence[CodecSummary], anchor: str, references: Sequence[str] = ()
) -> dict[str, Any]:
    """The figures of a report, by file name without suffix.

    Args:
        summaries: of the codecs.
        anchor: what the BD-rates are against.
        references: identifiers of published curves to draw beside them.

    Returns:
        matplotlib figures; those without anything to draw are absent.
    """
    figures: dict[str, Any] = {}
    metrics = summaries[0].metrics if summaries else ()
    for metric in metrics:
        name = metric.name
        curves = [s.curves[name] for s in summaries if name in s.curves]
        drawn = [*curves, *_references(references, metric)]
        if curves:
            figures[f"rate_{name}"] = rate_distortion(
                drawn, title=f"Rate and {metric.label}"
            )
        bars = {n: rate for n, rate in _rates(summaries, metric).items() if n != anchor}
        if bars:
            figures[f"bd_{name}"] = bd_bars(
                bars, anchor=anchor, title=f"By {metric.label}"
            )
    for metric in metrics[:1]:
        rates = _rates(summaries, metric)
        points = {
            s.name: (max(s.decode_s, 1e-4), rates[s.name].percent or 0.0)
            for s in summaries
            if s.name in rates
        }
        if points:
            title = f"Rate by {metric.label} and decoding time"
            figures["rate_time"] = rate_time(points, anchor=anchor, title=title)
        pictures = {
            s.name: s.by_picture.pictures
            for s in summaries
            if s.by_picture and s.name != anchor
        }
        if pictures:
            title = f"Single pictures by {metric.label}"
            figures["pictures"] = scatter(pictures, anchor=anchor, title=title)
    return figures


def write_report(
    path: Path,
    *,
    result: Sweep,
    summaries: Sequence[CodecSummary],
    anchor: str,
    conditions: Mapping[str, str],
    figures: Mapping[str, Any],
    pictures: Sequence[Mapping[str, Any]],
    bpp: float,
    title: str = "codax evaluate",
) -> None:
    """Writes the page.

    Args:
        path: of the HTML file.
        result: of the sweep.
        summaries: of `summarise`.
        anchor: what the BD-rates are against.
        conditions: of `conditions`.
        figures: of `draw_plots`.
        pictures: of `shown_pictures`.
        bpp: rate that the pictures were matched to.
        title: of the page.
    """
    metrics = result.metrics or metrics_in(result.rows)
    compared = summaries[0].metrics if summaries else ()
    data = {
        "summary": [_summary_fields(summary) for summary in summaries],
        "metrics": [
            {"name": m.name, "label": m.label, "digits": m.digits} for m in metrics
        ],
        "compared": [{"name": m.name, "label": m.label} for m in compared],
        "rows": [_row_fields(row, metrics) for row in result.rows],
        "pictures": list(pictures),
        "bpp": bpp,
    }
    fields = {
        "title": html.escape(title),
        "conditions": _pairs(conditions),
        "anchor": html.escape(anchor),
        "method": html.escape(_method(compared)),
        "metrics": html.escape(_notes(metrics)),
        "headline": html.escape(compared[0].label if compared else ""),
        "plots": "".join(f"<figure>{to_svg(f)}</figure>" for f in figures.values()),
        "settings": _pairs({s.name: json.dumps(s.settings) for s in summaries}),
        "problems": _problems(result, summaries),
        # "</script>" inside the data would end it.
        "data": json.dumps(data).replace("<", "\\u003c"),
    }
    page = resources.files("codax.evaluation").joinpath("report.html")
    parts = page.read_text(encoding="utf-8").split("{{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, rest = part.split("}}", 1)
        filled.append(fields[name] + rest)
    # A picture may have a name that is no text.
    path.write_text("".join(filled), encoding="utf-8", errors="backslashreplace")


def _rates(summaries: Sequence[CodecSummary], metric: Metric) -> dict[str, BdRate]:
    """BD-rates with a number, by codec."""
    found = {s.name: s.bd[metric.name] for s in summaries if metric.name in s.bd}
    return {name: rate for name, rate in found.items() if rate.percent is not None}


def _references(references: Sequence[str], metric: Metric) -> list[Curve]:
    curves = [published(reference, metric) for reference in references]
    return [curve for curve in curves if curve is not None]


def _shown_file(
    original: Image.Image, match: MatchedFile, metrics: Sequence[Metric]
) -> dict[str, Any]:
    a, b = np.asarray(original), np.asarray(match.picture.convert("RGB"))
    values = measure(a, b, metrics)
    texts = [
        f"{metric.label} {metric.text(values[metric.name])}"
        for metric in metrics
        if values[metric.name] is not None
    ]
    return {
        "src": _data_address(match.picture),
        "bytes": len(match.data),
        "bpp": len(match.data) * 8 / (original.width * original.height),
        "quality": round(match.quality, 2),
        "text": "lossless" if np.array_equal(a, b) else ", ".join(texts),
    }


def _data_address(picture: Image.Image) -> str:
    """The picture's middle as a lossless WebP inside an address."""
    width, height = (min(side, _SHOWN_SIDE) for side in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    buffer = io.BytesIO()
    middle = picture.convert("RGB").crop((left, top, left + width, top + height))
    middle.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _summary_fields(summary: CodecSummary) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "codec": summary.name,
        "pictures": summary.pictures,
        "encode_s": summary.encode_s,
        "decode_s": summary.decode_s,
    }
    for metric in summary.metrics:
        rate = summary.bd.get(metric.name)
        fields[metric.name] = rate.percent if rate else None
        fields[f"{metric.name}_text"] = str(rate) if rate else "none"
    if summary.by_picture:
        mean = summary.by_picture
        fields["by_picture"] = mean.mean
        fields["by_picture_text"] = (
            f"{mean.mean:+.1f} % [{mean.low:+.1f}, {mean.high:+.1f}]"
        )
    return fields


def _row_fields(row: Mapping[str, Any], metrics: Sequence[Metric]) -> dict[str, Any]:
    names = [metric.name for metric in metrics]
    kept = ("picture", "codec", "quality", "bytes", "bpp", *names)
    return {name: row.get(name) for name in (*kept, "encode_s", "decode_s")}


def _method(compared: Sequence[Metric]) -> str:
    return "; ".join([METHOD, *(f"{m.label} {m.span}" for m in compared)])


def _notes(metrics: Sequence[Metric]) -> str:
    """What the page says of the metrics, where there is something to say."""
    return "".join(f" {m.label}: {m.note}." for m in metrics if m.note)


def _pairs(fields: Mapping[str, str]) -> str:
    return "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in fields.items()
    )


def _problems(result: Sweep, summaries: Sequence[CodecSummary]) -> str:
    """A list of all that a reader should know; empty if there is nothing."""
    texts = [f"{s.name}: {reason}" for s in summaries for reason in s.reasons]
    if result.unreadable:
        names = ", ".join(result.unreadable)
        texts.append(f"{len(result.unreadable)} pictures could not be read: {names}")
    if result.failures:
        texts.append(f"{len(result.failures)} files could not be made or decoded")
        texts += [
            f"{row['codec']} at {row['quality']:g}, {row['picture']}: {row['error']}"
            for row in result.failures[:20]
        ]
    if not texts:
        return ""
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<h2>To be read with care</h2><ul>{items}</ul>"
