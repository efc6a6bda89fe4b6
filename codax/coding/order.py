"""The coding order of a codec: a list of steps, written once. No JAX.

A step either *derives* an array of the state from what is known (the hyper-synthesis),
or *codes* latents: it says which latents it covers, and its network gives for each of
its symbols the integers that the target's source asks for (`codax.entropy.sources`: a
mean and a table index, say) from everything known before. Nothing else about order
exists anywhere: `rate` (`codax.coding.rate`), `encode` and `decode`
(`codax.coding.interpreters`) walk the same list and so cannot disagree.

State arrays hold exact integers as float32, in the units of their source: `z` in
steps, `y` in sixteenths of a step; features in units of 1/64.

An order is data, too: `order.json` beside the weights holds what a reader needs that
has no family's Python.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Protocol

import numpy as np

from codax.coding.masks import Mask
from codax.entropy.coder import TableSet
from codax.entropy.sources import SymbolSource, describe_source, read_source
from codax.errors import ModelError
from codax.files.container import MAX_QUALITY

__all__ = [
    "CELL",
    "Network",
    "Order",
    "Run",
    "State",
    "Step",
    "SymbolSink",
    "Walked",
    "extent",
    "layer_count",
    "layers_at",
    "steps_of",
]

CELL = 16
"""Pixels of a side of a cell of the latent grid."""

State = dict[str, Any]
Network = Callable[..., tuple[Any, ...]]
Run = Callable[["Step", State, np.ndarray | None], tuple[np.ndarray, ...]]
"""`(step, state, where)`: evaluates a step's network on whole arrays of the state, in
tiles or not. Gives arrays [1 h w k], or where a mask bool[rows columns] is given only
what it is there, [n k] row by row."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a coding order.

    Attributes:
        name: of the step and of its network; for messages and maps, too.
        target: the array of the state that the step writes: `z`, `y` or a derived one.
        reads: arrays of the state that the network reads.
        network: `(prior, *reads, quality, extent) -> heads` for a coding step, such as
            `(offset, index)`; `-> (array,)` for a derived one; None for static tables.
            In an order that was read as data, the network's name.
        coded: whether the step codes latents.
        mask: which latents it codes; None for all.
        within: an array of the state, of one channel, on the target's grid: only where
            it is not zero anything is coded; "" for everywhere. The rest of what `put`
            gets is zero.
        halo: how far, in cells of 1/16, an output of the network looks; multiple of 4.
        layer: of the streams of a file that can be cut, which holds the step.
        whole: of a derived step that takes whole arrays at once, cut to the picture's
            own grids and as int32: what it does, by name
            (`codax.coding.reversible.WHOLE`). NumPy evaluates it; in training its
            network does the same.
        stage: 0, or 1 for what is coded of the error that stage 0 leaves, see
            `codax.coding.enhancement`: an encoder knows it later.
    """

    name: str
    target: str
    reads: tuple[str, ...] = ()
    network: Network | str | None = None
    coded: bool = True
    mask: Mask | None = None
    within: str = ""
    halo: int = 0
    layer: int = 0
    whole: str = ""
    stage: int = 0

    @property
    def function(self) -> Network:
        """The network, where it is one.

        Raises:
            ModelError: the step has none, or the order was read as data.
        """
        if not callable(self.network):
            raise ModelError(f"step {self.name} has no network at hand")
        return self.network

    def applies(self, state: Mapping[str, Any]) -> bool:
        """Whether a picture has what the step is about: a grey one has no chroma."""
        needed = (*self.reads, self.target) if self.coded else self.reads
        return all(name in state for name in needed)

    def positions(
        self, state: Mapping[str, Any], rows: int, columns: int
    ) -> np.ndarray | None:
        """Where the step codes, bool[rows columns]; None for everywhere.

        Args:
            state: what is known by then, [1 h w C].
            rows: of the picture's own grid.
            columns: likewise.
        """
        where = self.where(rows, columns)
        if not self.within:
            return where
        own = state[self.within][0, :rows, :columns, 0] != 0
        return own if where is None else own & where

    def take(self, whole: Any) -> Any:
        """Picks the step's latents from the whole array, [N h w C] -> [N h w k]."""
        return whole if self.mask is None else self.mask.take(whole)

    def put(self, known: Any, values: Any) -> Any:
        """Writes values [N h w k] into the array known so far."""
        return values if self.mask is None else self.mask.put(known, values)

    def width(self, channels: int) -> int:
        """Symbols at each position that is coded, of an array of so many channels."""
        return channels if self.mask is None else self.mask.width

    def write(
        self, whole: np.ndarray, values: np.ndarray, where: np.ndarray | None
    ) -> None:
        """Does what `put` does, in place, see `Mask.write`."""
        if self.mask is not None:
            self.mask.write(whole, values, where)
        elif where is None:
            rows, columns, _ = values.shape
            whole[0, :rows, :columns] = values
        else:
            whole[0, : where.shape[0], : where.shape[1]][where] = values

    def where(self, rows: int, columns: int) -> np.ndarray | None:
        """The positions that the step codes, bool[rows columns]; None for all."""
        return None if self.mask is None else self.mask.where(rows, columns)


