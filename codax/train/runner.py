"""Runs a phase of a run: steps, saves, reports, and stops in good order.

On several hosts each runs this; only the first writes, reports and watches. What is
decided follows from the first one's clock and from signals that came to any, so that
all do the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codax.errors import CodaxError, ConfigError
from codax.train.data import ResidentSet
from codax.train.feed import Feed
from codax.train.record import machine_name
from codax.train.schedule import Box
from codax.train.start import adapting_crops
from codax.train.state import save_state
from codax.train.trainer import State, Trainer

__all__ = ["Runner", "Watch"]

SAVE_SECONDS = 50.0
"""Between two saves, so that with the step in progress at most a minute is lost."""
REPORT_SECONDS = 15.0
MOST_BAD_STEPS = 20

Watch = Callable[[Trainer, State, str], None]


class Runner:
    """Runs a phase: steps, saves, reports, and stops in good order."""

    def __init__(
        self,
        trainer: Trainer,
        run: Path,
        box: Box,
        feed: Feed,
        resident: ResidentSet,
        say: Callable[[str], None],
        watches: Sequence[Watch],
        stop: Sequence[int],
    ):
        """Begins to count time.

        Args:
            trainer: makes the steps.
            run: the run's folder.
            box: how long the run is.
            feed: gives the steps their data.
            resident: pictures that networks adapt to.
            say: takes progress lines.
            watches: what evaluates the run now and then.
            stop: numbers of signals that this host was sent; may grow.
        """
        self.trainer, self.run, self.box, self.feed = trainer, run, box, feed
        self.resident, self.say, self.watches = resident, say, watches
        self.hosts, self._stop = trainer.hosts, stop
        self.ended = 0
        """Number of the signal that ends the run on all hosts, or 0."""
        self.compiled: set[tuple] = set()
        self.facts: dict[str, float] = {}
        self.reported = 0
        self.machine = machine_name(self.hosts.count)
        self.last_save = self.last_report = self.last_watch = self._now()

    def _now(self) -> float:
        """The clock of all hosts, in seconds; hears of signals that came to any."""
        now, signal = self.hosts.tick(self._stop[0] if self._stop else 0)
        self.ended = self.ended or signal
        return now

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
        crops = self.feed.crops(batch, size, step)
        begin = self._now()
        while not box.ended(phase, step) and not self.ended:
            k = config.steps_per_call
            if box.steps is not None:
                k = min(k, box.left_steps(phase, step))
            rates = np.array([box.rate(phase, step + i) for i in range(k)], np.float32)
            hard = box.hard(phase, step)
            data = self.feed.call(crops, k)
            state, report = self.trainer.steps(
                state, data, rates, batch, size, hard, self.feed.drawn
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
            now = self._now()
            spent = now - begin
            fresh = (k, batch, size, hard) not in self.compiled
            self.compiled.add((k, batch, size, hard))
            (box.clock.add_whole if fresh else box.clock.add)(spent)
            state["seconds"] = state["seconds"] + spent
            report |= {"pictures_per_second": batch * k / spent, "rate": rates[-1]}
            self._after(state, step, phase, report, now)
            begin = self._now()
            box.clock.add_whole(begin - now)
        crops.close()
        if step == first and not self.ended and box.too_short(phase):
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
        if branch and config.watch and not self.ended:
            self._watch(state, phase)
        return state

    def _watch(self, state: State, phase: str) -> None:
        for watch in self.watches if self.hosts.writes else ():
            watch(self.trainer, state, phase)

    def _compile_branch(self, state: State, batch: int, size: int) -> State:
        """Compiles both programs of a branch in time, before its rate begins to fall.

        Else the second would take its minute from the branch's last share, and the rate
        would not reach zero. Steps of a copy of the state do it.
        """
        begin = self._now()
        config = self.trainer.config
        k = config.steps_per_call
        for hard in (False, True) if config.hard else (False,):
            copy = self.trainer.place_state(state)
            rates = np.zeros(k, np.float32)
            data, drawn = self.feed.blank(batch, size, k), self.feed.drawn
            self.trainer.steps(copy, data, rates, batch, size, hard, drawn)
            self.compiled.add((k, batch, size, hard))
        spent = self._now() - begin
        self.box.clock.add_whole(spent)
        return state | {"seconds": state["seconds"] + spent}

    def _adapt(self, state: State, stage: str) -> State:
        """Lets the networks adapt to other crops each time, where they do."""
        if not self.trainer.adapts:
            return state
        seed = self.trainer.config.seed + 1 + int(state["step"])
        crops = adapting_crops(self.resident, stage, seed, self.trainer.span)
        local = self.trainer.local(state)
        state, self.facts = self.trainer.adapt(local, crops, stage)
        return self.trainer.place_state(state)

    def _save(self, state: State, phase: str) -> None:
        extra = {}
        if phase == "branch":
            share = self.box.share(int(state["step"]))
            start = self.box.branch_start
            extra = {"branch_start": np.int64(start), "branch_share": np.float64(share)}
        if self.hosts.writes:
            save_state(self.run / f"{phase}.npz", state | extra)
        self.last_save = self._now()

    def _after(
        self, state: State, step: int, phase: str, report: dict, now: float
    ) -> None:
        """What happens between steps: checks, reports, saves, watching."""
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
            self.last_watch = self._now()

    def _report(self, state: State, step: int, phase: str, report: dict) -> None:
        self.last_report, self.reported = self._now(), step
        line: dict[str, Any] = {
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
        if not self.hosts.writes:
            return
        with (self.run / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        left = self.box.seconds_left(step, self.trainer.config.steps_per_call)
        self.say(
            f"{phase} {step}  loss {line['loss']:.4f}  {line['bpp']:.3f} bpp  "
            f"{line['psnr']:.2f} dB  {line['pictures_per_second']:.1f} pictures/s  "
            f"{100 * line['done']:.1f} %  {left / 60:.1f} min left"
        )
