"""Writes RESULTS.md from stored rows, so that every figure in it can be made again.

    codax evaluate kodak/ --codecs quadtree-tiny -o report/
    python tools/results.py --add report kodak

Each folder of `results/` is one set of pictures: `rows.csv.xz` holds a line for each
file that was made (`xz -dc` or pandas reads it), `run.json` the settings, the commit
and the machine. `--add` takes a report's codecs into one; others stay. The page has the
weights that ship and the other codecs; weights that were replaced, and trials, are in
`results/HISTORY.md`. The cards in `checkpoints/` get their figures on Kodak.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import lzma
from pathlib import Path
from typing import Any

from codax.errors import CodaxError
from codax.evaluation.bdrate import METHOD, bd_rate
from codax.evaluation.classical import CLASSICAL
from codax.evaluation.curves import published
from codax.evaluation.metric_table import METRICS, Metric
from codax.evaluation.summary import CodecSummary, summarise
from codax.zoo.cards import find_card, list_cards

ROOT = Path(__file__).resolve().parents[1]
STORED = "rows.csv.xz"
"""A fifth of what the table takes as text: these are thousands of lines."""
FIRST_SETS = ("kodak", "gb82", "second")
ANCHORS = ("jpeg", "webp", "avif", "avif-ssim", "jpeg2000", "jxl")
PUBLISHED = {
    "compressai/vtm": "VTM",
    "compressai/bpg_444_x265_ycbcr": "BPG 4:4:4",
    "compressai-8bit/bmshj2018-hyperprior_mse": "scale hyperprior",
    "compressai-8bit/mbt2018-mean_mse": "mean-scale hyperprior",
}
# Drawn from their authors' figures beside our own codecs, against VTM.
COMPARED = (
    "compressai/hm",
    "compressai/av1",
    "compressai/bpg_444_x265_ycbcr",
    "compressai-8bit/bmshj2018-factorized_mse",
    "compressai-8bit/bmshj2018-hyperprior_mse",
    "compressai-8bit/mbt2018-mean_mse",
    "compressai-8bit/mbt2018_mse",
    "compressai-8bit/cheng2020-attn_mse",
    "evc/EncS_DecS",
    "compressai/paper-elic2022_mse",
    "cool-chic/v5.0",
)
TITLES = {
    "kodak": "Kodak (24 pictures, 768x512)",
    "gb82": "gb82 (25 photographs, 576x576)",
    "second": "Second set (12 photographs of CLIC 2025, longest side 2048)",
}

Row = dict[str, Any]
Against = dict[str, list[CodecSummary]]
"""By anchor, all codecs of a set."""


def main() -> None:
    """Reads the stored rows and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=ROOT / "results")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "RESULTS.md")
    parser.add_argument("--history", type=Path, default=ROOT / "results" / "HISTORY.md")
    parser.add_argument("--add", nargs=2, metavar=("REPORT", "SET"))
    parser.add_argument("--cards", type=Path, default=ROOT / "checkpoints")
    args = parser.parse_args()
    if args.add:
        add_report(Path(args.add[0]), args.rows / args.add[1])
    stored = {path.parent.name: path.parent for path in args.rows.glob(f"*/{STORED}")}
    if not stored:
        raise SystemExit(f"results.py: no {STORED} in the folders of {args.rows}")
    names = [name for name in FIRST_SETS if name in stored]
    names += sorted(stored.keys() - set(names))
    sets = {name: read_set(stored[name]) for name in names}
    measured = _compared([row for rows, _ in sets.values() for row in rows])
    pages = {args.output: [_head(measured)], args.history: [_history_head()]}
    against = {name: compare(name, rows) for name, (rows, _) in sets.items()}
    for name, (rows, run) in sets.items():
        pages[args.output] += _set_of(name, rows, run, against[name])
        pages[args.history] += _older_of(name, rows, run, against[name])
    for path, parts in pages.items():
        path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    if "kodak" in stored:
        write_cards(args.cards, against["kodak"])