class Walked(Protocol):
    """What the interpreters of files walk: an `Order`, or a family's prior."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""

    @property
    def sources(self) -> Mapping[str, SymbolSource]:
        """By target of a coding step, how its latents are coded."""

    @property
    def channels(self) -> Mapping[str, int]:
        """Channels of each array of the state."""

    @property
    def strides(self) -> Mapping[str, float]:
        """Cells of each array of the state per cell of 1/16."""


class SymbolSink(Protocol):
    """What `encode` hands symbols to, such as a `SymbolEncoder` or a `CostMeter`."""

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: TableSet) -> None:
        """Takes the symbols of a step and their tables."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A coding order as data, with the sizes of what it is about.

    Attributes:
        steps: the list.
        sources: by target of a coding step, how its latents are coded.
        channels: of each array of the state.
        strides: cells of each array of the state per cell of 1/16.
    """

    steps: tuple[Step, ...]
    sources: Mapping[str, SymbolSource]
    channels: Mapping[str, int]
    strides: Mapping[str, float]

    @classmethod
    def of(cls, prior: Walked) -> Order:
        """The order of a family's prior, without its networks' functions."""
        return cls(
            steps=tuple(
                replace(step, network=None if step.network is None else step.name)
                for step in prior.steps
            ),
            sources={
                name: read_source(describe_source(source))
                for name, source in prior.sources.items()
            },
            channels=dict(prior.channels),
            strides=dict(prior.strides),
        )

    @property
    def analysed(self) -> tuple[str, ...]:
        """The coded arrays that an analysis gives: those of stage 0."""
        late = {step.target for step in steps_of(self, 1)}
        return tuple(name for name in self.sources if name not in late)

    def shapes(self, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """Of the arrays that are coded, the padded shapes (1, h, w, C) of a picture."""
        return {
            name: (1, *self.padded(height, width, name), self.channels[name])
            for name in self.sources
        }

    def padded(self, height: int, width: int, name: str) -> tuple[int, int]:
        """Rows and columns of an array whose grid at 1/64 has no part of a cell."""
        rows, columns = (ceil(side / 4) * 4 for side in extent(height, width))
        stride = self.strides[name]
        return int(rows * stride), int(columns * stride)

    def extents(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Of the arrays that are coded, the rows and columns of the picture's own."""
        return {
            name: extent(height, width, self.strides[name]) for name in self.sources
        }

    def pad(
        self, latents: Mapping[str, np.ndarray], height: int, width: int
    ) -> dict[str, np.ndarray]:
        """Latents [1 h w C] on the picture's own grids, with zeros on padded ones."""
        shapes = self.shapes(height, width)
        found = {name: np.zeros(shapes[name], np.float32) for name in latents}
        for name, value in latents.items():
            rows, columns = value.shape[1:3]
            found[name][:, :rows, :columns] = value
        return found

    def own(self, state: State, height: int, width: int) -> dict[str, np.ndarray]:
        """Coded arrays of a state on the picture's own grids, int32[h w C]."""
        extents = self.extents(height, width)
        return {
            name: value[0, : extents[name][0], : extents[name][1]].astype(np.int32)
            for name, value in state.items()
            if name in extents
        }

    def to_json(self) -> str:
        """The order as the text of `order.json`."""
        fields = {
            "arrays": {
                name: {"channels": self.channels[name], "stride": self.strides[name]}
                for name in self.channels
            },
            "sources": {name: describe_source(s) for name, s in self.sources.items()},
            "steps": [_describe_step(step) for step in self.steps],
        }
        # A line for each array, source and step.
        rows = [f' "{part}": {_lines(value)}' for part, value in fields.items()]
        return "{\n" + ",\n".join(rows) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Reads what `to_json` wrote.

        Raises:
            ModelError: no such text.
        """
        try:
            fields = json.loads(text)
            arrays = fields["arrays"]
            return cls(
                steps=tuple(_read_step(step) for step in fields["steps"]),
                sources={n: read_source(s) for n, s in fields["sources"].items()},
                channels={name: int(a["channels"]) for name, a in arrays.items()},
                strides={name: float(a["stride"]) for name, a in arrays.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"order.json: not a coding order ({error!r})") from error


def _lines(part: Any) -> str:
    """JSON with a line for each entry of a list or an object."""
    if isinstance(part, list):
        return "[\n  " + ",\n  ".join(map(json.dumps, part)) + "\n ]"
    rows = [f"{json.dumps(name)}: {json.dumps(v)}" for name, v in part.items()]
    return "{\n  " + ",\n  ".join(rows) + "\n }"


def _describe_step(step: Step) -> dict[str, Any]:
    """A step as JSON holds it; what is usual is left out."""
    network = step.network if isinstance(step.network, str) else step.name
    described = {
        "name": step.name,
        "target": step.target,
        "reads": list(step.reads),
        "network": None if step.network is None else network,
        "coded": step.coded,
        "mask": None if step.mask is None else step.mask.describe(),
        "within": step.within,
        "halo": step.halo,
        "layer": step.layer,
        "whole": step.whole,
        "stage": step.stage,
    }
    usual = {
        "mask": None,
        "within": "",
        "halo": 0,
        "layer": 0,
        "whole": "",
        "stage": 0,
        "coded": True,
    }
    return {n: v for n, v in described.items() if n not in usual or v != usual[n]}


def _read_step(described: Mapping[str, Any]) -> Step:
    fields = {**described, "reads": tuple(described["reads"])}
    if "mask" in fields:
        fields["mask"] = Mask.read(fields["mask"])
    return Step(**fields)


def steps_of(order: Walked, stage: int) -> list[Step]:
    """The steps of a stage, see `Step`."""
    return [step for step in order.steps if step.stage == stage]


def extent(height: int, width: int, stride: float = 1.0) -> tuple[int, int]:
    """Rows and columns of a picture's own cells on a grid.

    Args:
        height: rows of the picture.
        width: columns of the picture.
        stride: cells of the grid per cell of 1/16.
    """
    return ceil(height * stride / CELL), ceil(width * stride / CELL)


def layer_count(walked: Walked) -> int:
    """Streams of a file with everything; 1 where files cannot be cut."""
    return 1 + max(step.layer for step in walked.steps)


def layers_at(quality: Any, count: int) -> Any:
    """How many of a codec's layers a quality in half steps has: 1 to count."""
    return (quality * count + (MAX_QUALITY - 1) + (quality == 0)) // MAX_QUALITY
