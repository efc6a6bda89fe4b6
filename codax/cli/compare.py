"""`codax compare`: how far two pictures are apart."""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codax.cli.common import add_common, positive_count
from codax.cli.metric_flag import add_metrics, chosen_metrics
from codax.cli.outputs import pending
from codax.cli.plan import Job, check_ending
from codax.cli.reporting import Reporter
from codax.errors import CodaxError, ImageError

if TYPE_CHECKING:
    from codax.evaluation.metric_table import Metric

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax compare photo.png back.png
  codax compare photo.png back.png -o difference.png
  codax compare photo.png back.png --metrics psnr,ssimulacra2,mine.py:score

PSNR, MS-SSIM and SSIM over RGB, 8 bits, or the metrics that you name. The
difference picture is grey where the two are equal.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "compare", description=_DESCRIPTION, help="metrics of two pictures"
    )
    parser.add_argument("first", metavar="A", help="picture, the reference")
    parser.add_argument("second", metavar="B", help="picture of the same size")
    parser.add_argument("-o", "--output", metavar="OUT", help="difference picture, PNG")
    add_metrics(parser)
    parser.add_argument(
        "--gain",
        type=positive_count,
        default=8,
        metavar="N",
        help="of differences in that picture (default 8)",
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace existing output"
    )
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Compares; returns the exit status."""
    import numpy as np
    from PIL import Image

    from codax.evaluation.extras import NEEDED, require
    from codax.evaluation.sweep import measure

    check_ending(args.output, ".png")
    own = [NEEDED[name] for name in args.metrics.split(",") if name in NEEDED]
    require(own, "codax compare")
    metrics = chosen_metrics(args)
    first, second = (_pixels(name) for name in (args.first, args.second))
    if first.shape != second.shape:
        raise ImageError(
            f"{args.second}: {second.shape[1]}x{second.shape[0]} pixels, but "
            f"{args.first} has {first.shape[1]}x{first.shape[0]}; expected equal sizes"
        )
    values = measure(first, second, metrics)
    for metric in metrics:
        if metric.scale:
            name = f"{metric.name}_{metric.unit.lower() or 'scaled'}"
            values[name] = _scaled(metric, values[metric.name])
    difference = second.astype(np.int16) - first
    values["largest_difference"] = int(np.abs(difference).max())
    if args.output:
        job = Job(args.second, args.output, named=True)
        shown = np.clip(128 + args.gain * difference.astype(np.int32), 0, 255)
        buffer = io.BytesIO()
        Image.fromarray(shown.astype(np.uint8)).save(buffer, "PNG")
        with pending(job, force=args.force) as out:
            out.write(buffer.getvalue())
        Reporter(args).detail(f"difference picture: {args.output}")
    if args.json:
        print(json.dumps({"first": args.first, "second": args.second, **values}))
    else:
        print("\n".join(_lines(values, metrics)))
    return 0


def _pixels(name: str):
    """A picture file as uint8[H W 3]; errors name the file."""
    from pathlib import Path

    import numpy as np

    from codax.evaluation.sweep import open_picture

    try:
        return np.asarray(open_picture(Path(name)))
    except CodaxError as error:
        raise ImageError(f"{name}: {error}") from error


def _scaled(metric: Metric, value: float | None) -> float | None:
    """A value on the metric's scale; None where there is none that JSON can hold."""
    found = math.inf if value is None else metric.on_scale(value)
    return found if math.isfinite(found) else None


def _lines(values: dict, metrics: Sequence[Metric]) -> list[str]:
    """The values as aligned lines, with the reason where there is none."""
    width = max(8, *(len(metric.label) for metric in metrics))
    lines = []
    for metric in metrics:
        value = values[metric.name]
        text = values.get(f"{metric.name}_reason") if value is None else None
        lines.append(f"{metric.label:{width}} {text or metric.text(value)}")
    lines.append(f"largest difference {values['largest_difference']} of 255")
    return lines
