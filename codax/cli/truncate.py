"""`codax truncate`: shorter files without encoding again."""

from __future__ import annotations

import argparse
import os

from codax.cli.batch import run_jobs
from codax.cli.common import (
    add_common,
    positive_count,
    size_in_bytes,
)
from codax.cli.outputs import pending, read_source
from codax.cli.plan import STREAM, Job, Plan, check_ending
from codax.cli.reporting import Reporter
from codax.coding.telling import Progress

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax truncate photo.codax --layers 3          writes photo-cut.codax
  codax truncate photo.codax --target-size 8k -o small.codax
  codax truncate tiles.codax --tokens 16         of prefix, 16 of each tile

Cuts files after a layer, without decoding: those of rvq and mcquic, and of
prefix, whose layers are the tokens of a tile; see `codax info`.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "truncate", description=_DESCRIPTION, help="cut .codax files after a layer"
    )
    parser.add_argument("input", metavar="IN", help=".codax file, or -")
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder, or -")
    aim = parser.add_mutually_exclusive_group(required=True)
    aim.add_argument(
        "--layers",
        "--tokens",
        type=positive_count,
        metavar="N",
        help="layers to keep, from 1; of prefix they are the tokens of a tile",
    )
    aim.add_argument(
        "--target-size", type=size_in_bytes, metavar="SIZE", help="at most, such as 8k"
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace existing output"
    )
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Cuts the input; returns the exit status."""
    output = args.output
    if output is None and args.input != STREAM:
        stem, suffix = os.path.splitext(args.input)
        output = f"{stem}-cut{suffix}"
    plan = Plan.of([args.input], output, suffix=".codax")
    check_ending(plan.jobs[0].target, ".codax")
    plan.check_json(args.json)
    report = Reporter(args)

    def cut(job: Job, report: Reporter, progress: Progress | None) -> tuple[int, int]:
        from codax.files import container, layers

        data = read_source(job.source)
        short = layers.truncate(data, layers=args.layers, target_size=args.target_size)
        kept, had = (
            len(container.split_layers(container.read(file).stream)[0])
            for file in (short, data)
        )
        with pending(job, force=args.force) as out:
            out.write(short)
        report.result(
            f"{job.source} -> {job.target}  {len(short)} B of {len(data)}, "
            f"{kept} of {had} layers",
            {
                "input": job.source,
                "output": job.target,
                "bytes": len(short),
                "layers": kept,
            },
        )
        return len(data), len(short)

    return run_jobs(plan, cut, args, report=report, doing="cutting")
