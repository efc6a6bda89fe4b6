"""The streams of files that can be cut after a layer. No JAX."""

from __future__ import annotations

from codax.coding.order import layers_at
from codax.errors import FormatError
from codax.files.container import split_layers

__all__ = ["beyond_symbols", "streams_of"]

FRAME, STREAM = 64, 6
"""Bytes, about: of what is no symbol in a file, and of each further stream its length
and the rest of its last words."""


def beyond_symbols(quality: int, count: int) -> int:
    """Bytes that a file may take beyond 1 % of what its symbols cost.

    Args:
        quality: half steps 0..200.
        count: the codec's layers; 1 where files cannot be cut.
    """
    return FRAME + STREAM * (layers_at(quality, count) - 1)


def streams_of(stream: bytes, quality: int, count: int) -> list[bytes]:
    """The range-coder streams of a file, one for each layer.

    Args:
        stream: of the file.
        quality: half steps 0..200.
        count: the codec's layers; 1 where files cannot be cut.

    Raises:
        FormatError: they are not as many as the quality has.
    """
    if count == 1:
        return [stream]
    streams, expected = split_layers(stream)[0], layers_at(quality, count)
    if len(streams) != expected:
        raise FormatError(
            f"{len(streams)} layers at quality {quality / 2:g}, expected {expected} of "
            f"the codec's {count}"
        )
    return streams
