"""A session of training: from folders of pictures to weights, recorded beside the run.

Both commands and Python come through here: `codax train`, with `--finetune` or without,
and `codax.train.finetune.finetune`. What is refused leaves an older run as it was and
writes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optax

from codax.train import loop
from codax.train.comparing import Outcome, keep_the_better, tiles_of, write_start
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.train.folders import run_pictures
from codax.train.hosts import Hosts
from codax.train.initial import Arrays
from codax.train.loss import Distortion
from codax.train.pictures import Picture
from codax.train.record import (
    START,
    check_data,
    data_of,
    read_data,
    write_command,
    write_data,
)
from codax.train.watch import Watcher

__all__ = ["Result", "train_folders"]

_FITTED_TO = 64  # pictures that the start of a streaming run is fitted to

Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """What a session leaves.

    Attributes:
        weights: the file of them.
        outcome: of fine-tuning, what was kept.
    """

    weights: Path
    outcome: Outcome | None = None


def train_folders(
    config: TrainConfig,
    run: Path,
    folders: Sequence[str] = (),
    *,
    minutes: float | None = None,
    steps: int | None = None,
    initial: Arrays | None = None,
    tunes: bool = False,
    resume: bool = False,
    replace: bool = False,
    new_data: bool = False,
    cache: Path | None = None,
    command: str = "",
    say: Say | None = None,
    note: Say | None = None,
    waiting: Callable[[str], AbstractContextManager] = lambda text: nullcontext(),
    distortion: Distortion | None = None,
    optimizer: optax.GradientTransformation | None = None,
    hosts: Hosts | None = None,
) -> Result:
    """Trains on folders of pictures.

    Args:
        config: the run.
        run: its folder.
        folders: of pictures, in place of the configuration's; a run that is resumed
            remembers its own.
        minutes: see `codax.train.loop.train`, as are `steps`, `initial`, `distortion`
            and `optimizer`.
        steps: number of steps in all.
        initial: arrays to start from.
        tunes: whether the weights are compared with those that the run begins with, and
            the better are kept; a run that is resumed remembers it.
        resume: go on with the run.
        replace: begin anew where there is a run.
        new_data: resume with other pictures than before.
        cache: folder for decoded pictures and for lists of tars.
        command: that asks for this, for the card.
        say: takes progress lines; the default writes to stderr.
        note: takes a line for each thing that is passed over; as `say` if None.
        waiting: announces work that takes a while.
        distortion: in place of the configuration's.
        optimizer: likewise.
        hosts: that train together, see `codax.train.loop.train`.

    Returns:
        The averaged weights, and of fine-tuning what was kept, which the first host
        knows.

    Raises:
        CodaxError: as of `run_pictures`, `check_data` and `train`.
        Stopped: SIGTERM or Ctrl-C came; the state is saved.
    """
    hosts = hosts or Hosts()
    note = note or say or loop.say_to_stderr
    say = say or loop.say_to_stderr
    # Only the first host needs to see the run's folder.
    tunes = tunes or (resume and (run / START).is_file())
    tunes = bool(hosts.equal(np.array(int(tunes))))
    with hosts.together():
        if resume and not folders:
            folders = read_data(run).get("folders", ())
        training, held_out = run_pictures(config, folders, note, cache)
        tiles = tiles_of(held_out, note) if tunes else None
        data = data_of(folders, training, held_out)
        if resume and not new_data:
            check_data(run, data)
    hosts.check_equal({"pictures": data["training"]["sha256"]})
    with hosts.together(), waiting(f"reading {len(training)} pictures"):
        resident = _resident(config, training, cache)
    for message in resident.skipped:
        note(f"skipped: {message}")
    watches = hosts.writes and tiles is None and held_out and config.watch
    watcher = Watcher(run, config, held_out, say) if watches else None

    def begin() -> None:
        write_data(run, data)
        if initial is not None and tunes and not resume:
            write_start(run, config, initial)
        write_command(run, command, first=not resume)

    weights = loop.train(
        config,
        run,
        resident,
        minutes=minutes,
        steps=steps,
        resume=resume,
        replace=replace,
        begin=begin,
        initial=initial or None,
        stream=training if config.stream else (),
        watch=watcher,
        say=say,
        distortion=distortion,
        optimizer=optimizer,
        hosts=hosts,
    )
    if tiles is None:
        return Result(weights)
    outcome = None
    with hosts.together(), waiting("comparing with the start"):
        if hosts.writes:
            outcome = keep_the_better(run, config, tiles, distortion)
    return Result(weights, outcome)


def _resident(
    config: TrainConfig, training: Sequence[Picture], cache: Path | None
) -> ResidentSet:
    """Decodes the pictures, or takes them from the user's cache."""
    if config.stream:
        stride = max(1, len(training) // _FITTED_TO)
        return ResidentSet.load(training[::stride][:_FITTED_TO])
    names = b"\n".join(os.fsencode(Path(str(path)).resolve()) for path in training)
    key = hashlib.sha256(names).hexdigest()[:16]
    return ResidentSet.load(training, cache=cache / f"{key}.npz" if cache else None)
