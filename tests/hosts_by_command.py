"""`codax train --distributed` as two processes of the command line; some minutes.

Not a part of the suite: `pytest tests/hosts_by_command.py`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from small_codecs import synthetic
from test_train_hosts import free_port

from codax.train.state import load_state

TESTS = Path(__file__).parent
CONFIG = """
from codax.train.config import TrainConfig
from small_codecs import small_config

config = TrainConfig(
    codec="factorized", preset="mine", model=small_config("factorized"), held_out=1,
    batch=2, crop=64, branch_batch=2, branch_crop=64, watch=0.0, optimizer="adam",
)
"""


@pytest.fixture
def host(tmp_path):
    """Starts a host of two with more words; those that are left are killed."""
    (tmp_path / "mine.py").write_text(CONFIG)
    for i in range(4):
        Image.fromarray(synthetic(96, 80, i)).save(tmp_path / f"{i}.png")
    port, started = free_port(), []
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

    def start(rank, *words):
        where = ["--coordinator", f"localhost:{port}", "--rank", str(rank)]
        command = [sys.executable, "-m", "codax", "train", "mine.py", "--data", "."]
        command += ["-o", "run", "--device", "cpu", "--distributed", *where]
        log = (tmp_path / f"{rank}.log").open("w")
        started.append(
            subprocess.Popen(
                [*command, "--ranks", "2", *words],
                cwd=tmp_path,
                env=environment,
                stderr=log,
            )
        )
        log.close()
        return started[-1]

    yield start, tmp_path
    for process in started:
        process.kill()
        process.wait()


def until(found, seconds: float) -> float:
    """Waits until something is there; returns the seconds that it took."""
    begin = time.monotonic()
    while not found():
        assert time.monotonic() - begin < seconds
        time.sleep(0.2)
    return time.monotonic() - begin


def test_sigterm_to_one_saves_and_ends_all(host):
    start, place = host
    both = [start(rank, "--minutes", "5") for rank in (0, 1)]
    until(lambda: "trunk" in (place / "0.log").read_text(), 200)
    both[1].send_signal(signal.SIGTERM)
    assert [process.wait(60) for process in both] == [143, 143]
    assert "state saved" in (place / "0.log").read_text()
    assert int(load_state(place / "run" / "trunk.npz")["step"]) > 0
    assert not (place / "run" / "lock").exists()


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_host_ends_the_other_within_two_minutes(host, lost, number):
    start, place = host
    both = [start(rank, "--minutes", "5") for rank in (0, 1)]
    until(lambda: "trunk" in (place / "0.log").read_text(), 200)
    both[lost].send_signal(number)
    other = both[1 - lost]
    took = until(lambda: other.poll() is not None, 120)
    assert other.returncode not in (0, 143)
    said = (place / f"{1 - lost}.log").read_text()
    assert "lost another" in said or "another task died" in said
    sys.stderr.write(f"{number.name} to host {lost}: {took:.0f} s\n")


def test_hosts_with_other_words_are_refused(host):
    start, place = host
    both = [start(0, "--steps", "4"), start(1, "--steps", "4", "--set", "rate=1e-3")]
    assert [process.wait(100) for process in both] == [1, 1]
    for rank in (0, 1):
        said = (place / f"{rank}.log").read_text()
        assert "codax: host 1 has other configuration or length than host 0" in said
    assert not (place / "run").exists()
