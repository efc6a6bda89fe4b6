"""`codax evaluate`: codecs over a folder of pictures, to a report."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from codax.cli.common import (
    UsageError,
    add_codec_flag,
    add_common,
    add_shard_flag,
    load_codec_file,
    positive_count,
)
from codax.cli.metric_flag import add_metrics, chosen_metrics
from codax.cli.reporting import Reporter
from codax.errors import ConfigError

if TYPE_CHECKING:
    from codax.evaluation.candidate import FileCodec
    from codax.evaluation.summary import CodecSummary
    from codax.evaluation.sweep import Sweep

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax evaluate photos/ --codecs quadtree-tiny,jpeg,avif -o report/
  codax evaluate kodak/ --codecs webp,avif --anchor compressai/vtm -o report/
  codax evaluate photos/ --codecs jpeg,webp --metrics psnr,mine.py:score -o r/

Codes every picture of a folder into real files and compares rates and
qualities. The report folder holds report.html, plots, and the rows; with the
same folder an interrupted run goes on. Other codecs: jpeg, webp, avif,
avif-ssim, jpeg2000, jxl. MODEL@eN is a model with `encode -e N`.
"""
_MIN_QUALITIES = 4


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "evaluate",
        usage="codax evaluate (DIR --codecs A,B | --merge PART ...) -o REPORT [flags]",
        description=_DESCRIPTION,
        help="curves and BD-rates over pictures",
    )
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder of pictures")
    parser.add_argument(
        "--codecs", default="", metavar="A,B", help="models and other codecs"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="REPORT", help="folder to write"
    )
    parser.add_argument(
        "--anchor",
        metavar="NAME",
        help="compare against; one of the codecs or a published Kodak curve "
        "(default jpeg, else the first codec)",
    )
    parser.add_argument(
        "--qualities",
        type=_qualities,
        metavar="Q,Q",
        help="of codax models (default 5,15,...,95)",
    )
    add_codec_flag(parser)
    add_common(parser)
    advanced = parser.add_argument_group("advanced")
    add_metrics(advanced, "; the first rules the report")
    advanced.add_argument(
        "--keep-decoded",
        metavar="FOLDER",
        help="keep each decoded picture as FOLDER/PICTURE_CODEC_qQUALITY.png",
    )
    advanced.add_argument(
        "--published", default="", metavar="ID,ID", help="Kodak curves to draw too"
    )
    advanced.add_argument(
        "--pictures",
        type=_count,
        default=4,
        metavar="N",
        help="pictures to show in the page (default 4)",
    )
    advanced.add_argument(
        "--bpp",
        type=_rate,
        default=0.4,
        metavar="X",
        help="rate of the pictures shown (default 0.4)",
    )
    add_shard_flag(advanced, "pictures")
    advanced.add_argument(
        "--merge",
        nargs="+",
        metavar="PART",
        help="join reports of parts instead of measuring",
    )
    advanced.add_argument(
        "-f", "--force", action="store_true", help="write into any existing folder"
    )
    advanced.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="of models"
    )


