"""`codax info`: what files say of themselves, without decoding them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from codax.cli.common import add_common
from codax.cli.outputs import read_source
from codax.cli.reporting import Reporter, said_name

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax info photo.codax
  codax info --json *.codax

Reads headers and sections only.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "info", description=_DESCRIPTION, help="what a .codax file holds"
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help=".codax file, or -")
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Describes each input; returns the exit status."""
    from codax.errors import CodaxError
    from codax.files.info import read_info
    from codax.zoo.cards import name_of
    from codax.zoo.releases import released

    report = Reporter(args)
    status = 0
    for name in args.inputs:
        try:
            fields = read_info(read_source(name), name_of)
            own = released(fields["codec_id"], fields["weights_hash"])
            fields["release"] = None if own is None else own.release
        except BrokenPipeError:
            raise
        except (CodaxError, OSError) as error:
            report.error(name, error)
            status = 1
            continue
        if args.json:
            report.data(json.dumps({"input": name, **fields}))
        else:
            report.data("\n".join([said_name(name), *_lines(fields)]))
    return status


def _lines(fields: dict[str, Any]) -> list[str]:
    """Puts the fields into aligned lines."""
    model = fields["model"] or "unknown"
    release = fields["release"] and f"codax {fields['release']}"
    model += (
        f" (codec {fields['codec_id']}, weights {fields['weights_hash']}, "
        f"{release or 'of no release known here'})"
    )
    if fields["model"] == "stored":
        model = "stored: samples without loss as WebP, no weights needed"
    rows = [
        (
            "picture",
            f"{fields['width']}x{fields['height']} {fields['mode']}, "
            f"{fields['bit_depth']} bits",
        ),
        ("model", model),
        ("quality", f"{fields['quality']:g}"),
        ("file", f"{fields['bytes']} B, {fields['bpp']:.4g} bpp"),
        ("stream", f"{fields['stream_bytes']} B"),
        ("header", f"{fields['header_bytes']} B"),
    ]
    if fields["layers"]:
        sizes = " + ".join(str(size) for size in fields["layers"])
        rows.append(("layers", f"{len(fields['layers'])}: {sizes} B"))
    if fields["trellis"]:
        rows.append(("latents", "quantised dependently"))
    rows += [
        (section["name"], f"{section['bytes']} B") for section in fields["sections"]
    ]
    return [f"  {name:<16}{value}" for name, value in rows]
