"""Graphs that say where their weights lie in a file, for readers that take no arrays.

A stored graph names its weights and not where they are: ONNX Runtime is handed them as
arrays. In a browser it reads them out of a file instead, by an entry `offset` beside
each weight's `location`.

Source: onnx.proto3 of ONNX 1.17 (`ModelProto` to `StringStringEntryProto`).
"""

from __future__ import annotations

from collections.abc import Mapping

from codax.coding.messages import fields, mapped, wrapped

__all__ = ["metadata_of", "place_weights"]

# Numbers of fields, by message.
_GRAPH, _METADATA = 7, 14  # ModelProto
_INITIALIZER = 5  # GraphProto
_NAME, _EXTERNAL = 8, 13  # TensorProto
_KEY, _VALUE = 1, 2  # StringStringEntryProto


def place_weights(model: bytes, offsets: Mapping[str, int]) -> bytes:
    """A graph whose weights say where they begin in the file that they name.

    Args:
        model: of ONNX, with external weights.
        offsets: bytes into the file, by the name of the weight.

    Raises:
        KeyError: a weight that the file lacks.
    """
    return mapped(
        model, _GRAPH, lambda graph: mapped(graph, _INITIALIZER, _placer(offsets))
    )


def metadata_of(model: bytes) -> dict[str, str]:
    """What a graph says of itself by keys."""
    entries = (own for field, own, _ in fields(model) if field == _METADATA)
    found = {}
    for entry in entries:
        parts = {field: own.decode() for field, own, _ in fields(entry)}
        found[parts.get(_KEY, "")] = parts.get(_VALUE, "")
    return found


def _placer(offsets: Mapping[str, int]):
    """What adds the offset to a tensor that is external."""

    def place(tensor: bytes) -> bytes:
        parts = {field: own for field, own, _ in fields(tensor)}
        if _EXTERNAL not in parts:
            return tensor
        at = str(offsets[parts[_NAME].decode()]).encode()
        entry = wrapped(_KEY, b"offset") + wrapped(_VALUE, at)
        return tensor + wrapped(_EXTERNAL, entry)

    return place
