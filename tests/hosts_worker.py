"""One of two hosts that train a run: refused, stopped, resumed, and lost.

    python hosts_worker.py RANK PORT FOLDER

Prints what came of each part, a line each. `test_train_hosts.py` starts both.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import jax
import numpy as np
from test_train_loop import config_of, pictures, start_of

from codax.errors import CodaxError
from codax.train import hosts as hosts_module
from codax.train import loop, runner
from codax.train.hosts import HostLost
from codax.train.loop import Stopped, train

SIDE, BATCH, STOP, LOST = 64, 4, 12, 16


def config():
    return config_of(batch=BATCH, branch=0.0, seed=3, watch=1e-9)


def crops_until(end: int = 10**9, number: int = 0):
    """Noise of the step's number; a signal to this process when step `end` begins."""

    def crops(count, side, step):
        while True:
            if step == end:
                os.kill(os.getpid(), number)
            random = np.random.default_rng([9, step])
            yield random.integers(0, 256, (count, side, side, 3), np.uint8)
            step += 1

    return crops


def log_every_step():
    runner.REPORT_SECONDS = -1
    loop.start_networks = lambda config, resident: start_of(config.codec)


def say(part: str, what: object):
    sys.stdout.write(f"{part}: {what}\n")
    sys.stdout.flush()


def main():
    rank, port, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    jax.config.update("jax_disable_most_optimizations", True)
    log_every_step()
    hosts = hosts_module.join(f"localhost:{port}", rank, 2)
    say("hosts", f"{hosts.rank} of {hosts.count}, {len(hosts.devices())} devices")
    watched = []
    options = {
        "say": lambda line: None,
        "watch": lambda trainer, state, phase: watched.append(int(state["step"])),
        "hosts": hosts,
    }

    def attempt(part, given, run, **more):
        try:
            train(given, run, pictures(), **options | more)
        except Stopped as stopped:
            say(part, f"signal {stopped.signal} after {len(watched)} evaluations")
        except CodaxError as error:
            say(part, error)
            if isinstance(error, HostLost):
                os._exit(1)

    own = folder if rank == 0 else folder / "not-shared"
    other = dataclasses.replace(config(), seed=rank)
    attempt("configuration", other, own / "run", steps=2, crops=crops_until())
    weights = {"ema/x": np.full(2, rank)}
    attempt("weights", config(), own / "run", steps=2, initial=weights)
    attempt("alone", config(), own / "run", steps=2, hosts=None)
    if rank == 0:
        (own / "old").mkdir()
        np.savez(own / "old" / "trunk.npz", x=1)
    attempt("old", config(), own / "old", steps=2, crops=crops_until())
    for step, number, resume in ((STOP, signal.SIGTERM, False), (LOST, 9, True)):
        crops = crops_until(step, number) if rank else crops_until()
        attempt(
            f"{number}", config(), own / "run", steps=20, crops=crops, resume=resume
        )


if __name__ == "__main__":
    main()
