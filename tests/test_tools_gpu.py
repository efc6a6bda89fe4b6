"""tools/gpu.py: a lease ends in time and brings back what it has, whatever happens.

The rehearsal with another Python is a command of its own, `tools/gpu.py rehearse`.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from codax.files.scripts import run_file
from codax.train.state import load_trunk

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "gpu.py"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool with another place; its parts are what `part` says."""
    found = run_file(TOOL, "tool")
    monkeypatch.setattr(found, "PLACE", tmp_path / "place")
    (tmp_path / "place").mkdir()
    return found


def stand_in(tool, monkeypatch, tmp_path, text):
    """Takes a script's text in the place of the work."""
    work = tmp_path / "work.py"
    work.write_text("import sys, time, signal, pathlib\n" + text)
    monkeypatch.setattr(tool, "WORK", work)


def test_a_part_that_takes_too_long_is_ended_and_then_killed(
    tool, monkeypatch, tmp_path
):
    job = tool.Lease(60, tmp_path)
    stand_in(tool, monkeypatch, tmp_path, "time.sleep(float(sys.argv[1]))")
    assert job.run("short", [0], 30) == 0
    begin = time.monotonic()
    assert job.run("long", [99], 0.5) == -1
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(99)"
    stand_in(tool, monkeypatch, tmp_path, stubborn)
    assert job.run("stubborn", [], 0.5, grace=0.5) == -1
    assert job.run("none", [], -1.0) == -1
    assert time.monotonic() - begin < 20
    names = [part["part"] for part in job.facts["parts"]]
    assert names == ["short", "long", "stubborn", "none"]


def test_what_comes_back_fits_or_is_named(tool, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tool, "PIECE", 1000)
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    out.mkdir()
    kernel = np.random.default_rng(0).normal(size=(40, 60)).astype(np.float32)
    np.savez(run / "weights.npz", **{"ema/g_a/kernel": kernel}, step=np.int32(7))
    (run / "log.jsonl").write_text("{}\n")
    job = tool.Lease(60, out)
    tool.write_back(job, run)
    assert "left behind" not in capsys.readouterr().out
    pieces = sorted(out.glob("weights.npz.*"))
    assert 1 < len(pieces) < tool.FILES
    assert all(piece.stat().st_size <= 1000 for piece in pieces)
    (tmp_path / "joined.npz").write_bytes(b"".join(p.read_bytes() for p in pieces))
    back = load_trunk(tmp_path / "joined.npz")
    assert np.abs(back["ema/g_a/kernel"] - kernel).max() < 2e-3
    with tarfile.open(out / "run.tar") as tar:
        assert set(tar.getnames()) == {"log.jsonl", "lease.json"}
    monkeypatch.setattr(tool, "FILES", 3)
    tool.write_back(job, run)
    assert "left behind: weights" in capsys.readouterr().out


def test_a_lease_that_is_told_to_end_brings_back_what_it_has(tmp_path):
    """As `timeout` does it; the place has no wheel and no pictures to unpack."""
    place, out = tmp_path / "place", tmp_path / "out"
    (place / "data").mkdir(parents=True)
    words = [sys.executable, TOOL, "lease", "quadtree-tiny", "--seconds", 120]
    words += ["--carry", tmp_path, "--init", "none", "-o", out]
    environment = os.environ | {"CODAX_GPU_PLACE": str(place)}
    with subprocess.Popen(
        list(map(str, words)), env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert (out / "run.tar").is_file(), said
    with tarfile.open(out / "run.tar") as tar:
        facts = json.load(tar.extractfile("lease.json"))
    assert facts["config"] == "quadtree-tiny"
    assert facts["parts"][0]["status"] == -1