def run(args: argparse.Namespace) -> int:
    """Sweeps, summarises, writes the report; returns the exit status."""
    from codax.evaluation.extras import NEEDED, REPORT, require

    report = Reporter(args)
    output = Path(args.output)
    _check_output(output, force=args.force)
    if args.merge:
        return _merge(args, output, report)
    if args.folder is None:
        raise UsageError("DIR is missing; name a folder of pictures, or --merge PART")
    names = _names(args.codecs)
    if not names:
        raise UsageError("--codecs names no codec; try --codecs jpeg,webp")
    # Before any work.
    own = (
        NEEDED[name] for name in (*names, *args.metrics.split(",")) if name in NEEDED
    )
    require([*REPORT, *own], "codax evaluate")
    metrics = chosen_metrics(args)
    if not any(metric.compared for metric in metrics):
        raise UsageError(
            f"--metrics {args.metrics}: codecs are not compared by it; add one that "
            "they are compared by, such as psnr"
        )
    anchor, references = _compared_with(args, names)

    from codax.evaluation.summary import conditions
    from codax.evaluation.sweep import find_pictures, sweep

    folder = Path(args.folder)
    keep = Path(args.keep_decoded) if args.keep_decoded else None
    if keep and keep.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"--keep-decoded {keep} lies in {folder}, whose pictures are coded; name a "
            "folder elsewhere"
        )
    passed_over: list[str] = []
    find_pictures(folder, passed_over)  # Before models are loaded: that takes seconds.
    for words in passed_over:
        report.note(f"passed over: {words}")
    load_codec_file(args)
    codecs = _load(names, args.device)
    if args.anchor in names:
        # A model may call itself by a longer name than the one it was asked by.
        anchor = codecs[names.index(args.anchor)].name
    elif not args.anchor:
        anchor = codecs[names.index(anchor)].name
    facts = conditions(folder.resolve().name, shlex.join(["codax", *sys.argv[1:]]))
    models = [codec.name for codec in codecs if codec.warm_up]
    with report.waiting("measuring") as wait:

        def progress(done: int, total: int, what: str) -> None:
            wait.goes_on(f"measuring {done} of {total}: {what}", done / max(total, 1))

        result = sweep(
            folder,
            codecs,
            output / "rows.jsonl",
            qualities=dict.fromkeys(models, args.qualities) if args.qualities else None,
            metrics=metrics,
            keep_decoded=keep,
            facts={key: facts[key] for key in ("commit", "machine")},
            shard=args.shard,
            progress=progress,
        )
    _say_problems(report, result)
    if not result.rows:
        raise ConfigError("no codec made a file; see the errors above")
    status = 1 if result.unreadable or result.failures else 0
    if args.shard != (1, 1):
        part, count = args.shard
        report.note(
            f"part {part} of {count}: {len(result.rows)} rows in {output}; "
            "`codax evaluate --merge` joins the parts"
        )
        return status
    summaries = _write(
        args, output, folder, codecs, result, anchor, references, facts, report
    )
    _say_summary(report, summaries, anchor, result)
    report.note(f"report: {output / 'report.html'}")
    return status


def _merge(args: argparse.Namespace, output: Path, report: Reporter) -> int:
    """Joins reports of parts; returns the exit status."""
    from codax.evaluation.extras import REPORT, require

    require(REPORT, "codax evaluate")
    if args.folder or args.codecs:
        raise UsageError("--merge takes neither DIR nor --codecs: rows have both")
    from codax.evaluation.metric_table import metrics_in
    from codax.evaluation.summary import conditions
    from codax.evaluation.sweep import Sweep, merge_rows

    parts = [Path(part) / "rows.jsonl" for part in args.merge]
    rows = merge_rows(parts, output / "rows.jsonl")
    result = Sweep(rows=rows, metrics=metrics_in(rows))
    names = list(dict.fromkeys(str(row["codec"]) for row in rows))
    anchor, references = _compared_with(args, names)
    facts = conditions("merged", shlex.join(["codax", *sys.argv[1:]]))
    args.pictures = 0  # they are elsewhere
    summaries = _write(
        args, output, output, [], result, anchor, references, facts, report
    )
    _say_summary(report, summaries, anchor, result)
    report.note(f"report: {output / 'report.html'}")
    return 0


