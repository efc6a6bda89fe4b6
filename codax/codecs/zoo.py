"""Loading trained codecs by name or path."""

from __future__ import annotations

from pathlib import Path

from codax.codecs.cards import find_card
from codax.codecs.codec import Codec

__all__ = ["load"]


def load(name: str | Path) -> Codec:
    """Loads a trained codec.

    Args:
        name: `quadtree-tiny-v1`, `quadtree-tiny` for its newest version, or the path
            of a checkpoint folder.

    Returns:
        The codec, ready to encode and decode.

    Raises:
        ModelError: no such codec, or weights that cannot be used.
    """
    return Codec.from_folder(find_card(str(name)).folder)
