"""A wait on a terminal says what it is for, and leaves nothing behind."""

import argparse
import io
import time
from types import SimpleNamespace

import pytest

from codax.cli import compiling, reporting
from codax.cli.compiling import Compilations
from codax.cli.reporting import Reporter


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    screen = Terminal()
    # Of the module: pytest puts its own sys.stderr in place before the test.
    monkeypatch.setattr(reporting, "sys", SimpleNamespace(stderr=screen))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(reporting, "_PATIENCE", 0.01)
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
    with report.waiting(text) as wait:
        time.sleep(0.1)
        wait.progress(0.41)
        time.sleep(0.1)
        for line in says:
            report.result(line, {})


def reporter(**given):
    return Reporter(
        argparse.Namespace(**{"json": False, "quiet": False, "verbose": 0, **given})
    )


def test_a_result_takes_the_place_of_the_wait(terminal):
    waited(reporter(), "encoding 1 of 1", ["a.png -> a.codax", "b"])
    assert "encoding 1 of 1 ... 0 s" in terminal.getvalue()
    assert "encoding 1 of 1 ... 41%, 0 s" in terminal.getvalue()
    assert shown(terminal.getvalue()) == ["a.png -> a.codax", "b", ""]


def test_json_takes_it_too(terminal, monkeypatch):
    """Where stdout is the same terminal."""
    real = print

    def both(*words, file=None, **options):
        real(*words, file=file or terminal, **options)

    monkeypatch.setattr("builtins.print", both)
    waited(reporter(json=True), "encoding 1 of 1", ["a"])
    assert shown(terminal.getvalue()) == ["{}", ""]


def test_a_wait_without_result_is_wiped(terminal):
    waited(reporter(), "encoding 1 of 1")
    assert shown(terminal.getvalue()) == [""]


def test_a_long_wait_keeps_to_one_row(terminal):
    waited(reporter(), "encoding " + "x\n" * 100)
    assert max(map(len, shown(terminal.getvalue()))) < 40
    drawn = terminal.getvalue().replace("\x1b[2K", "").split("\r")
    assert 20 < max(map(len, drawn)) < 40


def test_quiet_says_nothing(terminal):
    waited(reporter(quiet=True), "encoding 1 of 1")
    assert terminal.getvalue() == ""


@pytest.fixture
def patient(monkeypatch):
    """Any compilation counts, however short."""
    monkeypatch.setattr(compiling, "_LEAST", 0.0)


def test_only_what_is_compiled_is_said_to_be(patient):
    """Of JAX itself, whose events these are."""
    import jax

    listener = Compilations()
    listener.listen()
    during = []

    def look(event, **about):
        during.append(listener.running())

    jax.monitoring.register_event_listener(look)
    try:
        jitted = jax.jit(lambda x: x * 3 + 1)
        jitted(1.0)
        assert True in during  # The cache is asked within a compilation.
        assert not listener.running()
        during.clear()
        jitted(2.0)
        assert True not in during
    finally:
        jax.monitoring.unregister_event_listener(look)
        listener.stop()
    during.clear()
    jax.jit(lambda x: x * 5 + 1)(1.0)
    assert True not in during


def test_a_compilation_is_named(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setattr(Compilations, "running", lambda self: True)
    waited(reporter(), "encoding 1 of 1")
    assert "1 of 1 ... 0 s, compiling, once for each" in terminal.getvalue()
