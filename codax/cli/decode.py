"""`codax decode`: files to pictures."""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING

from codax.cli.common import (
    Reporter,
    UsageError,
    add_codec_flag,
    add_common,
    add_work_flags,
    load_codec_file,
    positive_count,
)
from codax.cli.outputs import STREAM, Job, pending, plan, read_source, run_jobs
from codax.errors import ImageError
from codax.files.container import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

    from codax.coding.samples import SampleCoder
    from codax.face.codec import Codec
    from codax.files.container import Container

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax decode photo.codax                  writes photo.png
  codax decode photo.codax -o - | feh -     PNG to another program

Decodes .codax files to PNG or PPM.
"""
_FORMATS = {".png": "png", ".ppm": "ppm", ".pgm": "ppm", ".pnm": "ppm"}
_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "decode",
        usage="codax decode [flags] IN [IN ...]",
        description=_DESCRIPTION,
        help=".codax files to pictures",
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help=".codax file, or -")
    parser.add_argument("-o", "--output", metavar="OUT", help="file, folder, or -")
    parser.add_argument(
        "--format", choices=("png", "ppm"), help="default: by OUT's ending, else png"
    )
    parser.add_argument(
        "--weights", metavar="PATH", help="your own weights, if one made the file"
    )
    rare = add_work_flags(parser)
    add_common(parser)
    add_codec_flag(rare)
    rare.add_argument(
        "--max-pixels",
        type=positive_count,
        default=MAX_PIXELS,
        metavar="N",
        help=f"refuse larger pictures (default {MAX_PIXELS})",
    )
    rare.add_argument(
        "--oracle",
        action="store_true",
        help="decode with NumPy integers: slow, no compiler",
    )


def run(args: argparse.Namespace) -> int:
    """Decodes each input; returns the exit status."""
    form = args.format or "png"
    jobs = plan(args.inputs, args.output, suffix=f".{form}")
    if args.json and jobs[0].target == STREAM:
        raise UsageError("--json and -o - would both write to stdout")
    if len(jobs) == 1 and jobs[0].target != STREAM:
        form = _format_of(jobs[0].target, args.format)
    load_codec_file(args)
    report = Reporter(args)
    decode = _Decode(args, report, form)
    return run_jobs(jobs, decode, threads=args.jobs, report=report, doing="decoding")


class _Decode:
    """Does one job after another with the codecs that the files name."""

    def __init__(self, args: argparse.Namespace, report: Reporter, form: str):
        from codax.cli.runtime import CodecShelf

        self._args = args
        self._report = report
        self._form = form
        self._shelf = CodecShelf(args.device)

    def __call__(self, job: Job) -> None:
        """Decodes one file and reports it."""
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
            self._report.detail(f"{job.source}: decoding with {model}")
            return codec.coder

        with pending(job, force=args.force) as out:
            image = decode_file(file, find, oracle=args.oracle)
            if self._form == "png" and (note := _trim_profile(image)):
                self._report.note(f"{job.source}: {note}")
            picture = _picture_bytes(image, self._form)
            out.write(picture)
        seconds = time.perf_counter() - start
        self._report.result(
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
            },
        )

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
    ending = Path(target).suffix.lower()
    by_name = _FORMATS.get(ending)
    if asked and by_name in (None, asked):
        return asked
    if by_name is None or asked:
        raise UsageError(
            f"{target}: codax writes png or ppm, by the name's ending"
            + (f"; --format {asked} says another" if asked else " or --format")
        )
    return by_name


def _trim_profile(image: Image.Image) -> str:
    """Takes a profile away with which no PNG reader would open the picture.

    Pillow refuses such a PNG as a whole; libpng drops profiles beyond 8 MB.

    Returns:
        What to say of it; empty where it stays.
    """
    from PIL.PngImagePlugin import MAX_TEXT_CHUNK

    size = len(image.info.get("icc_profile", b""))
    if size <= MAX_TEXT_CHUNK:
        return ""
    del image.info["icc_profile"]
    return (
        f"colour profile of {size} bytes left out; readers of PNG refuse more than "
        f"{MAX_TEXT_CHUNK}"
    )


def _picture_bytes(image: Image.Image, form: str) -> bytes:
    """Writes a picture to the bytes of a PNG or PPM file."""
    buffer = io.BytesIO()
    if form == "ppm":
        if image.mode in ("LA", "RGBA") or "transparency" in image.info:
            raise ImageError("the picture has alpha, which ppm cannot hold; use png")
        grey = image.mode in ("1", "L")
        if image.mode != "I;16":
            image = image.convert("L" if grey else "RGB")
        image.save(buffer, "PPM")
        return buffer.getvalue()
    from PIL import PngImagePlugin

    info = dict(image.info)
    if image.mode not in _PNG_MODES:
        image = image.convert("RGB")
    chunks = PngImagePlugin.PngInfo()
    if "xmp" in info:
        chunks.add_itxt("XML:com.adobe.xmp", info["xmp"])
    options = {"transparency": info["transparency"]} if "transparency" in info else {}
    image.save(
        buffer,
        "PNG",
        # Measured on kodim05: 0.07 s for 793 kB, against 0.19 s for 814 kB at 6.
        compress_level=3,
        pnginfo=chunks,
        icc_profile=info.get("icc_profile"),
        exif=info.get("exif", b""),
        **options,
    )
    return buffer.getvalue()
