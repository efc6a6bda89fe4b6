"""What fine-tuning keeps: its start, or the middle between that and what it learned.

    run/start.npz     the weights that a run began with

Source: Wortsman et al. 2022 (WiSE-FT) for the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.families import family
from codax.coding.trees import abstract_model, fill_model
from codax.errors import ConfigError, ModelError
from codax.train.config import TrainConfig
from codax.train.folders import centre_crops
from codax.train.initial import Arrays
from codax.train.loss import Distortion, distortion_of
from codax.train.pictures import Picture
from codax.train.record import START
from codax.train.state import averaged, load_state, save_state

__all__ = ["Outcome", "keep_the_better", "tiles_of", "write_start"]

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


def tiles_of(
    paths: Sequence[Picture], skip: Callable[[str], None] | None = None
) -> np.ndarray:
    """Parts of pictures to compare weights on, all of one size: uint8[n S S 3].

    Args:
        paths: of the pictures.
        skip: takes a line for each that cannot be read.

    Raises:
        ConfigError: no picture is as large as 64x64.
    """
    crops = centre_crops(paths, len(paths), 2 * SIDE, skip)
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
