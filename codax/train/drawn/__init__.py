"""Drawn pictures to train on: screens, pages, charts, signs, made from a seed.

No photograph teaches a codec what letters, flat colours and patterns of single pixels
look like, and people code those too. Everything here is a pure function of its
arguments (and of Pillow's version), shares no face, word or layout with pictures that
results are measured on, and is never rescaled: edges are as sharp as drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codax.errors import ConfigError
from codax.train.data import ResidentSet
from codax.train.drawn import figures, interfaces, writing

__all__ = ["KINDS", "PICTURES", "drawn_crop", "drawn_set", "kind_of"]

Draw = Callable[[np.random.Generator, int], np.ndarray]

KINDS: dict[str, tuple[Draw, int]] = {
    "page": (writing.page, 4),
    "code": (writing.code, 3),
    "slide": (writing.slide, 3),
    "sparse": (writing.sparse, 3),
    "caption": (writing.caption, 2),
    "table": (writing.table, 2),
    "window": (interfaces.window, 4),
    "chart": (interfaces.chart, 3),
    "diagram": (interfaces.diagram, 2),
    "shapes": (figures.shapes, 3),
    "lines": (figures.lines, 2),
    "gradients": (figures.gradients, 3),
    "patterns": (figures.patterns, 2),
    "pixels": (figures.pixels, 2),
    "saturated": (figures.saturated, 2),
    "noise": (figures.noise, 1),
}
"""Kinds of pictures: how they are drawn, and how many of a round of 41 are of each."""

PICTURES, SIDE = 246, 512
"""Pictures of a run, six rounds of all kinds, and their side: 65 megapixels."""

_STREAM = 30
"""Keeps this generator's numbers apart from others of the same seed."""


def kind_of(seed: int, index: int) -> str:
    """The kind of picture number `index`: each round has all, in an order of its own.

    Args:
        seed: of the run, 0 or more.
        index: of the picture, 0 or more.

    Returns:
        A name of `KINDS`.
    """
    names = [name for name, (_, share) in KINDS.items() for _ in range(share)]
    turn, place = divmod(index, len(names))
    return names[
        np.random.default_rng([seed, turn, _STREAM]).permutation(len(names))[place]
    ]


def drawn_crop(seed: int, index: int, side: int) -> np.ndarray:
    """Draws a picture.

    Args:
        seed: of the run, 0 or more.
        index: of the picture, 0 or more.
        side: rows and columns, 64 or more.

    Returns:
        uint8[side side 3].

    Raises:
        ConfigError: a seed, index or side out of range.
    """
    for name, value, low in (
        ("seed", seed, 0),
        ("index", index, 0),
        ("side", side, 64),
    ):
        if value < low:
            raise ConfigError(f"{name}: got {value}, expected {low} or more")
    draw, _ = KINDS[kind_of(seed, index)]
    return draw(np.random.default_rng([seed, index, _STREAM, 1]), side)


def drawn_set(seed: int, count: int = PICTURES, side: int = SIDE) -> ResidentSet:
    """The drawn pictures of a run, for `crop_batch` to cut crops from.

    Args:
        seed: of the run, 0 or more.
        count: pictures, 1 or more.
        side: of each.

    Returns:
        The set; 193 MB at the defaults.
    """
    pictures = np.stack([drawn_crop(seed, index, side) for index in range(count)])
    return ResidentSet(
        flat=pictures.reshape(-1, 3),
        offsets=np.arange(count, dtype=np.int32) * side * side,
        heights=np.full(count, side, np.int32),
        widths=np.full(count, side, np.int32),
    )
