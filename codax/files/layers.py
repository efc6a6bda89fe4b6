"""Cutting files after a layer, without decoding them. No JAX, no NumPy."""

from __future__ import annotations

from dataclasses import replace

from codax.errors import ConfigError, UnsupportedError
from codax.files import container
from codax.files.container import (
    Container,
    join_layers,
    quality_of_layers,
    split_layers,
)

__all__ = ["truncate"]


def truncate(
    data: bytes, *, layers: int | None = None, target_size: int | None = None
) -> bytes:
    """Cuts a file after a layer; what is left decodes to a coarser picture.

    The result is the file that encoding with fewer layers would have given.

    Args:
        data: a `.codax` file of a codec with layers.
        layers: how many to keep, 1 to those that it has.
        target_size: instead of them, the most bytes that the result may have.

    Returns:
        The shorter file, with all its sections.

    Raises:
        ConfigError: neither or both of the two, or no such number of layers.
        UnsupportedError: a file that cannot be cut, or not to this size.
        FormatError: not a codax file, or damaged.
    """
    if (layers is None) == (target_size is None):
        raise ConfigError("give either layers or target_size")
    file = container.read(data, max_pixels=1 << 70)
    if not file.layered:
        remedy = "with `fallback=False`" if file.stored else "at a lower quality"
        raise UnsupportedError(
            f"files of codec {file.codec_id} have one layer and cannot be cut; "
            f"encode again {remedy}"
        )
    has = len(split_layers(file.stream)[0])
    if layers is not None:
        if not 1 <= layers <= has:
            raise ConfigError(f"layers is {layers}; the file has {has}: 1 to {has}")
        return container.write(_first(file, layers))
    limit = target_size or 0
    sizes = []
    for count in range(has, 0, -1):
        short = container.write(_first(file, count))
        if len(short) <= limit:
            return short
        sizes.append(len(short))
    raise UnsupportedError(
        f"a target of {limit} bytes is out of reach: one layer takes {sizes[-1]}; "
        "raise the target"
    )


def _first(file: Container, layers: int) -> Container:
    """The file with its first layers only, at the quality that has so many."""
    streams, count = split_layers(file.stream)
    return replace(
        file,
        stream=join_layers(streams[:layers], count),
        quality=min(file.quality, quality_of_layers(layers, count)),
    )
