"""`codax verify`: whether files decode, without making pixels."""

from __future__ import annotations

import argparse
import json
import os
import time

from codax.cli.common import (
    add_codec_flag,
    add_common,
    add_limit_flag,
    add_runtime_flags,
    add_weights_flag,
    load_codec_file,
)
from codax.cli.outputs import InputError, read_source
from codax.cli.reporting import Reporter, said_name
from codax.coding.telling import listening

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax verify photo.codax
  codax verify --json *.codax

Checks each file to its end: checksum, sections, weights, and that its latents
decode here to where the stream ends. Pixels are not made. Exit status 1 if any
file fails.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "verify", description=_DESCRIPTION, help="whether .codax files decode here"
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help=".codax file, or -")
    add_weights_flag(parser)
    rare = parser.add_argument_group("advanced")
    add_runtime_flags(rare)
    add_codec_flag(rare)
    add_limit_flag(rare)
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Checks each input; returns the exit status."""
    from codax.cli.runtime import CodecShelf
    from codax.errors import CodaxError
    from codax.face.decoding import verify_file
    from codax.face.loading import find_codec

    load_codec_file(args)
    report = Reporter(args)
    shelf = CodecShelf(args.device, args.runtime)
    status = 0
    for number, name in enumerate(args.inputs, 1):
        model = "stored"

        def find(file):
            nonlocal model
            key = file.codec_id, file.weights_hash
            codec = shelf.get(key, lambda: find_codec(file, args.weights))
            model = codec.name
            return codec.coder

        start = time.perf_counter()
        try:
            if os.path.isdir(name):
                raise InputError("Is a directory; name the files in it")
            data = read_source(name)
            text = f"verifying {number} of {len(args.inputs)}: {name}"
            with report.waiting(text) as wait, listening(wait.progress):
                file = verify_file(data, find, max_pixels=args.max_pixels)
        except BrokenPipeError:
            raise
        except (CodaxError, OSError) as error:
            report.error(name, error)
            status = 1
            continue
        seconds = time.perf_counter() - start
        fields = {
            "input": name,
            "model": model,
            "width": file.width,
            "height": file.height,
            "bytes": len(data),
            "seconds": seconds,
        }
        if args.json:
            report.data(json.dumps(fields))
        elif not args.quiet:
            report.data(
                f"{said_name(name)}: good, {file.width}x{file.height}, {len(data)} B, "
                f"{model}, {seconds:.2f} s"
            )
    return status
