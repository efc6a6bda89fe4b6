"""Releases and the weights that they promised. No JAX, no NumPy.

`releases.json` beside this file has, by version, the weights of each release: files
that they wrote decode for ever. All others are drafts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["FILE", "Released", "list_released", "released"]

FILE = Path(__file__).with_name("releases.json")


@dataclass(frozen=True)
class Released:
    """Weights of a release.

    Attributes:
        name: `codec-preset-vN`.
        codec_id: the codec's byte in files.
        weights_hash: the 6 bytes in files, as 12 hexadecimal digits.
        release: the version of codax that brought them first.
    """

    name: str
    codec_id: int
    weights_hash: str
    release: str


@cache
def list_released() -> tuple[Released, ...]:
    """Returns the weights of all releases, each once, the oldest release first."""
    found: dict[tuple[int, str], Released] = {}
    for version, facts in json.loads(FILE.read_text(encoding="utf-8")).items():
        for name, own in facts["weights"].items():
            key = int(own["codec_id"]), str(own["weights_hash"])
            found.setdefault(key, Released(name, *key, version))
    return tuple(found.values())


def released(codec_id: int, weights_hash: str) -> Released | None:
    """The release's weights of a codec and hash; None of drafts and of a user's own."""
    for own in list_released():
        if (own.codec_id, own.weights_hash) == (codec_id, weights_hash):
            return own
    return None
