"""`codax viewer`: a page that decodes .codax files in a browser."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codax.cli.common import UsageError, add_common
from codax.cli.outputs import InputError, OutputError, read_source
from codax.cli.reporting import Reporter
from codax.errors import CodaxError

if TYPE_CHECKING:
    from codax.zoo.cards import Card

__all__ = ["add_parser", "run"]

_DESCRIPTION = """\
examples:
  codax viewer --serve                      prints an address for the browser
  codax viewer --serve photo.codax          the same, with a picture
  codax viewer -o site                      a folder for any static host
  codax viewer -o site --models quadtree-base,quadtree-tiny
  codax viewer --serve -o site              serves what was written before

Writes a page that decodes .codax files in a browser, with the models that it
shall read, or serves one on this machine. Files are decoded in the page. Takes
the package codax-viewer.
"""
_PORTS = 1 << 16
_FILES = "files"
"""Of a viewer's folder: pictures that were given."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser(
        "viewer",
        usage="codax viewer (-o FOLDER | --serve) [flags] [IN ...]",
        description=_DESCRIPTION,
        help="a page that shows .codax files",
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="IN", help=".codax file that goes with it"
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write it there")
    parser.add_argument(
        "--serve", action="store_true", help="serve it on the loopback address"
    )
    parser.add_argument(
        "--models",
        metavar="A,B",
        help="names or paths of models that it reads (default: all at hand)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=0,
        metavar="N",
        help="with --serve (default: any that is free)",
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace a viewer that is there"
    )
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Writes or serves the viewer; returns the exit status."""
    from codax.zoo.viewer import write_viewer

    if not args.output and not args.serve:
        raise UsageError("say where to: -o FOLDER, or --serve")
    report = Reporter(args)
    if _is_to_be_served(args):
        _serve(Path(args.output).resolve(), [], args, report)
        return 0
    cards, files = _models(args.models), _files(args.inputs)
    with _folder(args.output) as folder:
        size = write_viewer(folder, cards, files, force=args.force)
        if args.output:
            said = {"output": args.output, "bytes": size}
            said |= {"models": [card.name for card in cards]}
            report.result(f"{args.output}  {len(cards)} models  {size} B", said)
        if args.serve:
            _serve(folder, list(files), args, report)
    return 0


def _is_to_be_served(args: argparse.Namespace) -> bool:
    """Whether a viewer that was written before is only to be served."""
    from codax.zoo.viewer import INDEX

    asked = args.force or args.inputs or args.models
    there = args.output and (Path(args.output) / INDEX).is_file()
    return bool(args.serve and there and not asked)


@contextlib.contextmanager
def _folder(output: str | None) -> Iterator[Path]:
    """Where the viewer goes: a folder that was named, or one that is gone after it."""
    if output:
        yield Path(output).resolve()  # what a link leads to, not the link
        return
    with tempfile.TemporaryDirectory(prefix="codax-viewer-") as made:
        yield Path(made)


def _models(words: str | None) -> list[Card]:
    """The cards of the models that were asked for; all that can be read if None."""
    from codax.zoo.cards import find_card, list_cards
    from codax.zoo.graphs import has_graphs

    if words is None:
        return [
            card
            for card in list_cards(decoding=True)
            if has_graphs(card.fields) and any(card.folder.glob("weights.safetensors*"))
        ]
    names = dict.fromkeys(name.strip() for name in words.split(",") if name.strip())
    if not names:
        raise UsageError(f"--models {words!r} names none; expected A,B")
    return [find_card(name) for name in names]


def _files(sources: list[str]) -> dict[str, bytes]:
    """The files that go with the page, by their paths in its folder."""
    from codax.files import container

    found: dict[str, bytes] = {}
    for source in sources:
        name = f"{_FILES}/{os.path.basename(source)}"
        if name in found:
            raise UsageError(f"two inputs are called {os.path.basename(source)}")
        try:
            found[name] = read_source(source)
            container.read(found[name], max_pixels=1 << 70)
        except InputError as error:
            raise UsageError(f"{source}: no .codax file ({error})") from error
        except CodaxError as error:
            raise UsageError(f"{source}: {error}") from error
    return found


def _serve(
    folder: Path, names: list[str], args: argparse.Namespace, report: Reporter
) -> None:
    """Serves the folder until the process is told to end; prints the addresses."""
    from codax.cli.serving import Server

    try:
        server = Server(folder, args.port)
    except OSError as error:
        raise OutputError(
            f"port {args.port} cannot be had: {error.strerror}; leave --port out for "
            "any that is free"
        ) from error
    for name in names or [""]:
        address = server.address
        if name:
            address += "?" + urllib.parse.urlencode({"file": name}, safe="/")
        report.data(json.dumps({"address": address}) if args.json else address)
    report.note("Ctrl-C ends it")
    server.run()


def _port(text: str) -> int:
    """Parses a port, for argparse."""
    if not text.isdecimal() or int(text) >= _PORTS:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to 65535")
    return int(text)
