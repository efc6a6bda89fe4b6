"""Every tool says what it is for, and does nothing else, when it is asked for help."""

import subprocess
import sys
from pathlib import Path

import pytest

from codax.files.scripts import run_file

TOOLS = Path(__file__).parents[1] / "tools"
PROGRAMS = sorted(path for path in TOOLS.glob("*.py") if "__main__" in path.read_text())
SCRIPTS = sorted(path for path in TOOLS.iterdir() if not path.suffix)


# In one process, so that what they import is imported once.
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    tool = run_file(path, "tool")
    with pytest.raises(SystemExit) as stop:
        tool.main()
    assert stop.value.code in (0, None)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"usage: {path.name}")
    assert " ".join(tool.__doc__.splitlines()[0].split()) in printed


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts(path):
    done = subprocess.run(
        [path, "--help"], capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == 0, done.stderr
    first = path.read_text().splitlines()[1].removeprefix("# ")
    assert done.stdout.startswith(first)