def _write(
    args: argparse.Namespace,
    output: Path,
    folder: Path,
    codecs: list[FileCodec],
    result: Sweep,
    anchor: str,
    references: list[str],
    facts: dict[str, str],
    report: Reporter,
) -> list[CodecSummary]:
    """Writes table, plots and page beside the rows; returns what they say."""
    from codax.evaluation.bd_tables import bd_csv, bd_latex
    from codax.evaluation.plots import to_svg
    from codax.evaluation.report import draw_plots, shown_pictures, write_report
    from codax.evaluation.summary import as_json, summarise
    from codax.evaluation.sweep import write_csv

    write_csv(result.rows, output / "rows.csv", result.metrics)
    summaries = summarise(result.rows, anchor, result.metrics)
    facts["pictures"] = str(len({row["picture"] for row in result.rows}))
    outside = [f"{m.name} ({m.version})" for m in result.metrics if m.version]
    if outside:
        facts["metrics from outside"] = ", ".join(outside)
    for name, text in (("bd.csv", bd_csv), ("bd.tex", bd_latex)):
        (output / name).write_text(text(summaries, anchor), encoding="utf-8")
    (output / "run.json").write_text(
        json.dumps(as_json(summaries, anchor, facts), indent=1) + "\n", encoding="utf-8"
    )
    figures = draw_plots(summaries, anchor, references)
    (output / "plots").mkdir(exist_ok=True)
    for name, figure in figures.items():
        (output / "plots" / f"{name}.svg").write_text(to_svg(figure), encoding="utf-8")
    names = sorted({str(row["picture"]) for row in result.rows})
    count = min(args.pictures, len(names))
    chosen = [names[i * len(names) // count] for i in range(count)]
    with report.waiting(f"coding {count} pictures at {args.bpp:g} bpp for the page"):
        pictures, failures = shown_pictures(
            folder,
            chosen,
            codecs,
            result.rows,
            bpp=args.bpp,
            metrics=result.metrics,
        )
    for failure in failures:
        report.note(f"not shown in the page: {failure}")
    write_report(
        output / "report.html",
        result=result,
        summaries=summaries,
        anchor=anchor,
        conditions=facts,
        figures=figures,
        pictures=pictures,
        bpp=args.bpp,
        title=f"Codecs on {folder.resolve().name}",
    )
    return summaries


def _check_output(output: Path, *, force: bool) -> None:
    """Takes a new folder, an empty one, or one of an earlier run."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output} is a file; name a folder")
    if force or not output.exists() or (output / "rows.jsonl").exists():
        return
    if any(output.iterdir()):
        raise UsageError(
            f"output {output} holds other files; name a new folder, or add -f"
        )


def _compared_with(args: argparse.Namespace, names: list[str]) -> tuple[str, list[str]]:
    """The anchor and the published curves to draw; refuses curves that do not exist."""
    from codax.evaluation.curves import published

    references = _names(args.published)
    anchor = args.anchor or ("jpeg" if "jpeg" in names else names[0])
    for name in ([] if anchor in names else [anchor]) + references:
        try:
            published(name)
        except ConfigError as error:
            raise UsageError(str(error)) from error
    return anchor, references


def _load(names: list[str], device: str) -> list[FileCodec]:
    """Makes the codecs; JAX is loaded if one of them is a model that needs it."""
    from codax.cli.runtime import prepare
    from codax.evaluation.named import named_codecs

    try:
        return named_codecs(names, lambda: prepare(device))
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _say_problems(report: Reporter, result: Sweep) -> None:
    """Reports what could not be read or coded, with counts."""
    for name, reason in result.unreadable.items():
        report.error(name, ConfigError(reason))
    for row in result.failures:
        place = f"{row['picture']}: {row['codec']} at {row['quality']:g}"
        report.error(place, ConfigError(row["error"]))
    if result.unreadable:
        report.note(f"{len(result.unreadable)} pictures left out, unreadable")
    if result.failures:
        report.note(f"{len(result.failures)} files failed; the next run tries again")


def _say_summary(
    report: Reporter, summaries: list[CodecSummary], anchor: str, result: Sweep
) -> None:
    """Prints the BD-rates: a table, or JSON lines."""
    from codax.evaluation.bdrate import METHOD
    from codax.evaluation.summary import codec_as_json

    if report.json:
        for summary in summaries:
            print(json.dumps(codec_as_json(summary)))
        return
    print(f"BD-rate against {anchor}: {METHOD}")
    metrics = summaries[0].metrics
    ranges = [f"{metric.name} {metric.span}" for metric in metrics]
    print(f"over {', '.join(ranges)}; {len(result.rows)} files")
    heads = "".join(f"{metric.name:28} " for metric in metrics)
    print(f"{'codec':24} {heads}{'enc s':>7} {'dec s':>7}")
    for s in summaries:
        cells = "".join(f"{s.bd.get(metric.name, 'none')!s:28} " for metric in metrics)
        print(f"{s.name:24} {cells}{s.encode_s:7.3f} {s.decode_s:7.3f}")
        for reason in s.reasons:
            report.note(f"{s.name}: {reason}")


def _names(text: str) -> list[str]:
    """Splits names at commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _qualities(text: str) -> tuple[float, ...]:
    """Parses qualities, for argparse."""
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not all(0 <= v <= 100 and v * 2 == int(v * 2) for v in values):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected numbers of 0..100 in steps of 0.5, such as 10,40,70,90"
        )
    if len(values) < _MIN_QUALITIES:
        raise argparse.ArgumentTypeError(
            f"{len(values)} qualities: a BD-rate needs at least {_MIN_QUALITIES}"
        )
    return tuple(values)


def _rate(text: str) -> float:
    """Parses a rate in bits per pixel, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 24:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate above 0 and up to 24")
    return value


def _count(text: str) -> int:
    """Parses a count that may be 0, for argparse."""
    return 0 if text == "0" else positive_count(text)