def compare(name: str, rows: list[Row]) -> Against:
    """The codecs of a set against each anchor: those of the tables, in their order."""
    measured = {row["codec"] for row in rows}
    anchors = (*ANCHORS, *(card.name for card in list_cards() if card.default))
    wanted = [anchor for anchor in anchors if anchor in measured]
    wanted += PUBLISHED if name == "kodak" else ()
    return {a: summarise(rows, a, single=a == "jpeg") for a in wanted}


def add_report(report: Path, folder: Path) -> None:
    """Takes the rows of a report's codecs into a stored set."""
    fresh = json.loads((report / "run.json").read_text(encoding="utf-8"))
    names = {codec["codec"] for codec in fresh["codecs"]}
    lines = (report / "rows.csv").read_text(encoding="utf-8").splitlines()
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "run.json").is_file():
        old = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        rows = [
            r for r in csv.DictReader(_read_table(folder)) if r["codec"] not in names
        ]
        lines = _joined([*csv.DictReader(lines), *rows])
        fresh["codecs"] += [c for c in old["codecs"] if c["codec"] not in names]
        earlier = [old["conditions"]["command"], *old["conditions"].get("earlier", ())]
        mine = fresh["conditions"]["command"]
        fresh["conditions"]["earlier"] = [e for e in earlier if e != mine]
    table = "\n".join(lines) + "\n"
    (folder / STORED).write_bytes(lzma.compress(table.encode(), preset=9))
    text = json.dumps(fresh, indent=1)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")


def _joined(rows: list[Row]) -> list[str]:
    """The lines of one table of rows that may lack each other's metrics."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    after = [name for name in columns if name in ("encode_s", "decode_s")]
    columns = [name for name in columns if name not in after] + after
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().splitlines()


def _read_table(folder: Path) -> list[str]:
    """The lines of a stored set."""
    return lzma.decompress((folder / STORED).read_bytes()).decode().splitlines()


def write_cards(checkpoints: Path, against: Against) -> None:
    """Fills in what cards say of Kodak: the curve, the one before, BD-rates."""
    names = {a: a for a in ("jpeg", "webp", "avif")} | {"compressai/vtm": "vtm"}
    found = {short: against[name] for name, short in names.items() if name in against}
    curves = {summary.name: summary.curves["psnr"] for summary in found["vtm"]}
    for path in sorted(checkpoints.glob("*/card.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        if card["name"] not in curves:
            continue
        rates: dict[str, float] = {}
        for anchor, summaries in found.items():
            for summary in summaries:
                rate = summary.bd.get("psnr")
                if summary.name == card["name"] and rate and rate.percent is not None:
                    rates[anchor] = round(rate.percent, 1)
        curve = curves[card["name"]]
        card["bpp"] = [round(curve.bpp[0], 3), round(curve.bpp[-1], 3)]
        card["bd_rate"] = rates
        stem, _, version = card["name"].rpartition("-v")
        before = [f"{stem}-v{n}" for n in range(int(version) - 1, 0, -1)]
        shown = [card["name"], *(name for name in before if name in curves)]
        card["kodak"] = {
            name: {
                "bpp": [round(bpp, 4) for bpp in curves[name].bpp],
                "psnr": [round(db, 2) for db in curves[name].db],
            }
            for name in shown
        }
        path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def read_set(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """The rows of one set, with numbers as numbers and settings put back."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    settings = {codec["codec"]: codec["settings"] for codec in run["codecs"]}
    rows: list[Row] = []
    for line in csv.DictReader(_read_table(folder)):
        row: Row = {
            key: value if key in ("picture", "codec") else _number(value)
            for key, value in line.items()
        }
        rows.append({**row, "settings": settings[row["codec"]]})
    return rows, run


def _number(text: str) -> float | None:
    return float(text) if text else None


def is_older(codec: str) -> bool:
    """Whether a codec's rows are of weights that were replaced, or of a trial."""
    return codec not in CLASSICAL and codec not in shipping()


def shipping() -> set[str]:
    """The names of the weights that ship."""
    return {card.name for card in list_cards()}


def _compared(rows: list[Row]) -> list[Metric]:
    """The metrics with a value somewhere that codecs are compared by."""
    return [
        metric
        for metric in METRICS.values()
        if metric.compared and any(row.get(metric.name) is not None for row in rows)
    ]


