"""What a command says: lines for people on stderr, JSON on stdout, waits on a terminal.

A name of a file may hold any character, and a terminal may have any encoding: what is
said is always one line, without control characters.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from codax.cli.compiling import Compilations
from codax.cli.plan import STREAM
from codax.errors import CodaxError

__all__ = [
    "Reporter",
    "StdoutError",
    "Wait",
    "describe",
    "one_line",
    "prepare_streams",
    "said_name",
    "say",
]

_PATIENCE = 1.0  # seconds before a wait is announced
_TICK = 0.25  # seconds between two looks at a wait
_KEYWORD = re.compile(r"`(\w+)=([\w.]+)`")
_CONTROLS = {code: repr(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0))}
_WIPE = "\x1b[2K"  # of the terminal's row
_STREAMS = (
    ("stdin", "r", os.O_WRONLY),
    ("stdout", "w", os.O_RDONLY),
    ("stderr", "w", os.O_WRONLY),
)


class StdoutError(CodaxError):
    """What was asked for cannot be written to stdout, such as to a full disk."""


def prepare_streams() -> None:
    """Makes stdin, stdout and stderr fit for any name and any caller.

    What the terminal's encoding does not have is printed as escapes. Where the caller
    has closed stdin or stdout (`>&-`) they fail when they are used, instead of being
    None or, worse, the number of a file that is opened later; words go nowhere.
    """
    for name, mode, wrong in _STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, wrong), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str, *, before: str = "", end: str = "\n") -> None:
    """Prints a line for people; where that cannot be, the work goes on without it.

    Args:
        text: without control characters when it is printed.
        before: what moves the terminal's cursor.
        end: likewise, after it.
    """
    with contextlib.suppress(OSError):
        print(before + one_line(text), end=end, file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """A text without line breaks and other control characters, which are escaped."""
    return text.translate(_CONTROLS)


def said_name(name: str) -> str:
    """The name of an input for people, on one line; `-` is stdin."""
    return "stdin" if name == STREAM else one_line(name)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of text with the columns of the rows below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def describe(error: BaseException) -> str:
    """Puts an exception into one line without its class where that is no news.

    What the library calls by Python's keywords is said by the flags of the same names.
    """
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return one_line(f"{name}{error.strerror}")
    text = one_line(str(error))
    if isinstance(error, CodaxError):
        text = text.replace("`codax.register`", "--codec FILE.py")
        return _KEYWORD.sub(_as_flag, text)
    if isinstance(error, MemoryError):
        return "out of memory"
    text = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {text} (-vv shows the traceback)"


def _as_flag(keyword: re.Match[str]) -> str:
    """`weights=PATH` as --weights PATH, `fallback=False` as --no-fallback."""
    name, value = keyword[1].replace("_", "-"), keyword[2]
    switches = {"True": f"--{name}", "False": f"--no-{name}"}
    return switches.get(value, f"--{name} {value}")


class Reporter:
    """Says what happens."""

    def __init__(self, args: argparse.Namespace):
        self.json: bool = args.json
        self._quiet: bool = args.quiet
        self._verbose: int = args.verbose
        self._screen = threading.RLock()
        self._wait: Wait | None = None

    def say(self, text: str) -> None:
        """Prints a line for people, in the place of a wait that is on the screen."""
        with self._screen:
            wiped = self._wait.wiped() if self._wait else ""
            say(text, before=wiped)

    def result(self, line: str, fields: dict[str, Any]) -> None:
        """Reports one thing done."""
        if self.json:
            self.data(json.dumps(fields))
        elif not self._quiet:
            self.say(line)

    def data(self, text: str) -> None:
        """Prints what was asked for to stdout.

        Raises:
            BrokenPipeError: the reader went away.
            StdoutError: it cannot be written.
        """
        with self._screen:
            if self._wait and (wiped := self._wait.wiped()):
                say("", before=wiped, end="")
        try:
            print(text, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StdoutError(f"stdout: {error.strerror}") from error

    def error(self, name: str, error: BaseException) -> None:
        """Reports one input that failed, by its name on the command line."""
        text, said = describe(error), said_name(name)
        if self._verbose > 1:
            traceback.print_exception(error)
        # An OSError of the file itself names it already.
        prefix = "" if text.startswith(f"{said}: ") else f"{said}: "
        self.say(f"codax: {prefix}{text}")
        if self.json:
            self.data(json.dumps({"input": name, "error": text}))

    def note(self, text: str) -> None:
        """Says something that the user should know."""
        if not self._quiet:
            self.say(f"codax: note: {text}")

    def detail(self, text: str) -> None:
        """Says something under -v only."""
        if self._verbose:
            self.say(f"codax: {text}")

    @contextlib.contextmanager
    def waiting(self, text: str = "") -> Iterator[Wait]:
        """Says on a terminal, after a second, what is waited for; wipes it later.

        Args:
            text: what; `Wait.begin` may say it later, and anew.

        Yields:
            The wait, which takes what of it is done.
        """
        plain = os.environ.get("TERM", "dumb") == "dumb"
        shown = not (self._quiet or plain) and sys.stderr.isatty()
        wait = Wait(self._screen, text)
        if not shown:
            yield wait
            return
        self._wait = wait
        ended = threading.Event()

        compilations = Compilations()

        def watch() -> None:
            while not ended.wait(min(_TICK, _PATIENCE)):
                compilations.listen()
                wait.draw(compiling=compilations.running())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield wait
        finally:
            ended.set()
            watcher.join()
            compilations.stop()
            self._wait = None
            with self._screen:
                say("", before=wait.wiped(), end="")


class Wait:
    """A row on the terminal: what is waited for, what of it is done, how long it takes.

    Example:
        codax: encoding 3 of 9: a.png ... 41 %, 12 s
    """

    def __init__(self, screen: Any, text: str):
        """Shows nothing yet.

        Args:
            screen: lock of the terminal.
            text: what is waited for.
        """
        self._screen, self._drawn = screen, False
        self.begin(text)

    def begin(self, text: str) -> None:
        """Says what is waited for from now on."""
        with self._screen:
            self._text, self._share = text, 0.0
            self._start = time.monotonic()

    def goes_on(self, text: str, share: float) -> None:
        """Says what of the same wait is at hand, and what is done, 0 to 1."""
        with self._screen:
            self._text, self._share = text, share

    def progress(self, share: float) -> None:
        """Takes what of it is done, 0 to 1."""
        self._share = share

    def draw(self, *, compiling: bool) -> None:
        """Puts the row on the screen, or renews it, once there is reason to."""
        with self._screen:
            seconds = time.monotonic() - self._start
            if seconds < _PATIENCE or not self._text:
                return
            parts = [f"{self._share:.0%}"] if self._share else []
            parts += [f"{seconds:.0f} s"] if seconds >= 2 * _PATIENCE else []
            if compiling:
                parts.append("compiling, once for each class of sizes")
            tail = f" ... {', '.join(parts)}"
            # Cut to one row, since only the last row of a longer text can be wiped.
            room = shutil.get_terminal_size().columns - 1 - len(tail)
            head = one_line(f"codax: {self._text}")[: max(room, 0)]
            say(head + tail, before=_WIPE, end="\r")
            self._drawn = True

    def wiped(self) -> str:
        """What takes the row off the screen; empty if it is not there."""
        drawn, self._drawn = self._drawn, False
        return _WIPE + "\r" if drawn else ""
