"""Fine-tuning: trained weights, a dozen pictures of a kind, a few minutes.

A run like any other (`codax.train.session`), with a recipe of its own: it begins with
the weights as they are, its rate is small and falls from the first step, and one
picture in five is set aside. What it leaves in `weights.npz` is the middle between its
weights and the start, which keeps most of what both know; or the start, if the middle
is no better on what was set aside (`codax.train.comparing`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import optax

from codax.errors import ConfigError
from codax.train.comparing import Outcome
from codax.train.config import TrainConfig, read_run
from codax.train.initial import Arrays, load_initial
from codax.train.loss import Distortion
from codax.train.pictures import find_pictures
from codax.train.record import CHAIN, HOURS, chain_of
from codax.train.session import train_folders
from codax.train.shipping import run_facts
from codax.zoo.cards import find_card

__all__ = ["MINUTES", "finetune", "read_start", "recipe"]

MINUTES = 10.0
"""A run's length, if nothing else is said."""
ASIDE = 5
"""One picture in so many is set aside."""


def read_start(name: str) -> tuple[TrainConfig, Arrays]:
    """Reads weights to fine-tune.

    Args:
        name: of weights that ship, a folder of exported ones, or of a run.

    Returns:
        The configuration that they were trained with, and the arrays to start from,
        see `codax.train.initial.load_initial`.

    Raises:
        ModelError: no such weights, or damaged ones.
        ConfigError: a run that has no weights yet.
    """
    run = Path(name)
    if not (run / "config.json").is_file():
        found = find_card(name)
        card = found.fields
        own = {"model": card["config"], **{k: card[k] for k in ("codec", "preset")}}
        config = TrainConfig.from_json(json.dumps(card.get("training", {}) | own))
        return config, load_initial(found.folder)
    config = read_run(run)
    weights = run / "weights.npz"
    if not weights.is_file():
        raise ConfigError(f"{run}: this run has no weights yet; let its branch end")
    facts = run_facts(run, config)
    own = {"name": str(run), "config": dataclasses.asdict(config.model)}
    before = {HOURS + machine: np.asarray(v) for machine, v in facts["hours"].items()}
    before[CHAIN] = np.asarray(json.dumps(chain_of(facts | own)))
    return config, load_initial(weights) | before


def recipe(config: TrainConfig, pictures: int) -> TrainConfig:
    """The configuration of fine-tuning.

    Args:
        config: that of the weights.
        pictures: how many there are.
    """
    return dataclasses.replace(
        config,
        data=(),
        held_out_of="",
        held_out=-(-pictures // ASIDE),
        rate=1.2e-4,
        warmup=5,
        branch=1.0,
        rescale=0.0,
        drawn=0.0,
        freeze=(),
        bfloat16=False,
        accumulate=8,
        branch_batch=8,
        branch_crop=256,
        watch=0.0,
        notes="",
    )


def finetune(
    name: str,
    folders: Sequence[str],
    run: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    say: Callable[[str], None] | None = None,
    distortion: Distortion | None = None,
    optimizer: optax.GradientTransformation | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Outcome:
    """Fine-tunes weights, as `codax train --finetune` does.

    Args:
        name: of the weights, see `read_start`.
        folders: of the pictures.
        run: the new run's folder.
        minutes: time box, ten unless `steps` are given.
        steps: number of steps instead.
        say: see `codax.train.loop.train`, as are loss and optimiser of one's own.
        distortion: in place of the one that the weights were trained for.
        optimizer: in place of the recipe's.
        fields: of `TrainConfig`, in place of the recipe's.

    Returns:
        What was kept; `codax export` takes the run.

    Raises:
        CodaxError: as of `read_start`, `run_pictures` and `train`.
    """
    config, initial = read_start(name)
    config = recipe(config, len(find_pictures(folders)))
    config = dataclasses.replace(config, **(fields or {}))
    if minutes is None and steps is None:
        minutes = MINUTES
    result = train_folders(
        config,
        run,
        folders,
        minutes=minutes,
        steps=steps,
        initial=initial,
        tunes=True,
        say=say,
        distortion=distortion,
        optimizer=optimizer,
    )
    return cast(Outcome, result.outcome)
