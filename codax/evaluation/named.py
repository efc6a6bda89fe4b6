"""Codecs of the bench by name: classical ones, and models with or without an effort."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from codax.coding.effort import DEFAULT_EFFORT, EFFORTS
from codax.errors import ConfigError, ModelError
from codax.evaluation.candidate import FileCodec, learned
from codax.evaluation.classical import CLASSICAL, classical
from codax.face import loading
from codax.zoo.cards import find_card

if TYPE_CHECKING:
    from codax.face.codec import Codec

__all__ = ["named_codecs"]


def named_codecs(
    names: Iterable[str], prepare: Callable[[], None] = lambda: None
) -> list[FileCodec]:
    """Makes the codecs that were asked for.

    Args:
        names: of `CLASSICAL`, of models, or `MODEL@eN`.
        prepare: called before a model is loaded.

    Raises:
        ConfigError: an unknown name or effort.
        ModelError: weights that cannot be used.
        UnsupportedError: a library that this Python lacks.
    """
    codecs = []
    loaded: dict[str, Codec] = {}
    for name in names:
        if name in CLASSICAL:
            codecs.append(classical(name))
            continue
        model, mark, level = name.partition("@e")
        if mark and level not in map(str, EFFORTS):
            raise ConfigError(f"codec {name}: expected NAME@eN with N of 1 to 9")
        try:
            find_card(model)  # An unknown name is told before JAX is loaded.
        except ModelError as error:
            raise ConfigError(
                f"{error}; other codecs: {', '.join(CLASSICAL)}"
            ) from error
        prepare()
        # Once for MODEL and MODEL@eN: its networks are compiled but once, too.
        if model not in loaded:
            loaded[model] = loading.load(model)
        codecs.append(learned(loaded[model], effort=int(level or DEFAULT_EFFORT)))
    return codecs
