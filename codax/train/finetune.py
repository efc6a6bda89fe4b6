"""Fine-tuning: trained weights, a dozen pictures of a kind, a few minutes.

A run like any other (`codax.train.loop`), with a recipe of its own: it begins with the
weights as they are, its rate is small and falls from the first step, and one picture in
five is set aside. What it leaves in `weights.npz` is the middle between its weights and
the start, which keeps most of what both know; or the start, if the middle is no better
on what was set aside.

    run/start.npz     the weights that it began with

Source: Wortsman et al. 2022 (WiSE-FT) for the middle.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from codax.codecs.families import family
from codax.coding.trees import abstract_model, fill_model
from codax.errors import ConfigError, ModelError
from codax.train.config import TrainConfig, read_run
from codax.train.data import ResidentSet, find_pictures
from codax.train.folders import centre_crops, run_pictures
from codax.train.initial import Arrays, load_initial
from codax.train.loop import train
from codax.train.loss import Distortion, distortion_of
from codax.train.record import CHAIN, HOURS, START, chain_of, write_data
from codax.train.shipping import run_facts
from codax.train.state import averaged, load_state, save_state
from codax.zoo.cards import find_card

__all__ = [
    "MINUTES",
    "Outcome",
    "finetune",
    "keep_the_better",
    "read_start",
    "recipe",
    "tiles_of",
    "write_start",
]

MINUTES = 10.0
"""A run's length, if nothing else is said."""
ASIDE = 5
"""One picture in so many is set aside."""
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Where, on the way from the lowest quality to the highest, weights are compared."""
SIDE = 256
"""Side of the tiles that weights are compared on; four of them of a picture at most."""
MIDDLE = 0.5
"""Share of the run's weights in what is kept, the rest is the start."""


@dataclass(frozen=True)
class Outcome:
    """What a run of fine-tuning leaves.

    Attributes:
        weights: the file of them.
        saved: share of the start's bits, at equal quality on the pictures set aside; 0
            if the weights are the start.
    """

    weights: Path
    saved: float

    def __str__(self) -> str:
        """A line for people."""
        if not self.saved:
            return (
                "nothing was gained on the pictures set aside: the start is kept; give "
                "more minutes or more pictures of the kind"
            )
        return f"{100 * self.saved:.1f} % of bits saved on the pictures set aside"


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
    training, held_out = run_pictures(config, folders)
    if minutes is None and steps is None:
        minutes = MINUTES
    tiles = tiles_of(held_out)
    write_start(run, config, initial)
    write_data(run, training, held_out)
    train(
        config,
        run,
        ResidentSet.load(training),
        minutes=minutes,
        steps=steps,
        initial=initial,
        say=say,
        distortion=distortion,
        optimizer=optimizer,
    )
    return keep_the_better(run, config, tiles, distortion)


def write_start(run: Path, config: TrainConfig, initial: Arrays) -> None:
    """Writes what a run begins with, to compare with and to go back to.

    Raises:
        ModelError: `initial` lacks an array.
    """
    graph, shapes = abstract_model(family(config.codec).networks, config.model)
    trained = nnx.state(nnx.merge(graph, shapes), nnx.Param)
    kinds = {"/".join(map(str, path)): "ema" for path, _ in nnx.to_flat_state(trained)}
    names = {"/".join(map(str, path)) for path, _ in nnx.to_flat_state(shapes)}
    arrays = {f"{kinds.get(name, 'fixed')}/{name}" for name in names}
    lost = sorted(arrays - initial.keys())
    if lost:
        raise ModelError(f"{lost[0]} is not in the weights to fine-tune")
    save_state(run / START, {name: initial[name] for name in arrays})


def keep_the_better(
    run: Path,
    config: TrainConfig,
    tiles: np.ndarray,
    distortion: Distortion | None = None,
) -> Outcome:
    """Leaves the middle in `weights.npz`, or the start if that is no worse.

    Args:
        run: its folder, with `start.npz` and `weights.npz`.
        config: its configuration.
        tiles: parts of the pictures that it set aside, see `tiles_of`.
        distortion: one's own, if the run had it.
    """
    weights = run / "weights.npz"
    start, tuned = load_state(run / START), load_state(weights)
    compare = _Comparison(config, distortion)
    # Between codes and tables that were counted for others there is no middle.
    share = 1.0 if compare.model.counts else MIDDLE
    kept = _blend(start, tuned, share)
    saved = compare.saved(compare.measure(start, tiles), compare.measure(kept, tiles))
    if not saved > 0:
        saved, kept = 0.0, tuned | start
    save_state(weights, kept)
    return Outcome(weights, saved)


def _blend(start: Arrays, tuned: Arrays, share: float) -> Arrays:
    """Weights between two; counters and constants stay those of the run."""
    mixed = {
        name: value + share * (tuned[name] - value)
        for name, value in start.items()
        if name.startswith("ema/")
    }
    return tuned | mixed


def tiles_of(paths: Sequence[Path]) -> np.ndarray:
    """Parts of pictures to compare weights on, all of one size: uint8[n S S 3].

    Raises:
        ConfigError: no picture is as large as 64x64.
    """
    crops = centre_crops(paths, len(paths), 2 * SIDE)
    if not crops:
        raise ConfigError(
            "0 pictures of at least 64x64 were set aside to compare weights on; give "
            "more pictures"
        )
    side = min(SIDE, *(min(crop.shape[:2]) for crop in crops))
    return np.stack(
        [
            crop[top : top + side, left : left + side]
            for crop in crops
            for top in range(0, crop.shape[0] - side + 1, side)
            for left in range(0, crop.shape[1] - side + 1, side)
        ]
    )


class _Comparison:
    """Bits and distortion of weights, as files have them: rounded hard, of 8 bits."""

    def __init__(self, config: TrainConfig, distortion: Distortion | None):
        """Makes the program; it is compiled once for all weights."""
        kind = family(config.codec)
        self.graph, self.shapes = abstract_model(kind.networks, config.model)
        self.model = nnx.merge(self.graph, self.shapes)
        low, high = (2 * end for end in kind.qualities)
        places = {round(low + share * (high - low)) for share in SHARES}
        if config.quality >= 0:
            places = {config.quality}
        self.qualities = np.array(sorted(places), np.int32)
        far = distortion_of(distortion or config.distortion)

        @jax.jit
        def measure(state: Any, tile: jax.Array) -> tuple[jax.Array, jax.Array]:
            model = nnx.merge(self.graph, state)
            x = jnp.repeat(tile[None], len(self.qualities), 0).astype(jnp.float32)
            bits, out, _ = model.forward(x, self.qualities, None, exact=config.exact)
            seen = jnp.clip(jnp.round(out), 0.0, 255.0)
            lmbda = model.rates.lmbda(self.qualities.astype(jnp.float32))
            bpp = jnp.stack(list(bits.values())).sum(0) / tile[..., 0].size
            return bpp, bpp + lmbda * far(x, seen)

        self._measure = measure

    def measure(self, arrays: Arrays, tiles: np.ndarray) -> np.ndarray:
        """Means of bits a pixel and of the loss by quality, float64[2 Q]."""
        state = fill_model(self.shapes, averaged(arrays))
        found = np.array([self._measure(state, tile) for tile in tiles], np.float64)
        return found.mean(0)

    def saved(self, before: np.ndarray, after: np.ndarray) -> float:
        """The share of bits that is saved at equal distortion, to the first order.

        Near its best a codec trades a unit of distortion for lambda bits: so that is
        what the difference of the losses is worth.
        """
        return float(np.mean((before[1] - after[1]) / before[0]))
