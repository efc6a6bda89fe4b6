"""Graphs that say where their weights lie in a file, for readers that take no arrays.

A stored graph names its weights and not where they are: ONNX Runtime is handed them as
arrays. In a browser it reads them out of a file instead, by an entry `offset` beside
each weight's `location`. The few messages of ONNX on the way there are taken apart and
put together here, so that no package for them is needed.

Source: onnx.proto3 of ONNX 1.17 (`ModelProto` to `StringStringEntryProto`), and the
encoding of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["metadata_of", "place_weights"]

# Numbers of fields, by message.
_GRAPH, _METADATA = 7, 14  # ModelProto
_INITIALIZER = 5  # GraphProto
_NAME, _EXTERNAL = 8, 13  # TensorProto
_KEY, _VALUE = 1, 2  # StringStringEntryProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""


def place_weights(model: bytes, offsets: Mapping[str, int]) -> bytes:
    """A graph whose weights say where they begin in the file that they name.

    Args:
        model: of ONNX, with external weights.
        offsets: bytes into the file, by the name of the weight.

    Raises:
        KeyError: a weight that the file lacks.
    """
    return _mapped(
        model, _GRAPH, lambda graph: _mapped(graph, _INITIALIZER, _placer(offsets))
    )


def metadata_of(model: bytes) -> dict[str, str]:
    """What a graph says of itself by keys."""
    entries = (own for field, own, _ in _fields(model) if field == _METADATA)
    found = {}
    for entry in entries:
        parts = {field: own.decode() for field, own, _ in _fields(entry)}
        found[parts.get(_KEY, "")] = parts.get(_VALUE, "")
    return found


def _placer(offsets: Mapping[str, int]):
    """What adds the offset to a tensor that is external."""

    def place(tensor: bytes) -> bytes:
        fields = {field: own for field, own, _ in _fields(tensor)}
        if _EXTERNAL not in fields:
            return tensor
        at = str(offsets[fields[_NAME].decode()]).encode()
        entry = _wrapped(_KEY, b"offset") + _wrapped(_VALUE, at)
        return tensor + _wrapped(_EXTERNAL, entry)

    return place


def _mapped(message: bytes, wanted: int, change) -> bytes:
    """A message with the bytes of one of its fields changed, wherever it appears."""
    return b"".join(
        _wrapped(field, change(own)) if field == wanted else whole
        for field, own, whole in _fields(message)
    )


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The fields of a message: number, own bytes, and all bytes with what precedes."""
    at = 0
    while at < len(message):
        begin = at
        key, at = _varint(message, at)
        start, kind = at, key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            length, start = _varint(message, at)
            at = start + length
        else:
            at += {_FIXED64: 8, _FIXED32: 4}[kind]
        yield key >> 3, message[start:at], message[begin:at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _wrapped(field: int, own: bytes) -> bytes:
    """A field of bytes, with its number and length before it."""
    return _packed(field << 3 | _BYTES) + _packed(len(own)) + own


def _packed(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
