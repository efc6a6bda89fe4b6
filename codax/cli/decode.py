"""`codax decode`: files to pictures."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from codax.cli.batch import WithCodecs, run_jobs
from codax.cli.common import (
    UsageError,
    add_codec_flag,
    add_common,
    add_limit_flag,
    add_weights_flag,
    add_work_flags,
    load_codec_file,
)
from codax.cli.outputs import pending, read_source
from codax.cli.plan import STREAM, Job, Plan, last_as_output
from codax.cli.reporting import Reporter
from codax.coding.telling import Progress, listening
from codax.files.folders import PICTURES, ending

if TYPE_CHECKING:
    from codax.coding.samples import SampleCoder
    from codax.face.codec import Codec
    from codax.files.container import Container
    from codax.files.regions import Region

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax decode photo.codax                  writes photo.png
  codax decode photo.codax back.jpg         writes back.jpg
  codax decode photo.codax --region 0,0,256,256 corner.png
  codax decode -r coded -o pictures         the tree of a folder
  codax decode photo.codax -o - | feh -     PNG to another program

Decodes .codax files to PNG, or by the name's ending to PPM, TIFF and WebP
without loss, JPEG and AVIF of quality 95.
"""
_CHOICES = {
    **{name: name for name in ("png", "ppm", "jpeg", "webp", "avif", "tiff")},
    "jpg": "jpeg",
    "tif": "tiff",
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "decode",
        usage="codax decode [flags] IN [OUT.png | IN ...]",
        description=_DESCRIPTION,
        help=".codax files to pictures",
    )
    parser.add_argument("inputs", nargs="*", metavar="IN", help=".codax file, or -")
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder, or -")
    parser.add_argument(
        "--format",
        choices=tuple(_CHOICES),
        metavar="NAME",
        help="png, ppm, jpeg, webp, avif or tiff (default: by OUT's ending, else png)",
    )
    parser.add_argument(
        "--region",
        type=_region,
        metavar="X,Y,W,H",
        help="this part only: left, top, width, height in pixels as coded",
    )
    add_weights_flag(parser)
    rare = add_work_flags(parser)
    add_common(parser)
    add_codec_flag(rare)
    add_limit_flag(rare)
    rare.add_argument(
        "--oracle",
        action="store_true",
        help="probabilities by NumPy instead of a runtime: slow",
    )


def run(args: argparse.Namespace) -> int:
    """Decodes each input; returns the exit status."""
    from codax.cli.pictures import FORMATS

    asked = args.format and _CHOICES[args.format]
    form = asked or "png"
    inputs, output = last_as_output(args.inputs, args.output, PICTURES, args.files_from)
    plan = Plan.of(
        inputs,
        output,
        suffix=FORMATS[form].endings[0],
        endings=frozenset([".codax"]) if args.recursive else frozenset(),
        named=args.output is not None,
    )
    plan.check_json(args.json)
    plan = plan.shard(args.shard)
    if len(plan.jobs) == 1 and plan.jobs[0].target != STREAM:
        form = _format_of(plan.jobs[0].target, asked)
    load_codec_file(args)
    report = Reporter(args)
    return run_jobs(
        plan,
        _Decode(args, form),
        args,
        at_a_time=args.jobs,
        report=report,
        doing="decoding",
        skip_existing=args.skip_existing,
    )


class _Decode(WithCodecs):
    """Does one job after another with the codecs that the files name."""

    def __init__(self, args: argparse.Namespace, form: str):
        super().__init__(args)
        self._form = form

    def __call__(
        self, job: Job, report: Reporter, progress: Progress | None
    ) -> tuple[int, int]:
        """Decodes one file and reports it; returns the bytes of input and output."""
        from codax import __version__
        from codax.cli.pictures import is_ours, picture_bytes, unkept
        from codax.face.decoding import decode_file
        from codax.files import container

        args = self._args
        data = read_source(job.source)
        start = time.perf_counter()
        file = container.read(data, max_pixels=args.max_pixels)
        model = "stored"

        def find(file: Container) -> SampleCoder:
            nonlocal model
            codec = self._find(file)
            model = codec.name
            report.detail(f"{job.source}: decoding with {model}")
            return codec.coder

        with pending(job, force=args.force, ours=is_ours) as out:
            with listening(progress):
                image = decode_file(file, find, oracle=args.oracle, region=args.region)
            picture = picture_bytes(image, self._form)
            if lost := unkept(image, self._form):
                report.note(f"{job.source}: not kept: {', '.join(lost)}")
            out.write(picture)
        seconds = time.perf_counter() - start
        report.result(
            f"{job.source} -> {job.target}  {image.width}x{image.height} {image.mode}  "
            f"{len(picture)} B  {seconds:.2f} s",
            {
                "input": job.source,
                "output": job.target,
                "model": model,
                "width": image.width,
                "height": image.height,
                "mode": image.mode,
                "bytes": len(picture),
                "seconds": seconds,
                "version": __version__,
                "not_kept": lost,
            },
        )
        return len(data), len(picture)

    def _find(self, file: Container) -> Codec:
        """Gives the codec that a file names."""
        from codax.face.loading import find_codec
        from codax.zoo import cards

        weights = self._args.weights
        if not weights:
            cards.find_by_hash(file.codec_id, file.weights_hash)  # before JAX loads
        key = (file.codec_id, file.weights_hash)
        return self._shelf.get(key, lambda: find_codec(file, weights))


def _format_of(target: str, asked: str | None) -> str:
    """Returns the format of a target; refuses an ending that says another."""
    from codax.cli.pictures import FORMATS, form_of

    by_name = form_of(ending(target))
    if asked and by_name in (None, asked):
        return asked
    if by_name is None or asked:
        raise UsageError(
            f"{target}: codax writes {', '.join(FORMATS)}, by the name's ending"
            + (f"; --format {asked} says another" if asked else " or --format")
        )
    return by_name


def _region(text: str) -> Region:
    """Parses a region, for argparse."""
    from codax.files.regions import Region

    parts = text.split(",")
    try:
        left, top, width, height = map(int, parts)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no region; expected X,Y,W,H: left, top, width and height"
        ) from None
    return Region(left, top, width, height)
