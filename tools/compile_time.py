"""Measures what is compiled before work begins, and prints a Markdown table.

    python tools/compile_time.py train [--config NAME|PATH] [--steps N]
    python tools/compile_time.py files [--model NAME|PATH] [--side PIXELS]

`train` makes a run's networks and state and compiles the step of its trunk; then it
takes some steps. `files` encodes and decodes a picture that fits one bucket, twice.

Nothing comes from a cache. All on one core, in seconds of the processor, which other
work on the machine disturbs less than a clock's.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.face.loading import load
from codax.train.config import find_config, load_config
from codax.train.data import ResidentSet
from codax.train.start import start_networks
from codax.train.trainer import Trainer
from codax.zoo.cards import default_card

COMPILED = "/jax/core/compile/backend_compile_duration"
HEIGHT, WIDTH, PICTURES = 512, 768, 4


class Table:
    """Rows of what was done, how many programs it compiled, and its seconds."""

    def __init__(self) -> None:
        """Begins to count programs."""
        self.rows: list[tuple[str, int, float]] = []
        self.programs = 0
        jax.monitoring.register_event_duration_secs_listener(self._count)

    def _count(self, event: str, seconds: float, **more: Any) -> None:
        self.programs += event == COMPILED

    def row(self, what: str, function: Callable[[], Any]) -> Any:
        """Does it, and adds a row."""
        programs, begin = self.programs, time.process_time()
        result = function()
        if not isinstance(result, (jax.stages.Traced, jax.stages.Lowered)):
            jax.block_until_ready(jax.tree.leaves(result))
        spent = time.process_time() - begin
        self.rows.append((what, self.programs - programs, spent))
        return result

    def show(self) -> None:
        """Prints the table."""
        print("| what | programs compiled | processor seconds |\n|---|---|---|")
        for what, programs, seconds in self.rows:
            print(f"| {what} | {programs or ''} | {seconds:.2f} |")
        total = sum(seconds for _, _, seconds in self.rows)
        print(f"| together | {self.programs} | {total:.1f} |")


def noise(count: int) -> ResidentSet:
    """Pictures of noise."""
    shape = (count * HEIGHT * WIDTH, 3)
    return ResidentSet(
        flat=np.random.default_rng(0).integers(0, 256, shape, np.uint8),
        offsets=np.arange(count, dtype=np.int32) * HEIGHT * WIDTH,
        heights=np.full(count, HEIGHT, np.int32),
        widths=np.full(count, WIDTH, np.int32),
    )


def train(table: Table, name: str, steps: int) -> None:
    """What stands before the first steps of a run."""
    config = load_config(find_config(name))
    pictures = noise(PICTURES)
    model = table.row(
        "networks and their start", lambda: start_networks(config, pictures)
    )
    trainer = Trainer(config, model)
    state = table.row(
        "state of the optimiser", lambda: trainer.place_state(trainer.initial_state())
    )
    data = trainer.place(pictures.arrays())
    rates = jnp.full(1, 1e-3)
    sizes = (config.batch, config.crop, False)
    traced = table.row(
        "step, tracing",
        lambda: Trainer.steps.trace(trainer, state, data, rates, *sizes),
    )
    lowered = table.row("step, lowering", traced.lower)
    step = table.row("step, compiling", lowered.compile)
    state, _ = step(state, data, rates)
    state = table.row("first bases", lambda: trainer.refreshed(state))
    table.show()
    seconds = []
    for _ in range(steps):
        begin = time.process_time()
        state, report = step(state, data, rates)
        jax.block_until_ready(report)
        seconds.append(time.process_time() - begin)
    begin = time.process_time()
    trainer.refreshed(state)
    spent = time.process_time() - begin
    memory = step.memory_analysis().temp_size_in_bytes / 2**20
    print(
        f"\na step: {statistics.median(seconds):.3f} s, the median of {steps}; "
        f"new bases: {spent:.2f} s; memory of a step beside its state: {memory:.0f} MiB"
    )


def files(table: Table, model: str, side: int) -> None:
    """What stands before the first file."""
    rgb = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    codec = table.row("loading", lambda: load(model, runtime="jax"))
    for turn in ("first", "second"):
        data = table.row(f"{turn} encode", partial(codec.encode, rgb))
        table.row(f"{turn} decode", partial(codec.decode, data))
    table.show()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "files"))
    parser.add_argument("--config", default="quadtree-tiny")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", help="codec by name or path; else the default")
    parser.add_argument("--side", type=int, default=256)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if given.what == "train":
        train(Table(), given.config, given.steps)
    else:
        files(Table(), given.model or default_card().name, given.side)


if __name__ == "__main__":
    main()
