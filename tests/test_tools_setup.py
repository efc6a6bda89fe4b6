"""`tools/setup`: an environment that is in use stays as it is until another is made."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[1] / "tools" / "setup"
STUB = """#!/bin/bash
# Stands for Python, pip and uv: `-m venv FOLDER` makes a folder with itself in it.
case "$*" in
    "-c "*) exit 0 ;;
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/pip"; cp "$0" "$3/bin/uv" ;;
esac
[ ! -e fail ]
"""


@pytest.fixture
def tree(tmp_path):
    """A checkout with a stub in place of Python."""
    (tmp_path / "tools").mkdir()
    shutil.copy(SETUP, tmp_path / "tools")
    for name in ("uv.lock", "pyproject.toml"):
        (tmp_path / name).write_text("first")
    python = tmp_path / "bin" / "python3.11"
    python.parent.mkdir()
    python.write_text(STUB)
    python.chmod(0o755)
    return tmp_path


def setup(tree):
    path = f"{tree / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [tree / "tools" / "setup"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def folders(tree):
    return sorted(path.name for path in tree.glob(".venv-*"))


def test_a_change_of_the_lock_swaps_and_keeps_the_one_before(tree):
    assert "making .venv" in setup(tree).stderr
    link, first = tree / ".venv", (tree / ".venv").resolve()
    assert setup(tree).stderr == "", "nothing changed"
    (tree / "uv.lock").write_text("second")
    (tree / "fail").touch()  # pip fails
    assert "making .venv" in setup(tree).stderr
    assert link.resolve() == first
    (tree / "fail").unlink()
    assert setup(tree).returncode == 0
    second = link.resolve()
    assert second != first
    assert folders(tree) == sorted([first.name, second.name])
    (tree / "uv.lock").write_text("third")
    (tree / ".venv-mine").mkdir()  # of somebody else
    assert setup(tree).returncode == 0
    assert folders(tree) == sorted([second.name, link.resolve().name, ".venv-mine"])


def test_a_folder_of_an_earlier_setup_is_put_aside(tree):
    (tree / ".venv").mkdir()
    (tree / ".venv" / "mine").touch()
    assert setup(tree).returncode == 0
    assert (tree / ".venv").is_symlink()
    assert (tree / ".venv-before" / "mine").is_file()
