"""The codec families: for each its number in files, its configuration, its networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codax.codecs.quadtree import Quadtree, QuadtreeConfig
from codax.errors import ConfigError

__all__ = ["FAMILIES", "Family", "family"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One codec family.

    Attributes:
        codec_id: the byte in a file's header; never reused.
        config: its configuration, a frozen dataclass.
        networks: its module, made by `networks(config, rngs=...)`.
    """

    codec_id: int
    config: type[Any]
    networks: type[Any]


FAMILIES: dict[str, Family] = {
    "quadtree": Family(codec_id=4, config=QuadtreeConfig, networks=Quadtree),
}


def family(name: str) -> Family:
    """Looks a family up.

    Raises:
        ConfigError: there is no such family.
    """
    if name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigError(f"codec {name!r} is unknown; the families are {known}")
    return FAMILIES[name]