def _head(metrics: list[Metric]) -> str:
    ranges = ", ".join(f"{metric.span} of {metric.label}" for metric in metrics)
    return f"""# Results

Written by `python tools/results.py` from the rows in `results/`; not edited by hand.
Rates are sizes of files times eight over pixels; PSNR and MS-SSIM are over RGB of the
8-bit pictures decoded from those files, a picture at a time, then averaged.
BD-rate: {METHOD}, over {ranges}, of the mean curves. It is the change of the file size
at equal quality: below 0, the codec in the row makes smaller files than the anchor in
the column. A range in brackets is the part of the interval that the curve spans, where
it does not span it all. Published curves are of `codax/evaluation/published.json`,
on Kodak only; their VTM is easier to beat by 1 to 2 % than VTM 17. `jpeg2000` aims at a
rate and not at a quality, which flatters its mean curve where pictures differ much; see
its single pictures.

Seconds are medians of a picture, with compilation before and reading of the picture
left out; the machine was shared with other work. Of our own codecs all but
`quadtree-base` on Kodak and gb82 were measured with the encoder of 0.1.0, whose effort
4 did less. Weights that others have replaced, and trials, are in
[results/HISTORY.md](results/HISTORY.md)."""


def _history_head() -> str:
    return """# Older results

Written by `python tools/results.py` from the rows in `results/`; not edited by hand.
Weights that newer ones have replaced, and trials; the rules and the codecs that they
are compared with are those of [RESULTS.md](../RESULTS.md). The weights themselves are
in this repository's history."""


def _set_of(
    name: str, rows: list[Row], run: dict[str, Any], against: Against
) -> list[str]:
    """The chapter of one set of pictures."""
    codecs = [codec for codec in _sorted(against) if not is_older(codec.name)]
    parts = [f"\n## {TITLES.get(name, name)}\n", _conditions(run)]
    for metric in _compared(rows):
        title = f"\n### BD-rate by {metric.label}\n"
        parts += [title, _bd_table(codecs, against, metric.name)]
    if name == "kodak":
        parts += ["\n### Published codecs against VTM\n", _published_table()]
    if "jpeg" in against:
        parts += [
            "\n### Single pictures, against JPEG\n",
            _picture_table([s for s in against["jpeg"] if not is_older(s.name)]),
        ]
    parts += ["\n### Speed and cost\n", _speed_table(codecs)]
    parts += [_curve_table(c) for c in codecs if c.name not in CLASSICAL]
    parts += ["\n### Settings\n", _settings(run, older=False)]
    return parts


def _older_of(
    name: str, rows: list[Row], run: dict[str, Any], against: Against
) -> list[str]:
    """What history tells of one set of pictures; nothing without older codecs."""
    shown = ("jpeg", "webp", "avif", "compressai/vtm")
    against = {anchor: against[anchor] for anchor in shown if anchor in against}
    codecs = [codec for codec in _sorted(against) if is_older(codec.name)]
    if not codecs:
        return []
    parts = [f"\n## {TITLES.get(name, name)}\n"]
    earlier = [run["conditions"]["command"], *run["conditions"].get("earlier", ())]
    parts += ["Commands: " + "  \n".join(f"`{command}`" for command in earlier)]
    for metric in _compared(rows):
        title = f"\n### BD-rate by {metric.label}\n"
        parts += [title, _bd_table(codecs, against, metric.name)]
    parts += [_curve_table(codec) for codec in codecs]
    return [*parts, "\n### Settings\n", _settings(run, older=True)]


def _sorted(against: dict[str, list[CodecSummary]]) -> list[CodecSummary]:
    """All codecs, the one with the fewest bits first."""
    first = against.get("compressai/vtm") or next(iter(against.values()))
    return sorted(first, key=_order)


def _order(summary: CodecSummary) -> float:
    rate = summary.bd.get("psnr")
    return rate.percent if rate and rate.percent is not None else float("inf")


def _conditions(run: dict[str, Any]) -> str:
    facts = run["conditions"]
    return (
        f"Command: `{facts['command']}`  \n"
        f"Page made at commit {facts['commit']} on {facts['machine']}; "
        f"data: {facts['data']}, {facts['pictures']} pictures."
    )


