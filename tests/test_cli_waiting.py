"""A wait that is announced on a terminal leaves nothing behind."""

import argparse
import io
import time
from types import SimpleNamespace

import pytest

from codax.cli import common
from codax.cli.common import Reporter


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    screen = Terminal()
    # Of the module: pytest puts its own sys.stderr in place before the test.
    monkeypatch.setattr(common, "sys", SimpleNamespace(stderr=screen))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(common, "_PATIENCE", 0.0)
    return screen


def shown(screen: str) -> list[str]:
    """The rows that a terminal shows: \\r goes back, ESC [2K wipes the row."""
    rows = []
    for line in screen.split("\n"):
        row = ""
        for part in line.split("\r"):
            part = part.rpartition("\x1b[2K")
            row = part[2] + ("" if part[1] else row[len(part[2]) :])
        rows.append(row)
    return rows


def waited(report, text, says=()):
    with report.waiting(text):
        time.sleep(0.2)
        for line in says:
            report.result(line, {})


def reporter(**given):
    return Reporter(
        argparse.Namespace(**{"json": False, "quiet": False, "verbose": 0, **given})
    )


def test_a_result_takes_the_place_of_the_wait(terminal):
    waited(reporter(), "encoding 1 of 1", ["a.png -> a.codax", "b"])
    assert "encoding 1 of 1 ..." in terminal.getvalue()
    assert shown(terminal.getvalue()) == ["a.png -> a.codax", "b", ""]


def test_a_wait_without_result_is_wiped(terminal):
    waited(reporter(), "encoding 1 of 1")
    assert shown(terminal.getvalue()) == [""]


def test_a_long_wait_keeps_to_one_row(terminal):
    waited(reporter(), "encoding " + "x" * 100)
    assert max(map(len, terminal.getvalue().split("\r"))) < 40


def test_quiet_says_nothing(terminal):
    waited(reporter(quiet=True), "encoding 1 of 1")
    assert terminal.getvalue() == ""
