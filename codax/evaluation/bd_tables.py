"""BD-rates as tables for other programs: CSV, LaTeX, and a frame of pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from codax.errors import UnsupportedError
from codax.evaluation.bdrate import METHOD, BdRate
from codax.evaluation.summary import CodecSummary

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["bd_csv", "bd_frame", "bd_latex", "bd_rows"]

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    }
)


def bd_rows(summaries: Sequence[CodecSummary], anchor: str) -> list[dict[str, Any]]:
    """A row for each codec, with a column for each figure.

    Args:
        summaries: of `summarise`.
        anchor: what the BD-rates are against.

    Returns:
        Columns `codec`, `anchor`, `pictures`; for each metric M `M_percent`, the
        BD-rate, `M_low` and `M_high`, the part of the scale that it rests on, and
        `M_spans`, whether that is the whole interval; `single_percent`, the mean of the
        pictures' own BD-rates by the first metric, `single_low` and `single_high`, its
        95 % interval; `encode_s` and `decode_s`. None where there is no figure.
    """
    rows = []
    for summary in summaries:
        row: dict[str, Any] = {
            "codec": summary.name,
            "anchor": anchor,
            "pictures": summary.pictures,
        }
        for metric in summary.metrics:
            rate = summary.bd.get(metric.name)
            for field in ("percent", "low", "high", "spans"):
                row[f"{metric.name}_{field}"] = getattr(rate, field, None)
        single = summary.by_picture
        row["single_percent"] = single.mean if single else None
        row["single_low"] = single.low if single else None
        row["single_high"] = single.high if single else None
        rows.append({**row, "encode_s": summary.encode_s, "decode_s": summary.decode_s})
    return rows


def bd_frame(summaries: Sequence[CodecSummary], anchor: str) -> DataFrame:
    """The rows of `bd_rows` as a frame of pandas, with the codecs as its index.

    Raises:
        UnsupportedError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UnsupportedError(
            "the table as a frame: the package pandas is not installed; "
            "pip install pandas, or take bd_csv"
        ) from error
    return pandas.DataFrame(bd_rows(summaries, anchor)).set_index("codec")


def bd_csv(summaries: Sequence[CodecSummary], anchor: str) -> str:
    """The rows of `bd_rows` as CSV, with a head; empty where there is no figure."""
    rows = bd_rows(summaries, anchor)
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def bd_latex(summaries: Sequence[CodecSummary], anchor: str) -> str:
    """A tabular of LaTeX for the package booktabs: codecs by metrics, in percent.

    A figure that rests on a part of the interval only has that part behind it.
    """
    metrics = summaries[0].metrics if summaries else ()
    spans = "; ".join(f"{metric.label} {metric.span}" for metric in metrics)
    heads = ["codec", *(_escaped(metric.label) for metric in metrics)]
    lines = [
        f"% BD-rate in percent against {anchor}: {METHOD}; {spans}.",
        f"\\begin{{tabular}}{{l{'r' * len(metrics)}}}",
        "\\toprule",
        f"{' & '.join(heads)} \\\\",
        "\\midrule",
    ]
    for summary in summaries:
        cells = [_cell(summary.bd.get(metric.name)) for metric in metrics]
        lines.append(f"{' & '.join([_escaped(summary.name), *cells])} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _cell(rate: BdRate | None) -> str:
    if rate is None or rate.percent is None:
        return "--"
    part = "" if rate.spans else f" ({_escaped(rate.part)})"
    return f"${rate.percent:+.1f}${part}"


def _escaped(text: str) -> str:
    return text.translate(_LATEX)
