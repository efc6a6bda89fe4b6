"""The training program, top to bottom: read it, copy it, change it.

A run has two phases. The *trunk* keeps a constant learning rate; its state is saved
and is what later hours continue. The *branch* is the last share of a time box: from the
trunk's weights the rate falls to zero on larger crops, and its averaged weights are
what ships. Re-warming an annealed run would lose what annealing won.

    run/config.json   the configuration
    run/before.json   hours and chain of the weights it began with
    run/environments.json  code and packages of its sessions
    run/log.jsonl     a line for each report
    run/trunk.npz     the trunk's full state (weights, average, optimiser, step)
    run/branch.npz    the branch's full state while it runs
    run/weights.npz   averaged weights of the newest finished branch

The compiled step itself is in `codax.train.trainer`, what time means for the learning
rate in `codax.train.schedule`, how a phase runs in `codax.train.runner`, and how
several hosts run it in `codax.train.hosts`.
"""

from __future__ import annotations

import hashlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optax

from codax.coding.forks import check_fork
from codax.coding.trees import flatten, unflatten_like
from codax.errors import ConfigError
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.train.feed import Crops, Feed
from codax.train.folder import alone_in, clear, newest_state
from codax.train.hosts import Hosts, check_alone, code_hash
from codax.train.initial import join_initial
from codax.train.loss import Distortion
from codax.train.optimizer import updates_counted
from codax.train.pictures import Picture
from codax.train.record import write_before, write_environment
from codax.train.runner import Runner, Watch
from codax.train.schedule import Box
from codax.train.soap import one_by_one
from codax.train.start import adapting_crops, start_networks
from codax.train.state import load_state, save_state
from codax.train.trainer import State, Trainer
from codax.zoo.weights import digest

__all__ = ["Stopped", "say_to_stderr", "train"]


