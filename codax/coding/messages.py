"""Messages of Protocol Buffers, which ONNX is written in: taken apart, put together.

The few that are needed are so known without a package for them.

Source: the encoding of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["fields", "mapped", "number", "numbers", "wrapped"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""


def fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
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


def number(own: bytes) -> int:
    """The whole number of 64 bits, with its sign, that a field's own bytes are."""
    return _signed(_varint(own, 0)[0])


def numbers(own: bytes) -> list[int]:
    """The whole numbers that a field's own bytes are: one, or several packed."""
    at, found = 0, []
    while at < len(own):
        value, at = _varint(own, at)
        found.append(_signed(value))
    return found


def wrapped(field: int, own: bytes) -> bytes:
    """A field of bytes, with its number and length before it."""
    return _packed(field << 3 | _BYTES) + _packed(len(own)) + own


def mapped(message: bytes, wanted: int, change: Callable[[bytes], bytes]) -> bytes:
    """A message with the bytes of one of its fields changed, wherever it appears."""
    return b"".join(
        wrapped(field, change(own)) if field == wanted else whole
        for field, own, whole in fields(message)
    )


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _packed(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
