"""The command line: `codax COMMAND ...`.

Each command is a module here with `add_parser(subparsers)` and `run(args) -> int`; a
new one is a module and its name in COMMANDS. Their top level imports nothing heavy, so
that help, usage errors, `info` and `models` answer at once; `run` loads JAX if needed.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from codax.cli.common import Parser, UsageError
from codax.cli.reporting import describe, prepare_streams, say
from codax.cli.stopping import terminated
from codax.cli.usage import nearest_command, parse

__all__ = ["COMMANDS", "main"]

COMMANDS = (
    "encode",
    "decode",
    "verify",
    "truncate",
    "info",
    "models",
    "weights",
    "compare",
    "evaluate",
    "train",
    "export",
    "plot",
    "viewer",
)

_DESCRIPTION = """\
examples:
  codax encode photo.png                 writes photo.codax
  codax decode photo.codax -o back.png   writes back.png

Learned image codecs with real files.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after `codax`; those of the process if None.

    Returns:
        The exit status: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted,
        129 and 143 ended by SIGHUP and SIGTERM.
    """
    # OpenBLAS with several threads beside those of a runtime or of other processes is
    # 10 to 100 times slower. It is read when NumPy is first loaded, which comes later.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if argv is None else argv)
    # Asked of the words and not of the parsed arguments, which may not come to be.
    traced = any(word in ("-vv", "-vvv") for word in words) or words.count("-v") > 1
    prepare_streams()
    try:
        with terminated():
            status = _run(words)
            sys.stdout.flush()
        return status
    except SystemExit as stop:  # --help and --version end this way.
        return int(stop.code or 0)
    except BrokenPipeError:
        _forget_stdout()  # The reader went away (`codax models | head -1`).
        return 1
    except KeyboardInterrupt as stop:
        return 128 + getattr(stop, "signal", 2)
    except Exception as error:
        if traced:
            traceback.print_exc()
        say(f"codax: {describe(error)}")
        _forget_stdout()
        return 2 if isinstance(error, UsageError) else 1


def _forget_stdout() -> None:
    """Lets Python not complain when it flushes at its end what cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: Sequence[str]) -> int:
    """Finds the command and runs it."""
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise nearest_command(words[0], COMMANDS)
    parser = _build_parser()
    args = parse(parser, words)
    if args.command is None:
        parser.print_help()
        return 2
    return importlib.import_module(f"codax.cli.{args.command}").run(args)


def _build_parser() -> Parser:
    """Makes the parser of all commands."""
    from codax import __version__

    parser = Parser(prog="codax", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"codax {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"codax.cli.{name}").add_parser(subparsers)
    return parser
