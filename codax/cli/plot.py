"""`codax plot`: the log of a training run as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from codax.cli.common import add_common
from codax.cli.outputs import pending
from codax.cli.plan import Job, check_ending
from codax.cli.reporting import Reporter

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax plot runs/mine                 writes runs/mine/log.png
  codax plot runs/mine -o today.png

Loss, rate, PSNR and speed over the pixels seen; the decay branch is shaded.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "plot", description=_DESCRIPTION, help="draw a training run's log"
    )
    parser.add_argument("run", metavar="RUN", help="folder of the run")
    parser.add_argument("-o", "--output", metavar="OUT", help="PNG file")
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace existing output"
    )
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Draws the log; returns the exit status."""
    from codax.evaluation.extras import require
    from codax.evaluation.training_plot import log_plot

    require(["matplotlib"], "codax plot")

    check_ending(args.output, ".png")
    target = args.output or str(Path(args.run) / "log.png")
    plot = log_plot(Path(args.run))
    # The plot beside the run belongs to it and is always the newest.
    job = Job(args.run, target, named=True)
    with pending(job, force=args.force or not args.output) as file:
        file.write(plot)
    Reporter(args).result(f"{target} written", {"output": target})
    return 0
