"""Weights to start from: taken as they are, or grown into larger networks.

Deeper and wider networks begin where smaller ones stopped. A block that the weights
lack starts as the identity. A channel that they lack starts as in any fresh network,
but what the weights have does not read it: those entries of its readers are zero, and
the first gradients fill them.

Source: function-preserving growth, Chen, Goodfellow and Shlens 2016 (Net2Net); zero
readers instead of copied channels are this project's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from codax.coding.trees import flatten, metadata, unflatten_like
from codax.errors import ModelError
from codax.face.building import unpack_checkpoint
from codax.train.record import CHAIN, HOURS, chain_of
from codax.train.state import COUNTERS, load_trunk
from codax.transforms.layers import Growth
from codax.zoo.weights import read_checkpoint

__all__ = ["join_initial", "load_initial", "with_frozen"]

TRANSFORMS = ("g_a", "g_s")
"""What weights must have to be started from."""
LINEAR = "ema/g_a/klt"
"""The linear analysis: whether the latents are the same."""
PLAIN = Growth(reads=False)
"""How variables grow that say nothing."""

Arrays = dict[str, np.ndarray]


def load_initial(path: Path) -> Arrays:
    """Reads weights to start a run from.

    Args:
        path: a checkpoint's folder, a trunk file, or a run's `weights.npz` or
            `trunk.npz`.

    Returns:
        `ema/...` and `fixed/...` arrays, and the counters where the file or the card
        has them: a run that goes on draws other crops, and its card counts all hours.
        Of a card, `hours/...` by kind of machine and the `chain` (text), too.

    Raises:
        ModelError: the file or folder cannot be used.
    """
    if not path.is_dir():
        return load_trunk(path)
    packed, card = read_checkpoint(path)
    # A checkpoint does not say which arrays are constants: each may be asked for.
    weights = unpack_checkpoint(packed, card).items()
    found = {f"{kind}/{name}": v for kind in ("ema", "fixed") for name, v in weights}
    hours = card.get("hours", {})
    counters = {
        "step": card.get("steps", 0),
        "seconds": 3600 * sum(hours.values()),
        "pixels": card.get("megapixels", 0),
    } | {HOURS + machine: value for machine, value in hours.items()}
    counters[CHAIN] = json.dumps(chain_of(card))
    return found | {name: np.asarray(value) for name, value in counters.items()}


def with_frozen(
    initial: Arrays, other: Mapping[str, np.ndarray], networks: Sequence[str]
) -> Arrays:
    """Puts networks of other weights in the place of those to start from.

    A prior that was fitted to transforms begins where it was when they have been
    trained on since: the latents have changed little.

    Args:
        initial: see `load_initial`; its counters stay.
        other: likewise.
        networks: such as `g_a`.

    Returns:
        These networks of `other`, all else of `initial`.

    Raises:
        ModelError: `other` lacks one.
    """
    for network in networks:
        if not any(_is_under(name, [network]) for name in other):
            raise ModelError(f"{network} is not in the weights to take it from")
    rest = {name: v for name, v in initial.items() if not _is_under(name, networks)}
    return rest | {name: v for name, v in other.items() if _is_under(name, networks)}


def join_initial(
    state: dict[str, Any],
    initial: Mapping[str, np.ndarray],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Puts other weights into a fresh state; the optimiser starts anew.

    The transforms must fit, but may be deeper and wider; so may the prior of the same
    family. What else fits (hyper-analysis, networks of another family's prior) is taken
    too; what does not starts afresh.

    Args:
        state: see `Trainer.initial_state`.
        initial: see `load_initial`.
        say: takes a line on what grows and what starts afresh.

    Returns:
        The state, its counters going on from those of `initial`.

    Raises:
        ModelError: a transform is missing, has fewer blocks or channels here, or other
            latents.
    """
    tree = {"ema": state["ema"], "fixed": state["fixed"]}
    own = flatten(tree)
    growth = _said(tree, "growth")
    growing: tuple[str, ...] = TRANSFORMS
    if _prior(own) == _prior(initial):
        growing += ("h_a", "prior")
    lost = sorted(_blocks(initial, growing) - _blocks(own, growing))
    if lost:
        raise ModelError(f"{lost[0]} is in the weights to start from, but not here")
    new = _blocks(own, growing) - _blocks(initial, growing)
    for name in sorted(new):
        say(f"{name} is not in the weights to start from: it starts as the identity")
    known = dict(initial)
    for name, value in own.items():
        if _blocks([name], growing) & new:
            last = name.split("/")[-2] in ("leave", "narrow")
            known[name] = np.zeros_like(value) if last else value
    wider = [
        name
        for name, value in own.items()
        if name in known and name.split("/")[1] in growing
        if _may_grow(name, known[name].shape, value.shape, growth.get(name, PLAIN))
    ]
    if wider and _shape(own, LINEAR) == _shape(initial, LINEAR):
        say(f"{len(wider)} arrays get more channels; what was there does not read them")
        for name in wider:
            known[name] = _grown(known[name], own[name], growth.get(name, PLAIN))
    part = {name: _part(name) for name in own}
    fresh = {
        part[name]
        for name, value in own.items()
        if name not in known or known[name].shape != value.shape
    } - set(TRANSFORMS)
    for name in sorted(fresh):
        say(f"{name} is not in the weights to start from, or differs: it starts afresh")
    of_rates = _said(tree, "of_rates")
    kept = {
        name: value
        for name, value in own.items()
        if part[name] in fresh or of_rates.get(name, False)
    }
    joined = unflatten_like(tree, {**known, **kept})
    counters = {
        name: jnp.asarray(initial[name], state[name].dtype)
        for name in COUNTERS
        if name in initial
    }
    return state | joined | counters | {"params": joined["ema"]}


