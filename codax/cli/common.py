"""What all commands share: the parser, common flags, and words for people and programs.

Data and JSON go to stdout, words to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import shutil
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

from codax.errors import CodaxError

__all__ = [
    "Parser",
    "Reporter",
    "UsageError",
    "add_codec_flag",
    "add_common",
    "add_work_flags",
    "describe",
    "load_codec_file",
    "positive_count",
    "size_in_bytes",
]

# Help fits 80 columns everywhere, so that it can be tested and read beside code.
_formatter = functools.partial(
    argparse.RawDescriptionHelpFormatter, width=78, max_help_position=26
)
_PATIENCE = 1.0  # seconds before a wait is announced
_KEYWORD = re.compile(r"`(\w+)=([\w.]+)`")
_WIPE = "\x1b[2K"  # of the terminal's row


class UsageError(CodaxError):
    """Words on the command line that make no sense together: exit status 2."""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, full flag names and a fixed width."""

    def __init__(self, **options: Any):
        super().__init__(
            **{"allow_abbrev": False, "formatter_class": _formatter, **options}
        )

    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage and leaving."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of every command: --json, -v, --quiet."""
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout")
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say more; -vv adds tracebacks",
    )
    parser.add_argument("--quiet", action="store_true", help="say only what failed")


def add_work_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Adds the flags of commands that compute and write: -f, -j, --device.

    Returns:
        The group of rare flags, for those of the command itself.
    """
    parser.add_argument(
        "-f", "--force", action="store_true", help="replace existing output"
    )
    rare = parser.add_argument_group("advanced")
    rare.add_argument(
        "-j",
        "--jobs",
        type=positive_count,
        default=1,
        metavar="N",
        help="files at a time (default 1; one already uses all cores)",
    )
    rare.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where to compute (default auto)",
    )
    return rare


def add_codec_flag(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --codec: a file that registers a codec from outside the package."""
    parser.add_argument(
        "--codec",
        metavar="FILE.py",
        help="Python file that registers a codec of your own",
    )


def load_codec_file(args: argparse.Namespace) -> None:
    """Loads the file that --codec names; it comes before anything that needs it.

    Raises:
        ConfigError: the file is missing, fails, or registers no codec.
    """
    if args.codec:
        from codax.codecs.families import load_file

        load_file(args.codec)


def positive_count(text: str) -> int:
    """Parses a whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def size_in_bytes(text: str) -> int:
    """Parses `20000`, `20k` or `1.5M` (decimal, as of files), for argparse."""
    factor = {"k": 1000, "K": 1000, "M": 1000_000}.get(text[-1:], 1)
    digits = text[:-1] if factor > 1 else text
    try:
        size = int(float(digits) * factor)
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; try 20000, 20k or 1.5M")
    return size


def describe(error: BaseException) -> str:
    """Puts an exception into one line without its class where that is no news.

    What the library calls by Python's keywords is said by the flags of the same names.
    """
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error, CodaxError):
        text = text.replace("`codax.register`", "--codec FILE.py")
        return _KEYWORD.sub(_as_flag, text)
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"unexpected {type(error).__name__}: {text} (-vv shows the traceback)"


def _as_flag(keyword: re.Match[str]) -> str:
    """`weights=PATH` as --weights PATH, `fallback=False` as --no-fallback."""
    name, value = keyword[1].replace("_", "-"), keyword[2]
    switches = {"True": f"--{name}", "False": f"--no-{name}"}
    return switches.get(value, f"--{name} {value}")


class Reporter:
    """Says what happens: lines for people on stderr, JSON on stdout."""

    def __init__(self, args: argparse.Namespace):
        self.json: bool = args.json
        self._quiet: bool = args.quiet
        self._verbose: int = args.verbose
        self._wait_shown = threading.Event()
        self._row = ""

    def _say(self, text: str) -> None:
        """Prints a line for people, in the place of a wait that is on the screen."""
        if self._wait_shown.is_set():
            self._wait_shown.clear()
            text = _WIPE + text
        print(text, file=sys.stderr, flush=True)

    def result(self, line: str, fields: dict[str, Any]) -> None:
        """Reports one file done."""
        if self.json:
            print(json.dumps(fields), flush=True)
        elif not self._quiet:
            self._say(line)

    def error(self, name: str, error: BaseException) -> None:
        """Reports one file that failed."""
        text = describe(error)
        if self._verbose > 1:
            traceback.print_exception(error)
        # An OSError of the file itself names it already.
        prefix = "" if text.startswith(f"{name}: ") else f"{name}: "
        self._say(f"codax: {prefix}{text}")
        if self.json:
            print(json.dumps({"input": name, "error": text}), flush=True)

    def note(self, text: str) -> None:
        """Says something that the user should know."""
        if not self._quiet:
            self._say(f"codax: note: {text}")

    def detail(self, text: str) -> None:
        """Says something under -v only."""
        if self._verbose:
            self._say(f"codax: {text}")

    def progress(self, share: float) -> None:
        """Adds to the wait on the screen what of it is done, 0 to 1."""
        if self._wait_shown.is_set():
            row = f"{_WIPE}{self._row} ... {share:.0%}"
            print(row, end="\r", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Says on a terminal, after a second, what is waited for; wipes it later."""
        plain = os.environ.get("TERM", "dumb") == "dumb"
        if self._quiet or not sys.stderr.isatty() or plain:
            yield
            return

        def show() -> None:
            self._wait_shown.set()
            # Cut to one row, since only the last row of a longer text can be wiped.
            self._row = f"codax: {text}"[: shutil.get_terminal_size().columns - 10]
            print(f"{self._row} ...", end="\r", file=sys.stderr, flush=True)

        timer = threading.Timer(_PATIENCE, show)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            if self._wait_shown.is_set():
                self._wait_shown.clear()
                print(_WIPE, end="\r", file=sys.stderr, flush=True)
