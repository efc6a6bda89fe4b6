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
rate in `codax.train.schedule`.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from codax.coding.forks import check_fork
from codax.coding.trees import flatten, unflatten_like
from codax.errors import CodaxError, ConfigError
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet, StreamingSet
from codax.train.drawn import drawn_set
from codax.train.initial import join_initial
from codax.train.loss import Distortion
from codax.train.record import machine_name, write_before, write_environment
from codax.train.schedule import Box
from codax.train.soap import one_by_one
from codax.train.start import sample_crops, start_networks
from codax.train.state import load_state, save_state
from codax.train.trainer import State, Trainer, updates_counted

__all__ = ["Crops", "Stopped", "Watch", "say_to_stderr", "train"]

SAVE_SECONDS = 50.0
"""Between two saves, so that with the step in progress at most a minute is lost."""
REPORT_SECONDS = 15.0
ADAPT_CROPS, ADAPT_SIDE, END_CROPS = 128, 256, 512
"""Crops that networks adapt to in a run, their side, and at the end of a phase."""
MOST_BAD_STEPS = 20

Watch = Callable[[Trainer, State, str], None]
Crops = Callable[[int, int, int], Iterator[np.ndarray]]
"""(count, side, step): crops uint8[count side side 3] of that step, then of each that
follows. The same for the same step, so that a run resumes exactly."""


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
    begin: Callable[[], None] | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    stream: Sequence[Path] = (),
    watch: Watch | Sequence[Watch] | None = None,
    say: Callable[[str], None] | None = None,
    distortion: Distortion | None = None,
    optimizer: optax.GradientTransformation | None = None,
    crops: Crops | None = None,
    begun: float | None = None,
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

    Returns:
        The path of the averaged weights.

    Raises:
        ConfigError: neither or both of minutes and steps; nothing to resume, a folder
            that holds a run already, or a time box that ended before a phase's first
            step. Then there are no weights; the run can be resumed.
        CodaxError: too many steps in a row were not finite.
        UnsupportedError: the process was forked after JAX was used.
        Stopped: SIGTERM or Ctrl-C came; the state is saved.
    """
    check_fork()
    say = say or say_to_stderr
    if (minutes is None) == (steps is None):
        raise ConfigError("train: give either minutes or steps")
    newest = run / "branch.npz" if (run / "branch.npz").is_file() else run / "trunk.npz"
    if resume and not newest.is_file():
        raise ConfigError(f"{run}: no state to resume; start without `resume=True`")
    if newest.is_file() and not resume:
        raise ConfigError(f"{run}: holds a run already; resume it or name another")
    with _signals() as stop:
        trainer = Trainer(
            config,
            start_networks(config, resident),
            distortion=distortion,
            optimizer=optimizer,
        )
        state = trainer.initial_state()
        branch = {}
        phases = ["trunk", "branch"] if config.branch > 0 else ["trunk"]
        if resume:
            stored = load_state(newest)
            state = unflatten_like(state, one_by_one(stored, flatten(state)))
            if newest.stem == "branch":
                phases = ["branch"]
                branch = {k: stored[k] for k in stored if k.startswith("branch_")}
        elif initial is not None:
            state = join_initial(state, initial, say)
        if trainer.adapts and not resume:
            # Weights to start from that have everything are not started anew.
            whole = flatten({"ema": state["ema"]}).keys() <= set(initial or ())
            say("codes, contexts and tables are fitted to the pictures")
            sampled = sample_crops(resident, ADAPT_CROPS, ADAPT_SIDE, config.seed)
            state, _ = trainer.adapt(state, sampled, "run" if whole else "start")
        state = trainer.place_state(state)
        first = _first_step(state) if resume else int(state["step"])
        box = Box(config, minutes, steps, first, branch)
        if begun is not None:
            box.clock.add_whole(time.monotonic() - begun)
        watches = (watch,) if callable(watch) else tuple(watch or ())
        runner = _Runner(trainer, run, box, say, watches, stop)
        runner.use(resident, stream, crops)
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.json").write_text(config.to_json())
        if not resume:
            write_before(run, initial or {})
        write_environment(run)
        if begin:
            begin()
        for phase in phases:
            state = runner.phase(state, phase)
            if stop:
                raise Stopped(stop[0])
        counters = {k: state[k] for k in ("step", "seconds", "pixels", "skipped")}
        average = {"ema": state["ema"], "fixed": state["fixed"]}
        save_state(run / "weights.npz", average | counters)
        (run / "branch.npz").unlink(missing_ok=True)
    return run / "weights.npz"


def say_to_stderr(line: str) -> None:
    """Takes a progress line where nothing else does."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


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