def _shape(arrays: Mapping[str, np.ndarray], name: str) -> tuple[int, ...]:
    return arrays[name].shape if name in arrays else ()


def _said(tree: Mapping[str, Any], word: str) -> dict[str, Any]:
    """What variables say of themselves, by the path of their arrays here."""
    return {
        f"{kind}/{path}": value
        for kind, part in tree.items()
        for path, value in metadata(part, word).items()
    }


def _may_grow(
    name: str, small: tuple[int, ...], large: tuple[int, ...], growth: Growth
) -> bool:
    """Whether an array has more channels here, and all else is the same."""
    if not name.startswith("ema/") or small == large or len(small) != len(large):
        return False
    axes = (-2, -1) if growth.reads else (-1,)
    return all(
        before == after or (i in axes and before < after)
        for i, before, after in zip(range(-len(small), 0), small, large, strict=True)
    )


def _grown(small: np.ndarray, large: np.ndarray, growth: Growth) -> np.ndarray:
    """A fresh array with a smaller one in it, whose channels read no other."""
    out = _places(small.shape[-1], large.shape[-1], growth.parts_out)
    grown = np.array(large)
    if not growth.reads:
        grown[..., out] = small
        return grown
    rows, wide, kept = small.shape[-2], large.shape[-2], growth.kept_in
    features = _places(rows - kept, wide - kept, growth.parts_in)
    inside = np.concatenate([features, np.arange(wide - kept, wide)])
    grown[..., out] = 0.0
    grown[..., inside[:, None], out] = small
    return grown


def _places(small: int, large: int, parts: int) -> np.ndarray:
    """Where channels lie among more of them: first in each of some equal parts."""
    starts = np.arange(parts)[:, None] * (large // parts)
    return (starts + np.arange(small // parts)).ravel()


def _prior(names: Iterable[str]) -> set[str]:
    """What a prior consists of, blocks counted once."""
    words = [name.split("/")[1:] for name in names]
    return {
        "/".join(w for w in path if not w.startswith("block"))
        for path in words
        if path[:1] == ["prior"]
    }


def _blocks(names: Iterable[str], networks: tuple[str, ...]) -> set[str]:
    """The blocks of networks that arrays belong to, such as `g_s/fine/block4`."""
    words = [name.split("/")[1:] for name in names]
    return {
        "/".join(w[:3])
        for w in words
        if len(w) > 3 and w[0] in networks and w[2].startswith("block")
    }


def _is_under(name: str, networks: Sequence[str]) -> bool:
    """Whether an array belongs to one of the networks, as `freeze` means them."""
    return any(word in networks for word in name.split("/")[1:])


def _part(name: str) -> str:
    """The network that an array `ema/...` belongs to, such as `g_a`, `prior/hyper`."""
    words = name.split("/")[1:]
    return "/".join(words[:2] if words[0] == "prior" else words[:1])