class Stopped(KeyboardInterrupt):
    """A run that was asked to stop, and has saved its state.

    Attributes:
        signal: the number of the signal, 2 for Ctrl-C.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.signal = number


def train(
    config: TrainConfig,
    run: Path,
    resident: ResidentSet,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    replace: bool = False,
    begin: Callable[[], None] | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    stream: Sequence[Picture] = (),
    watch: Watch | Sequence[Watch] | None = None,
    say: Callable[[str], None] | None = None,
    distortion: Distortion | None = None,
    optimizer: optax.GradientTransformation | None = None,
    crops: Crops | None = None,
    begun: float | None = None,
    hosts: Hosts | None = None,
) -> Path:
    """Trains within a time box or for a number of steps; trunk, then branch.

    Loss, optimiser, data and evaluators may be one's own; without them the
    configuration names them. A run that is resumed is given the same ones again.

    Args:
        config: the run.
        run: its folder; made when missing.
        resident: training pictures; with `config.stream` those that the transform coder
            of the start is fitted to.
        minutes: time box, compilation included; or
        steps: number of steps in all, branch included.
        resume: go on from the run's unfinished branch, else from its trunk.
        replace: begin anew where there is a run, which is gone when this one begins.
        begin: called when nothing can be refused any more, before the first step: what
            it writes beside the run is written of runs only that begin.
        initial: arrays to start from instead of a transform coder, see
            `codax.train.initial.load_initial`.
        stream: pictures of the streaming set, when `config.stream`.
        watch: called every `config.watch` minutes and at the end with the trainer, the
            state and the phase; one or several. Never where `config.watch` is 0.
        say: takes progress lines; the default writes to stderr.
        distortion: a differentiable function in place of `config.distortion`, see
            `codax.train.loss.Distortion`.
        optimizer: in place of `config.optimizer`, see `make_optimizer`.
        crops: gives the crops of each step in place of the pictures; `resident` is then
            only what the start is fitted to.
        begun: moment of `time.monotonic` from which the time box counts; None for that
            of the first step.
        hosts: that train together, see `codax.train.hosts.join`; each is given the
            same, and the first one writes. This process alone if None.

    Returns:
        The path of the averaged weights.

    Raises:
        ConfigError: neither or both of minutes and steps; nothing to resume, a folder
            that holds a run already or is in use, hosts that differ, or a time box that
            ended before a phase's first step. Then there are no weights; the run can be
            resumed.
        CodaxError: too many steps in a row were not finite; another host refused, or
            was lost. Then the state is that of the last minute.
        UnsupportedError: the process was forked after JAX was used.
        Stopped: SIGTERM or Ctrl-C came; the state is saved.
    """
    check_fork()
    hosts, own_say = hosts or Hosts(), say or say_to_stderr
    check_alone(hosts)
    say = own_say if hosts.writes else _say_nothing
    if (minutes is None) == (steps is None):
        raise ConfigError("train: give either minutes or steps")
    length = f"{minutes} {steps} {resume}"
    _check_hosts(hosts, config, length, resident, initial or {})
    with ExitStack() as stack:
        stop = stack.enter_context(_signals())
        newest = None
        with hosts.together():
            if hosts.writes:
                stack.enter_context(alone_in(run))
                newest = _go_on_from(run, resume, replace)
            trainer = Trainer(
                config,
                start_networks(config, resident),
                hosts=hosts,
                distortion=distortion,
                optimizer=optimizer,
            )
            state, place = trainer.initial_state(), (0.0, 0.0, 0.0)
            if newest:
                state, place = _saved_state(state, newest)
            elif not resume:
                state = _first_state(trainer, state, resident, initial, say)
        # Only the first host needs to see what was saved.
        in_branch, start, share = map(float, hosts.equal(np.array(place, float)))
        going = {"branch_start": np.int64(start), "branch_share": np.float64(share)}
        state = trainer.place_state(state)
        first = _first_step(state) if resume else int(state["step"])
        box = Box(config, minutes, steps, first, going if in_branch else {})
        if begun is not None:
            late = np.array(time.monotonic() - begun)
            box.clock.add_whole(float(hosts.equal(late)))
        watches = (watch,) if callable(watch) else tuple(watch or ())
        with hosts.together():
            feed = Feed(trainer, resident, stream, crops, own_say)
            if hosts.writes:
                if replace:
                    clear(run)
                (run / "config.json").write_text(config.to_json())
                if not resume:
                    write_before(run, initial or {})
                write_environment(run)
                if begin:
                    begin()
        runner = Runner(trainer, run, box, feed, resident, say, watches, stop)
        phases = ["trunk", "branch"] if config.branch > 0 else ["trunk"]
        with hosts.watched():
            for phase in ["branch"] if in_branch else phases:
                state = runner.phase(state, phase)
                if runner.ended:
                    raise Stopped(runner.ended)
        if hosts.writes:
            counters = {k: state[k] for k in ("step", "seconds", "pixels", "skipped")}
            average = {"ema": state["ema"], "fixed": state["fixed"]}
            save_state(run / "weights.npz", average | counters)
            (run / "branch.npz").unlink(missing_ok=True)
    return run / "weights.npz"


def _check_hosts(
    hosts: Hosts,
    config: TrainConfig,
    length: str,
    resident: ResidentSet,
    initial: Mapping[str, np.ndarray],
) -> None:
    """Refuses hosts that would compute something else than the first."""
    if hosts.count == 1:
        return
    said = (config.to_json() + length).encode()
    pictures = {str(i): part for i, part in enumerate(resident.arrays())}
    hosts.check_equal(
        {
            "code": code_hash(),
            "configuration or length": hashlib.sha256(said).hexdigest(),
            "pictures": digest(pictures).hex(),
            "weights to start from": digest(dict(initial)).hex(),
        }
    )


def _go_on_from(run: Path, resume: bool, replace: bool) -> Path | None:
    """The state to resume, or None for a run that begins.

    Raises:
        ConfigError: there is none, or one that is not to be replaced.
    """
    newest = newest_state(run)
    if resume and not newest:
        raise ConfigError(f"{run}: no state to resume; start without `resume=True`")
    if newest and not resume and not replace:
        raise ConfigError(f"{run}: holds a run already; resume it or name another")
    return newest if resume else None


def _saved_state(state: State, path: Path) -> tuple[State, tuple[float, float, float]]:
    """What a run goes on from.

    Args:
        state: one like it.
        path: of `save_state`.

    Returns:
        The state; and whether it is of a branch, where that began, and its share.
    """
    stored = load_state(path)
    state = unflatten_like(state, one_by_one(stored, flatten(state)))
    start, share = (float(stored.get(f"branch_{n}", 0)) for n in ("start", "share"))
    return state, (float(path.stem == "branch"), start, share)


def _first_state(
    trainer: Trainer,
    state: State,
    resident: ResidentSet,
    initial: Mapping[str, np.ndarray] | None,
    say: Callable[[str], None],
) -> State:
    """What a run begins with."""
    if initial is not None:
        state = join_initial(state, initial, say)
    if trainer.adapts:
        # Weights to start from that have everything are not started anew.
        whole = flatten({"ema": state["ema"]}).keys() <= set(initial or ())
        say("codes, contexts and tables are fitted to the pictures")
        stage = "run" if whole else "start"
        seed = trainer.config.seed
        crops = adapting_crops(resident, stage, seed, trainer.span)
        state, _ = trainer.adapt(state, crops, stage)
    return state


def say_to_stderr(line: str) -> None:
    """Takes a progress line where nothing else does."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _say_nothing(line: str) -> None:
    """Takes the lines of hosts for which another one speaks."""


def _first_step(state: State) -> int:
    """The step at which this optimiser began, 0 unless the weights were older."""
    updates = updates_counted(state)
    if updates is None:
        return 0
    return int(state["step"]) - int(updates) - int(state["skipped"])


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them; a second one kills."""
    stop: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Only the main thread may set handlers.
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: Any) -> None:
        stop.append(number)
        restore()

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()
