"""Answers that need no network come at once and load no JAX."""

import os
import pwd
import resource
import subprocess
import sys

import pytest
from fake_codec import small_file

from codax.cli import COMMANDS
from codax.cli.runtime import cache_folder

LIGHT = {
    "help": (["--help"], 0),
    "command help": (["encode", "--help"], 0),
    "version": (["--version"], 0),
    "no command": (["encod"], 2),
    "usage": (["encode", "x.png", "-q", "200"], 2),
    "models": (["models"], 0),
    "info": (["info", "FILE"], 0),
    "damaged": (["decode", "DAMAGED", "-o", "OUT.png"], 1),
    "missing": (["decode", "MISSING", "-o", "OUT.png"], 1),
}


@pytest.mark.parametrize("case", LIGHT)
def test_light_answers_load_no_jax(case, tmp_path):
    words, status = LIGHT[case]
    data = small_file()
    (tmp_path / "FILE").write_bytes(data)
    (tmp_path / "DAMAGED").write_bytes(data[:-5] + b"?????")
    code = (
        "import sys; from codax.cli import main; status = main(sys.argv[1:]); "
        "heavy = {'jax', 'flax', 'matplotlib', 'constriction'} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(status)"
    )
    allowed = "constriction"  # decode needs it for alpha; it takes 14 ms.
    if words[0] == "decode":
        code = code.replace(f", '{allowed}'", "")
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "OUT.png").exists()


def test_help_and_info_are_quick(tmp_path):
    (tmp_path / "x.codax").write_bytes(small_file())
    for words in (["--help"], ["models"], ["info", "x.codax"]):
        best = min(_seconds(words, tmp_path) for _ in range(5))
        assert best < 0.35, f"codax {words[0]} took {best:.2f} s"


def _seconds(words, folder):
    """Seconds of processor time: what the command takes where nothing else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "codax", *words],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_fits_eighty_columns():
    for words in ([], *([command] for command in COMMANDS)):
        done = subprocess.run(
            [sys.executable, "-m", "codax", *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert "examples:" in done.stdout


def test_a_user_without_a_home_has_no_cache(monkeypatch, tmp_path):
    """As in a container that runs as a user it does not know."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "codax"


def test_closed_pipe_is_quiet():
    done = subprocess.run(
        f"{sys.executable} -m codax --help | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


def test_two_programs_may_fill_one_cache(tmp_path):
    """One reads what the other has half written: it compiles, and says nothing."""
    script = """
import jax, pathlib, sys
from codax.cli.runtime import cache_folder, prepare_jax
prepare_jax("cpu")
f = jax.jit(lambda x: x * 3 + 1)
f(1.0)
entries = list((cache_folder() / "jax").glob("*-cache"))
for entry in entries:
    entry.write_bytes(entry.read_bytes()[:20])
jax.clear_caches()
print(len(entries) > 0, f(2.0))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "7.0"]
    assert not done.stderr