def _checked(crops: np.ndarray, count: int, side: int) -> np.ndarray:
    """Crops of one's own, if they are what a step takes."""
    if crops.shape != (count, side, side, 3) or crops.dtype != np.uint8:
        raise ConfigError(
            f"crops: got {crops.dtype}{list(crops.shape)}, expected "
            f"uint8[{count} {side} {side} 3]"
        )
    return crops


class _Runner:
    """Runs a phase: steps, saves, reports, and stops in good order."""

    def __init__(self, trainer, run, box, say, watches, stop):
        self.trainer, self.run, self.box = trainer, run, box
        self.say, self.watches, self.stop = say, watches, stop
        self.compiled: set[tuple] = set()
        self.facts: dict[str, float] = {}
        self.reported = 0
        self.machine = machine_name()
        self.last_save = self.last_report = self.last_watch = time.monotonic()

    def use(
        self, resident: ResidentSet, stream: Sequence[Path], crops: Crops | None
    ) -> None:
        """Puts the resident set on the device, or prepares to stream."""
        self.resident, self.lock = resident, threading.Lock()
        self.skipped = set(resident.skipped)
        self.paths, self.own_crops = list(stream), crops
        streaming = self.trainer.config.stream or crops is not None
        if streaming and crops is None and not self.paths:
            raise ConfigError("stream: 0 pictures to stream; name a folder")
        self.data = () if streaming else self.trainer.place(resident.arrays())
        self.drawn: tuple = ()
        if self.trainer.config.drawn:
            self.say("letters, shapes and screens are drawn from the seed")
            drawn = drawn_set(self.trainer.config.seed)
            self.drawn = self.trainer.place(drawn.arrays())

    def phase(self, state: State, phase: str) -> State:
        """Steps until the phase ends or a signal came; saves the state."""
        config, box = self.trainer.config, self.box
        branch = phase == "branch"
        batch = config.branch_batch if branch else config.batch
        size = config.branch_crop if branch else config.crop
        first = step = self.reported = int(state["step"])
        if branch and box.steps is None:
            state = self._compile_branch(state, batch, size)
        if branch:
            box.begin_branch(step)
        crops = self._crops(batch, size, step)
        while not box.ended(phase, step) and not self.stop:
            k = config.steps_per_call
            if box.steps is not None:
                k = min(k, box.left_steps(phase, step))
            begin = time.monotonic()
            rates = jnp.asarray([box.rate(phase, step + i) for i in range(k)])
            hard = box.hard(phase, step)
            data = self.data or (np.stack([next(crops) for _ in range(k)]),)
            state, report = self.trainer.steps(
                state, data, rates, batch, size, hard, self.drawn
            )
            report = {name: float(value) for name, value in report.items()}
            if config.optimizer == "soap" and (
                step == box.first
                or (step + k) // config.refresh > step // config.refresh
            ):
                state = self.trainer.refreshed(state)
            if (step + k) // config.adapt > step // config.adapt:
                state = self._adapt(state, "run")
            step += k
            spent = time.monotonic() - begin
            fresh = (k, batch, size, hard) not in self.compiled
            self.compiled.add((k, batch, size, hard))
            (box.clock.add_whole if fresh else box.clock.add)(spent)
            state["seconds"] = state["seconds"] + spent
            report |= {"pictures_per_second": batch * k / spent, "rate": rates[-1]}
            self._after(state, step, phase, report)
        crops.close()
        if step == first and not self.stop and box.too_short(phase):
            self._save(state, phase)
            raise ConfigError(
                f"{box.seconds / 60:g} minutes ended before the {phase}'s first step, "
                f"{box.clock.spent / 60:.1f} of them in compilation; go on with "
                "`resume=True` and more minutes"
            )
        state = self._adapt(state, "end")
        if step > self.reported:
            self._report(state, step, phase, report)
        self._save(state, phase)
        if branch and config.watch and not self.stop:
            self._watch(state, phase)
        return state

    def _skip(self, message: str) -> None:
        """Names a picture that cannot be read, once in a run."""
        with self.lock:
            known = message in self.skipped
            self.skipped.add(message)
        if not known:
            self.say(f"skipped: {message}")

    def _watch(self, state: State, phase: str) -> None:
        for watch in self.watches:
            watch(self.trainer, state, phase)

    def _compile_branch(self, state: State, batch: int, size: int) -> State:
        """Compiles both programs of a branch in time, before its rate begins to fall.

        Else the second would take its minute from the branch's last share, and the rate
        would not reach zero. Steps of a copy of the state do it.
        """
        begin = time.monotonic()
        config = self.trainer.config
        k = config.steps_per_call
        pictures = batch - self.trainer.drawn(batch)
        blank = (np.zeros((k, pictures, size, size, 3), np.uint8),)
        for hard in (False, True) if config.hard else (False,):
            copy = self.trainer.place_state(state)
            rates = jnp.zeros(k)
            data = self.data or blank
            self.trainer.steps(copy, data, rates, batch, size, hard, self.drawn)
            self.compiled.add((k, batch, size, hard))
        spent = time.monotonic() - begin
        self.box.clock.add_whole(spent)
        return state | {"seconds": state["seconds"] + spent}

    def _adapt(self, state: State, stage: str) -> State:
        """Lets the networks adapt to other crops each time, where they do."""
        if not self.trainer.adapts:
            return state
        count = END_CROPS if stage == "end" else ADAPT_CROPS
        seed = self.trainer.config.seed + 1 + int(state["step"])
        crops = sample_crops(self.resident, count, ADAPT_SIDE, seed)
        state, self.facts = self.trainer.adapt(state, crops, stage)
        return self.trainer.place_state(state)

    def _crops(
        self, batch: int, size: int, step: int
    ) -> Generator[np.ndarray, None, None]:
        """Batches of the streaming set; sample i of step s is number s * count + i.

        The count is that of crops which are not drawn.
        """
        if self.data:
            return
        config = self.trainer.config
        count = batch - self.trainer.drawn(batch)
        while not count:
            yield np.zeros((0, size, size, 3), np.uint8)
        if self.own_crops is not None:
            for own in self.own_crops(count, size, step):
                yield _checked(own, count, size)
            raise ConfigError("crops: they ended before the run did")
        crops = StreamingSet(
            self.paths, size, config.seed, config.rescale, skip=self._skip
        )
        yield from crops.batches(count, start=step * count)

    def _save(self, state: State, phase: str) -> None:
        extra = {}
        if phase == "branch":
            share = self.box.share(int(state["step"]))
            start = self.box.branch_start
            extra = {"branch_start": np.int64(start), "branch_share": np.float64(share)}
        save_state(self.run / f"{phase}.npz", state | extra)
        self.last_save = time.monotonic()

    def _after(self, state: State, step: int, phase: str, report: dict) -> None:
        """What happens between steps: checks, reports, saves, watching."""
        now = time.monotonic()
        config = self.trainer.config
        if int(state["run_of_bad"]) >= MOST_BAD_STEPS:
            raise CodaxError(
                f"{MOST_BAD_STEPS} steps in a row were not finite, the last {step}, "
                f"seed {config.seed}; lower the rate"
            )
        if now - self.last_report > REPORT_SECONDS:
            self._report(state, step, phase, report)
        if now - self.last_save > SAVE_SECONDS:
            self._save(state, phase)
        due = config.watch and now - self.last_watch > 60 * config.watch
        if self.watches and due:
            self._save(state, phase)  # Watching may take longer than a minute.
            self._watch(state, phase)
            self.last_watch = time.monotonic()
        self.box.clock.add_whole(time.monotonic() - now)

    def _report(self, state: State, step: int, phase: str, report: dict) -> None:
        self.last_report, self.reported = time.monotonic(), step
        line = {
            "step": step,
            "phase": phase,
            **{name: float(value) for name, value in report.items()},
            **self.facts,
            "skipped": int(state["skipped"]),
            "seconds": float(state["seconds"]),
            "megapixels": float(state["pixels"]),
            "done": self.box.done(step),
            "machine": self.machine,
        }
        with (self.run / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        left = self.box.seconds_left(step, self.trainer.config.steps_per_call)
        self.say(
            f"{phase} {step}  loss {line['loss']:.4f}  {line['bpp']:.3f} bpp  "
            f"{line['psnr']:.2f} dB  {line['pictures_per_second']:.1f} pictures/s  "
            f"{100 * line['done']:.1f} %  {left / 60:.1f} min left"
        )
