"""Training over several hosts: two processes of this one, over gloo."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hosts_worker import LOST, STOP, config, crops_until, log_every_step
from test_train_loop import pictures

from codax.errors import ConfigError
from codax.train import loop, runner
from codax.train.folder import alone_in
from codax.train.hosts import Hosts, join
from codax.train.loop import train
from codax.train.meeting import roll_call
from codax.train.state import load_state
from codax.train.trainer import Trainer

TESTS = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("localhost", 0))
        return own.getsockname()[1]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What two hosts said, and the folder of the first."""
    folder = tmp_path_factory.mktemp("hosts")
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("XLA_FLAGS", None)
    words = [sys.executable, TESTS / "hosts_worker.py"]
    port = str(free_port())
    started = [
        subprocess.Popen(
            [*words, str(rank), port, folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300) for process in started]
    told = [dict(line.split(": ", 1) for line in out.splitlines()) for out, _ in said]
    return told, folder, [err for _, err in said]


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "REPORT_SECONDS", -1)
        patch.setattr(loop, "start_networks", loop.start_networks)
        jax.config.update("jax_disable_most_optimizations", True)
        log_every_step()
        yield
        jax.config.update("jax_disable_most_optimizations", False)


def losses(run: Path) -> dict[int, float]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return {line["step"]: line["loss"] for line in map(json.loads, lines)}


def test_two_hosts_step_as_one_and_the_run_goes_on_elsewhere(pair, quick, tmp_path):
    """Stopped, resumed and broken off on two; ended on one."""
    told, folder, errors = pair
    assert [t["hosts"] for t in told] == [f"{r} of 2, 2 devices" for r in (0, 1)], (
        errors
    )
    run = folder / "run"
    given = {"steps": 20, "say": str, "crops": crops_until()}
    assert max(losses(run)) == LOST
    train(config(), run, pictures(), resume=True, **given)
    train(config(), tmp_path, pictures(), **given)
    one, two = losses(tmp_path), losses(run)
    assert list(one) == sorted(two) == list(range(1, 21))
    # Sums in another order; mostly within 1e-4, once 1.7e-4.
    assert [two[step] for step in one] == pytest.approx(list(one.values()), rel=5e-4)
    assert one[1] != pytest.approx(one[20], rel=1e-2)
    assert not list(folder.glob("not-shared/**/*.npz"))


def test_a_signal_to_one_stops_all_and_the_first_alone_watches(pair):
    told, *_ = pair
    assert told[0]["15"] == f"signal 15 after {STOP + 1} evaluations"
    assert told[1]["15"] == "signal 15 after 0 evaluations"


def test_a_lost_host_ends_the_others_with_a_message(pair):
    told, folder, _ = pair
    assert "host 0 of 2 lost another one" in told[0]["9"]
    assert "resume=True" in told[0]["9"]
    assert "9" not in told[1]
    assert int(load_state(folder / "run" / "trunk.npz")["step"]) >= LOST - 1


def test_hosts_that_differ_are_refused(pair):
    told, *_ = pair
    for of_host in told:
        assert "host 1 has other configuration" in of_host["configuration"]
        assert "host 1 has other weights to start from" in of_host["weights"]
        assert "of 2, and the run is for 1; " in of_host["alone"]


def test_what_the_first_refuses_all_refuse(pair):
    told, *_ = pair
    assert "old: holds a run already" in told[0]["old"]
    assert told[1]["old"].startswith("host 0: ")
    assert "old: holds a run already" in told[1]["old"]


def test_what_streamed_crops_a_host_loads():
    """Each device takes as many of a batch; together they take each once."""

    class Device:
        def __init__(self, host):
            self.process_index = host

    trainer = object.__new__(Trainer)
    for count, shares in ((8, (range(4), range(4, 8))), (5, (range(4), range(4, 8)))):
        for rank in (0, 1):
            trainer.hosts = Hosts(rank, 2)
            trainer.mesh = SimpleNamespace(
                devices=np.array([Device(h) for h in (0, 0, 1, 1)])
            )
            assert trainer.share(count) == shares[rank]
    trainer.hosts, trainer.mesh = Hosts(), None
    assert trainer.share(5) == range(5)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([(1, 3), (2, 3)], ""),
        ([(1, 3), (1, 3)], "rank: two hosts say that they are 1"),
        ([(1, 3), (2, 4)], "ranks: rank 2 counts 4 hosts, rank 0 3"),
        ([(1, 3)], "of 3 these did not come: [2]"),
    ],
)
def test_ranks_have_to_add_up(others, said):
    """All hosts hear what is wrong, in one line."""
    where = f"localhost:{free_port()}"

    def host(rank, ranks):
        try:
            roll_call(where, rank, ranks, 3.0)
        except ConfigError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(host, 0, 3)
        rest = [pool.submit(host, *other) for other in others]
        found = [future.result() for future in (first, *rest)]
    assert all(said in line for line in found) if said else found == [""] * 3
    assert all(line.count("\n") == 0 and len(line) < 160 for line in found)


def test_nobody_meets_and_a_port_in_use():
    port = free_port()
    with pytest.raises(ConfigError, match=f"nobody meets at localhost:{port}"):
        roll_call(f"localhost:{port}", 1, 2, 0.1)
    with socket.create_server(("", port)):
        with pytest.raises(ConfigError, match=f"port {port}: .*one that is free"):
            roll_call(f"localhost:{port}", 0, 2, 0.1)


def test_who_else_knocks_or_answers_does_not_count():
    port = free_port()
    where = f"localhost:{port}"
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(roll_call, where, 0, 2, 20.0)
        while True:
            try:
                silent = socket.create_connection(("localhost", port))
                break
            except OSError:
                continue
        with silent:
            pool.submit(roll_call, where, 1, 2, 20.0).result()
            first.result()
    with socket.create_server(("localhost", 0)) as server:
        where = f"localhost:{server.getsockname()[1]}"
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(roll_call, where, 1, 2, 5.0)
            with server.accept()[0] as other:
                other.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            with pytest.raises(ConfigError, match=r"what answers at .* is no codax"):
                told.result()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"coordinator": "localhost:99999", "rank": 0, "ranks": 2}, "port of 1 to 655"),
        ({"coordinator": "localhost:17999", "rank": 0, "ranks": 0}, "ranks: got 0"),
        ({"coordinator": "localhost:17999", "rank": 2, "ranks": 2}, "rank: got 2 of 2"),
        ({"coordinator": "localhost:17999", "rank": 0}, "ranks is missing"),
    ],
)
def test_numbers_that_cannot_be(given, said):
    with pytest.raises(ConfigError, match=said):
        join(**given)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    given = {"steps": 3, "say": str}
    with alone_in(tmp_path), pytest.raises(ConfigError, match="another process trains"):
        train(config(), tmp_path, pictures(), **given)
    assert not list(tmp_path.iterdir())
    with alone_in(tmp_path / "a" / "b"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_dead_process_holds_no_folder(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from codax.train.folder import *\n"
        "with alone_in(Path(sys.argv[1])): os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
    assert (tmp_path / "lock").exists()
    with alone_in(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
