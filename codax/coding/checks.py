"""Checks of a coding order, when a prior is built: what else would go wrong in silence.

Two steps of one name would lose bits of the rate, a forgotten step would leave latents
at zero, and a network that looks further than its halo would make files of large
pictures that differ from those of small ones.
"""

from __future__ import annotations

import numpy as np

from codax.coding.order import Step, Walked
from codax.errors import ModelError

__all__ = ["check_order"]

PROBE = 4
"""Side of the arrays that masks are tried on."""


def check_order(order: Walked) -> None:
    """Checks that a coding order can be walked and codes every latent exactly once.

    Raises:
        ModelError: it does not; the message names the step.
    """
    names: set[str] = set()
    written: set[str] = set()
    times = {
        name: np.zeros((2, 2, order.channels.get(name, 0)), int)
        for name in order.sources
    }
    layer = 0
    for step in order.steps:
        if step.name in names:
            raise ModelError(f"step {step.name}: two steps have this name")
        _check_arrays(order, step, written)
        if step.halo < 0 or step.halo % 4:
            raise ModelError(
                f"step {step.name}: halo is {step.halo}, expected a multiple of 4"
            )
        if step.layer < layer:
            raise ModelError(
                f"step {step.name}: is of layer {step.layer}, after steps of layer "
                f"{layer}"
            )
        layer = step.layer
        if step.coded:
            times[step.target] += _coded(order, step)
        names.add(step.name)
        written.add(step.target)
    for target, count in times.items():
        _check_times(target, count)


def _check_arrays(order: Walked, step: Step, written: set[str]) -> None:
    """Checks a step's arrays: known, and read after they are written."""
    for name in (step.target, *step.reads):
        if name not in order.channels or name not in order.strides:
            raise ModelError(
                f"step {step.name}: array {name!r} has no channels or no stride"
            )
    if step.coded and step.target not in order.sources:
        raise ModelError(f"step {step.name}: target {step.target!r} has no source")
    if not step.coded and (step.target in order.sources or step.target in written):
        raise ModelError(
            f"step {step.name}: derives {step.target!r}, which is coded, or derived "
            "before"
        )
    if step.within and step.within not in written:
        raise ModelError(
            f"step {step.name}: codes within {step.within!r}, which no step before it "
            "writes"
        )
    own = {step.target} if step.coded else set()
    for name in step.reads:
        if name not in written | own:
            raise ModelError(
                f"step {step.name}: reads {name!r}, which no step before it writes"
            )


def _coded(order: Walked, step: Step) -> np.ndarray:
    """How often a step codes each latent of a 2x2 cell; its mask is tried, too."""
    channels = order.channels[step.target]
    if step.mask is None:
        return np.ones((2, 2, channels), int)
    most = max(max(place) for place in step.mask.places if place)
    if most >= channels:
        raise ModelError(
            f"step {step.name}: codes channel {most} of {step.target!r}, which has "
            f"{channels}"
        )
    found = step.mask.coded(channels)
    shape = (1, PROBE, PROBE, channels)
    marked = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    put = step.put(np.zeros(shape, np.float32), step.take(marked))
    own = np.tile(found, (PROBE // 2, PROBE // 2, 1))
    if not np.array_equal(put[0], np.where(own, marked[0], 0.0)):
        raise ModelError(f"step {step.name}: put does not undo take")
    return found.astype(int)


def _check_times(target: str, times: np.ndarray) -> None:
    """Checks that every latent of an array is coded once."""
    wrong = np.argwhere(times != 1)
    if len(wrong):
        row, column, channel = wrong[0]
        raise ModelError(
            f"order: channel {channel} of {target!r} at ({row},{column}) of a 2x2 cell "
            f"is coded {times[row, column, channel]} times, expected once; "
            f"{len(wrong)} such latents a cell"
        )
