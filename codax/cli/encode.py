"""`codax encode`: pictures to files."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from codax.cli.batch import WithCodecs, run_jobs
from codax.cli.common import (
    UsageError,
    add_codec_flag,
    add_common,
    add_work_flags,
    load_codec_file,
    size_in_bytes,
)
from codax.cli.outputs import pending, read_source
from codax.cli.plan import Job, Plan, check_ending, last_as_output
from codax.cli.reporting import Reporter
from codax.coding.effort import DEFAULT_EFFORT, effort_of
from codax.coding.telling import Progress, listening
from codax.errors import ConfigError, ModelError
from codax.files.folders import PICTURES

if TYPE_CHECKING:
    from codax.face.codec import Codec

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax encode photo.png -q 60              writes photo.codax
  codax encode photo.png small.codax        writes small.codax
  codax encode *.jpg --target-size 50k -o small/
  codax encode -r photos -o coded           the tree of a folder

Encodes pictures of any format that Pillow reads.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "encode",
        usage="codax encode [flags] IN [OUT.codax | IN ...]",
        description=_DESCRIPTION,
        help="pictures to .codax files",
    )
    parser.add_argument("inputs", nargs="*", metavar="IN", help="picture, or -")
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder, or -")
    aim = parser.add_mutually_exclusive_group()
    aim.add_argument(
        "-q", "--quality", type=_quality, metavar="Q", help="0..100 (default 75)"
    )
    aim.add_argument(
        "--target-bpp", type=_positive, metavar="X", help="at most X bits a pixel"
    )
    aim.add_argument(
        "--target-size", type=size_in_bytes, metavar="SIZE", help="at most, like 20k"
    )
    aim.add_argument(
        "--target-psnr", type=_positive, metavar="DB", help="at least DB decibels"
    )
    aim.add_argument(
        "--lossless", action="store_true", help="every bit of every sample comes back"
    )
    parser.add_argument(
        "-e",
        "--effort",
        type=_effort,
        default=DEFAULT_EFFORT,
        metavar="N",
        help="1 (fast) to 9 (slow, smaller files); default 4, slow from 7 on",
    )
    parser.add_argument(
        "--no-fallback",
        dest="fallback",
        action="store_false",
        help="no lossless WebP, even where it is smaller than the codec's file",
    )
    parser.add_argument(
        "-m", "--model", metavar="NAME", help="see `codax models`; or a path"
    )
    parser.add_argument(
        "--metadata",
        choices=("all", "icc", "none"),
        default="all",
        help="what to keep beside the pixels (default all)",
    )
    rare = add_work_flags(parser)
    add_codec_flag(rare)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Encodes each input; returns the exit status."""
    from codax.zoo import cards

    inputs, output = last_as_output(
        args.inputs, args.output, frozenset([".codax"]), args.files_from
    )
    plan = Plan.of(
        inputs,
        output,
        suffix=".codax",
        endings=PICTURES if args.recursive else frozenset(),
        named=args.output is not None,
    )
    for job in plan.jobs:
        check_ending(job.target, ".codax")
    plan.check_json(args.json)
    plan = plan.shard(args.shard)
    try:
        card = cards.choose_card(args.model or None, lossless=args.lossless)
    except ModelError as error:
        raise UsageError(str(error)) from error
    if args.lossless and not card.lossless:
        raise UsageError(f"{card.name} has no lossless path; leave --model out")
    if card.decodes_only:
        raise UsageError(f"{card.name} is kept for decoding only; see `codax models`")
    load_codec_file(args)
    report = Reporter(args)
    if card.release is None:
        report.note(
            f"{card.name} is of no release: keep its weights, the files need them"
        )
    encode = _Encode(args, model=args.model or card.name)
    return run_jobs(
        plan,
        encode,
        args,
        at_a_time=args.jobs,
        report=report,
        doing="encoding",
        skip_existing=args.skip_existing,
    )


class _Encode(WithCodecs):
    """Does one job after another with one codec."""

    def __init__(self, args: argparse.Namespace, *, model: str):
        super().__init__(args)
        self._model = model

    def __call__(
        self, job: Job, report: Reporter, progress: Progress | None
    ) -> tuple[int, int]:
        """Encodes one picture and reports it; returns the bytes of input and output."""
        from codax import __version__
        from codax.files import container, opening, pictures

        args = self._args
        source = read_source(job.source)
        with pending(job, force=args.force) as out:
            start = time.perf_counter()
            picture = pictures.from_image(opening.open_image(source))
            # With other --metadata the user has said what need not be.
            lost = picture.lost + (picture.lost_words if args.metadata == "all" else ())
            if lost:
                report.note(f"{job.source}: not kept: {', '.join(lost)}")
            codec = self._shelf.get(self._model, self._load)
            report.detail(f"{job.source}: encoding with {codec.name}")
            with listening(progress):
                data = codec.encode(
                    picture,
                    quality=args.quality,
                    target_bpp=args.target_bpp,
                    target_size=args.target_size,
                    target_psnr=args.target_psnr,
                    lossless=args.lossless,
                    effort=args.effort,
                    metadata=args.metadata,
                    fallback=args.fallback,
                )
            out.write(data)
        seconds = time.perf_counter() - start
        file = container.read(data)
        bpp = len(data) * 8 / (file.width * file.height)
        line = (
            f"{job.source} -> {job.target}  {len(data)} B  {bpp:.2f} bpp  "
            f"{100 * len(data) / len(source):.1f} % of input  {seconds:.2f} s  "
        )
        if file.stored:
            line += "stored without loss"
        else:
            line += "lossless" if args.lossless else f"quality {file.quality / 2:g}"
        report.result(
            line,
            {
                "input": job.source,
                "output": job.target,
                "model": "stored" if file.stored else codec.name,
                "stored": file.stored,
                "quality": file.quality / 2,
                "width": file.width,
                "height": file.height,
                "input_bytes": len(source),
                "bytes": len(data),
                "bpp": bpp,
                "seconds": seconds,
                "version": __version__,
                "not_kept": lost,
            },
        )
        return len(source), len(data)

    def _load(self) -> Codec:
        """Loads the codec that was asked for."""
        from codax.face.loading import load

        return load(self._model)


def _effort(text: str) -> int:
    """Parses an effort, for argparse."""
    try:
        level = int(text)
        effort_of(level)
    except (ValueError, ConfigError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no effort; expected 1 to 9"
        ) from None
    return level


def _quality(text: str) -> float:
    """Parses a quality, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no quality; expected 0 to 100")
    return value


def _positive(text: str) -> float:
    """Parses a finite number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