def _bd_table(
    codecs: list[CodecSummary], against: dict[str, list[CodecSummary]], metric: str
) -> str:
    """A row for each codec, a column for each anchor."""
    cells = {
        (anchor, summary.name): summary.bd.get(metric)
        for anchor, summaries in against.items()
        for summary in summaries
    }
    lines = []
    for codec in codecs:
        found = [cells[anchor, codec.name] for anchor in against]
        texts = [
            "" if anchor == codec.name else str(rate) if rate else "none"
            for anchor, rate in zip(against, found, strict=True)
        ]
        lines.append([codec.name, *texts])
    return _table(["codec", *(PUBLISHED.get(a, a) for a in against)], lines)


def _published_table() -> str:
    lines = []
    metrics = [m for m in METRICS.values() if published("compressai/vtm", m)]
    for curve_id in COMPARED:
        texts = []
        for metric in metrics:
            anchor, test = (published(i, metric) for i in ("compressai/vtm", curve_id))
            texts.append(str(bd_rate(anchor, test)) if anchor and test else "none")
        lines.append([f"`{curve_id}`", *texts])
    return _table(["published curve", *(m.label for m in metrics)], lines)


def _picture_table(summaries: list[CodecSummary]) -> str:
    lines = []
    for summary in sorted(summaries, key=_order):
        pictures = summary.by_picture
        if pictures is None or summary.name == "jpeg":
            continue
        values = pictures.pictures
        best, worst = (
            min(values, key=values.__getitem__),
            max(values, key=values.__getitem__),
        )
        lines.append(
            [
                summary.name,
                f"{pictures.mean:+.1f} %",
                f"{pictures.low:+.1f} to {pictures.high:+.1f} %",
                f"{values[best]:+.1f} % ({best})",
                f"{values[worst]:+.1f} % ({worst})",
            ]
        )
    return _table(
        ["codec", "mean of BD-rates", "95 % bootstrap interval", "best", "worst"], lines
    )


def _speed_table(codecs: list[CodecSummary]) -> str:
    lines = []
    for codec in codecs:
        curve = codec.curves["psnr"]
        cost = ["", ""]
        try:
            card = find_card(codec.name)
        except CodaxError:
            pass  # Not one of ours, or no longer shipped.
        else:
            macs = card.kmac_per_pixel
            cost = [
                " / ".join(f"{macs[k]:.1f}" for k in ("encode", "decode") if k in macs),
                f"{card.size / 1e6:.1f}" if card.size else "",
            ]
        lines.append(
            [
                codec.name,
                f"{curve.bpp[0]:.2f} to {curve.bpp[-1]:.2f}",
                f"{codec.encode_s:.3f}",
                f"{codec.decode_s:.3f}",
                *cost,
            ]
        )
    heads = ["codec", "bpp", "encode s", "decode s", "kMAC/pixel enc / dec", "MB"]
    return _table(heads, lines)


def _curve_table(codec: CodecSummary) -> str:
    """The points of a codec of codax."""
    curves = [curve for curve in map(codec.curves.get, METRICS) if curve]
    lines = [
        [f"{bpp:.4f}", *(f"{value:.2f}" for value in values)]
        for bpp, *values in zip(
            curves[0].bpp, *(curve.db for curve in curves), strict=True
        )
    ]
    heads = [
        METRICS[m].with_unit(METRICS[m].label) for m in METRICS if m in codec.curves
    ]
    table = _table(["bpp", *heads], lines)
    return f"\n### Curve of {codec.name}\n\n{table}"


def _settings(run: dict[str, Any], *, older: bool) -> str:
    lines = []
    for codec in run["codecs"]:
        if is_older(codec["codec"]) != older:
            continue
        lines.append(f"* `{codec['codec']}`: `{json.dumps(codec['settings'])}`")
        lines += [f"  * {text}" for text in (*codec["measured"], *codec["notes"])]
    return "\n".join(lines)


def _table(heads: list[str], lines: list[list[str]]) -> str:
    """A Markdown table, numbers to the right."""
    ruler = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ruler, *lines])


if __name__ == "__main__":
    main()
