"""Which pictures a run trains on, and which it holds out for choices."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codax.errors import ConfigError, ImageError
from codax.train.config import TrainConfig
from codax.train.pictures import (
    Picture,
    find_pictures,
    find_streamed,
    read_rgb,
    split,
)

__all__ = ["centre_crops", "run_pictures"]

DATA_VARIABLE = "CODAX_DATA"
CELL = 64
"""Codecs are trained on pictures whose sides are multiples of this."""


def run_pictures(
    config: TrainConfig,
    folders: Sequence[str] = (),
    skip: Callable[[str], None] | None = None,
    cache: Path | None = None,
) -> tuple[list[Picture], list[Picture]]:
    """Lists the pictures of a run; those in shards, too, if they are streamed.

    Args:
        config: names folders; relative ones lie in $CODAX_DATA.
        folders: take these instead, and hold out of all of them.
        skip: as of `find_pictures`.
        cache: as of `find_streamed`.

    Returns:
        Pictures to train on, and `config.held_out` that no run ever trains on.

    Raises:
        ConfigError: no folder is named, one is missing, or there are too few pictures.
    """

    def find(names: Sequence[Path | str], skip: Any = skip) -> list[Picture]:
        if config.stream:
            return find_streamed(names, skip, cache)
        return [*find_pictures(names, skip)]

    if folders:
        return split(find(folders), config.held_out)
    if not config.data:
        raise ConfigError("the configuration names no data; give `data=DIR`")
    paths = find([_place(name) for name in config.data])
    if not config.held_out_of:
        return split(paths, config.held_out)
    _, held_out = split(find([_place(config.held_out_of)], None), config.held_out)
    aside = set(held_out)
    return [path for path in paths if path not in aside], held_out


def _place(name: str) -> Path:
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"data folder {name!r}: there is no home folder") from error
    if path.is_absolute():
        return path
    base = os.environ.get(DATA_VARIABLE)
    if not base:
        raise ConfigError(
            f"data folder {name!r} is relative to ${DATA_VARIABLE}, which is not set; "
            "set it, or give `data=DIR`"
        )
    return Path(base) / path


def centre_crops(
    paths: Sequence[Picture],
    count: int,
    side: int,
    skip: Callable[[str], None] | None = None,
) -> list[np.ndarray]:
    """Reads the middles of pictures; damaged and very small ones are passed over.

    Args:
        paths: pictures.
        count: how many to read at most.
        side: longest side of a crop, a multiple of 64.
        skip: takes a line for each picture that cannot be read.

    Returns:
        uint8[H W 3], sides multiples of 64 up to `side`.
    """
    crops: list[np.ndarray] = []
    for path in paths:
        if len(crops) == count:
            break
        try:
            picture = read_rgb(path)
        except ImageError as error:
            if skip:
                skip(str(error))
            continue
        sides = [min(length, side) // CELL * CELL for length in picture.shape[:2]]
        if 0 in sides:
            continue
        top, left = (
            (length - kept) // 2
            for length, kept in zip(picture.shape[:2], sides, strict=True)
        )
        crop = picture[top : top + sides[0], left : left + sides[1]]
        crops.append(np.ascontiguousarray(crop))
    return crops
