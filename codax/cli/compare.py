"""`codax compare`: how far two pictures are apart."""

from __future__ import annotations

import argparse
import io
import json

from codax.cli.common import Reporter, add_common, positive_count
from codax.cli.outputs import Job, pending
from codax.errors import CodaxError, ImageError

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax compare photo.png back.png
  codax compare photo.png back.png -o difference.png

PSNR, SSIM and MS-SSIM over RGB, 8 bits. The difference picture is grey where
the two are equal.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "compare", description=_DESCRIPTION, help="PSNR and MS-SSIM of two pictures"
    )
    parser.add_argument("first", metavar="A", help="picture, the reference")
    parser.add_argument("second", metavar="B", help="picture of the same size")
    parser.add_argument("-o", "--output", metavar="OUT", help="difference picture, PNG")
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

    from codax.evaluation import metrics
    from codax.evaluation.sweep import measure

    first, second = (_pixels(name) for name in (args.first, args.second))
    if first.shape != second.shape:
        raise ImageError(
            f"{args.second}: {second.shape[1]}x{second.shape[0]} pixels, but "
            f"{args.first} has {first.shape[1]}x{first.shape[0]}; expected equal sizes"
        )
    values = measure(first, second)
    values["ms_ssim_db"] = _finite(metrics.ms_ssim_db(values["ms_ssim"]))
    difference = second.astype(np.int16) - first
    values["largest_difference"] = int(np.abs(difference).max())
    if args.output:
        job = Job(args.second, args.output)
        shown = np.clip(128 + args.gain * difference.astype(np.int32), 0, 255)
        buffer = io.BytesIO()
        Image.fromarray(shown.astype(np.uint8)).save(buffer, "PNG")
        with pending(job, force=args.force) as out:
            out.write(buffer.getvalue())
        Reporter(args).detail(f"difference picture: {args.output}")
    if args.json:
        print(json.dumps({"first": args.first, "second": args.second, **values}))
    else:
        print("\n".join(_lines(values)))
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


def _finite(value: float | None) -> float | None:
    """A value that JSON can hold."""
    return None if value is None or value == float("inf") else value


def _lines(values: dict) -> list[str]:
    """The values as aligned lines, with the reason where there is none."""
    lines = []
    for name, unit, digits in (("psnr", " dB", 2), ("ssim", "", 4), ("ms_ssim", "", 5)):
        value = values[name]
        text = (
            f"{value:.{digits}f}{unit}"
            if value is not None
            else values[f"{name}_reason"]
        )
        if name == "ms_ssim" and values["ms_ssim_db"] is not None:
            text += f" ({values['ms_ssim_db']:.2f} dB)"
        lines.append(f"{name.upper().replace('_', '-'):8} {text}")
    lines.append(f"largest difference {values['largest_difference']} of 255")
    return lines
