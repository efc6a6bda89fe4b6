"""The `.codax` file: reading and writing its bytes, with no dependency.

`docs/file-format.md` holds the byte tables. This module knows nothing of pixels or
networks, imports neither NumPy nor JAX, and trusts no length that a file states.

Source: the layout is codax's own; CRC-32 is that of PNG (ISO 3309), the varints are
LEB128 as in WebAssembly.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from codax.errors import ConfigError, FormatError, UnsupportedError

__all__ = [
    "MAX_FILE",
    "MAX_METADATA",
    "MAX_PIXELS",
    "MAX_QUALITY",
    "SIGNATURE",
    "STORED_HASH",
    "STORED_ID",
    "VERSION",
    "Colour",
    "Container",
    "Tag",
    "check_section",
    "is_mandatory",
    "join_layers",
    "quality_of_layers",
    "read",
    "split_layers",
    "tag_name",
    "write",
]

# The first byte is no ASCII and no valid start of UTF-8, so that no text file, and no
# copy that passed through a text channel, is taken for a codax file.
SIGNATURE = b"\x8dCDX"
VERSION = 1
MAX_QUALITY = 200
# Of files that need no weights, see `codax.files.stored`.
STORED_ID = 9
STORED_HASH = bytes(6)
MAX_PIXELS = 1 << 27
MAX_FILE = 1 << 30
MAX_SECTIONS = 32
# Metadata beyond this is not metadata; alpha may be as large as the picture demands.
MAX_METADATA = 1 << 25

_FLAG_SECTIONS = 0x01
_FLAG_LAYERED = 0x02
_FLAG_TRELLIS = 0x04
_MANDATORY = 0x80


class Colour(IntEnum):
    """What the coded samples mean."""

    GREY = 0
    RGB = 1


class Tag(IntEnum):
    """Tags of the sections; the top bit says that a reader must understand it."""

    ICC = 0x01
    EXIF = 0x02
    XMP = 0x03
    ORIENTATION = 0x04
    MODE = 0x05
    PALETTE = 0x06
    LATENT_CHECKSUM = 0x07
    ALPHA = 0x81


def tag_name(tag: int) -> str:
    """Names a tag for people: `icc`, `alpha`, or `unknown 0x2a`."""
    try:
        return Tag(tag).name.lower().replace("_", " ")
    except ValueError:
        return f"unknown 0x{tag:02x}"


def is_mandatory(tag: int) -> bool:
    """Says whether a reader that does not know `tag` must refuse the file."""
    return bool(tag & _MANDATORY)


@dataclass(frozen=True, kw_only=True)
class Container:
    """The fields of one file.

    Attributes:
        codec_id: family of codec, 0..255.
        weights_hash: 6 bytes; 4 over what decides probabilities, 2 over the synthesis.
        width: columns of the picture, at least 1.
        height: rows of the picture, at least 1.
        quality: half steps, 0..200 (quality 0..100).
        stream: the range coder's bytes; with `layered`, see `split_layers`.
        layered: whether the stream holds one for each layer, and can be cut.
        trellis: whether residuals are quantised dependently.
        colour: whether the samples are grey or RGB.
        bit_depth: bits a sample: 8, or 16 where the samples are grey.
        sections: bytes by tag, in the order of the file.
    """

    codec_id: int
    weights_hash: bytes
    width: int
    height: int
    quality: int
    stream: bytes
    layered: bool = False
    trellis: bool = False
    colour: Colour = Colour.RGB
    bit_depth: int = 8
    sections: dict[int, bytes] = field(default_factory=dict)

    @property
    def stored(self) -> bool:
        """Whether the samples are stored without loss, to be read without weights."""
        return (self.codec_id, self.weights_hash) == (STORED_ID, STORED_HASH)


def write(container: Container) -> bytes:
    """Writes a file.

    Args:
        container: the fields; sections are written in the order of their dict.

    Returns:
        The bytes of the file: at most 32 more than the stream if it has no sections.

    Raises:
        FormatError: a field does not fit the format.
        UnsupportedError: a picture beyond what version 1 holds.
    """
    _check_fields(container, max_pixels=1 << 60)
    if len(container.weights_hash) != 6 or not 0 <= container.codec_id <= 255:
        raise FormatError(
            f"codec id {container.codec_id} with a weights hash of "
            f"{len(container.weights_hash)} bytes; expected 0..255 and 6 bytes"
        )
    flags = _FLAG_SECTIONS if container.sections else 0
    flags |= _FLAG_LAYERED if container.layered else 0
    flags |= _FLAG_TRELLIS if container.trellis else 0
    parts = [
        SIGNATURE,
        bytes([VERSION, flags, container.codec_id]),
        container.weights_hash,
        _varint(container.width),
        _varint(container.height),
        bytes([container.colour << 4 | container.bit_depth - 1, container.quality]),
        _varint(len(container.stream)),
        container.stream,
    ]
    for tag, payload in container.sections.items():
        check_section(tag, len(payload))
    if container.sections:
        parts.append(bytes([len(container.sections)]))
        for tag, payload in container.sections.items():
            parts += [bytes([tag]), _varint(len(payload)), payload]
    body = b"".join(parts)
    return body + zlib.crc32(body).to_bytes(4, "little")


def read(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Container:
    """Reads a file: structure, checksum, then the meaning of its fields.

    Nothing is allocated beyond slices of `data`.

    Args:
        data: the whole file.
        max_pixels: largest width times height that is accepted.

    Returns:
        The fields; sections of unknown optional tags are kept, for `info`.

    Raises:
        FormatError: not a codax file, truncated, damaged, or of impossible fields.
        UnsupportedError: a version, flag, depth, section or size that is not handled.
        ConfigError: a limit that is none.
    """
    if not isinstance(max_pixels, int) or max_pixels < 1:
        raise ConfigError(f"max_pixels is {max_pixels!r}; expected a whole number")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise FormatError(
            f"got {type(data).__name__}; expected the bytes of a .codax file"
        )
    if data[:4] != SIGNATURE:
        if not data:
            raise FormatError("the file is empty; expected a codax file")
        raise FormatError(
            f"not a codax file: it begins with {data[:4].hex(' ')}, "
            f"expected {SIGNATURE.hex(' ')}"
        )
    cursor = _Cursor(data, 4)
    version = cursor.byte("version")
    if version != VERSION:
        raise UnsupportedError(
            f"file format version {version}; this codax reads version {VERSION}; "
            "a newer codax may read it, or the file is damaged"
        )
    flags = cursor.byte("flags")
    codec_id = cursor.byte("codec id")
    weights_hash = cursor.take(6, "weights hash")
    width = cursor.varint("width")
    height = cursor.varint("height")
    samples = cursor.byte("sample format")
    quality = cursor.byte("quality")
    stream = cursor.take(cursor.varint("stream length"), "stream")
    sections = _read_sections(cursor) if flags & _FLAG_SECTIONS else {}
    checksum = cursor.take(4, "checksum")
    cursor.finish()
    _check_checksum(data, checksum)
    if flags & ~(_FLAG_SECTIONS | _FLAG_LAYERED | _FLAG_TRELLIS):
        raise UnsupportedError(f"unknown flags 0x{flags:02x}; a newer codax is needed")
    if samples >> 4 not in tuple(Colour):
        raise UnsupportedError(
            f"unknown colour model {samples >> 4}; a newer codax is needed"
        )
    layered = bool(flags & _FLAG_LAYERED)
    if layered:
        split_layers(stream)
    container = Container(
        codec_id=codec_id,
        weights_hash=weights_hash,
        width=width,
        height=height,
        quality=quality,
        stream=stream,
        layered=layered,
        trellis=bool(flags & _FLAG_TRELLIS),
        colour=Colour(samples >> 4),
        bit_depth=(samples & 15) + 1,
        sections=sections,
    )
    _check_fields(container, max_pixels=max_pixels)
    return container


def join_layers(streams: Sequence[bytes], count: int) -> bytes:
    """Joins the streams of a file that can be cut.

    Args:
        streams: of the first layers, at least one.
        count: how many layers there could be, at most 255.
    """
    parts = [part for stream in streams for part in (_varint(len(stream)), stream)]
    return bytes([count]) + b"".join(parts)


def quality_of_layers(layers: Any, count: int) -> Any:
    """The highest quality, in half steps, that has so many layers of `count`.

    Args:
        layers: a number or an array of them.
        count: how many layers there could be.
    """
    return MAX_QUALITY * layers // count


def split_layers(stream: bytes) -> tuple[list[bytes], int]:
    """Takes the joined streams of a file that can be cut apart.

    Returns:
        The streams of its layers, and how many layers there could be.

    Raises:
        FormatError: a length that does not fit, no layer, or more than there could be.
    """
    cursor = _Cursor(stream, 0)
    count = cursor.byte("number of layers")
    streams: list[bytes] = []
    while cursor.left:
        length = cursor.varint("layer length")
        streams.append(cursor.take(length, f"layer {len(streams) + 1}"))
    if not 1 <= len(streams) <= count:
        raise FormatError(
            f"{len(streams)} layers, expected 1 to {count}; the file is damaged"
        )
    return streams, count


def check_section(tag: int, length: int) -> None:
    """Checks the length of a section, for whoever reads it or is about to write it.

    Raises:
        UnsupportedError: more bytes than files hold.
    """
    if tag != Tag.ALPHA and length > MAX_METADATA:
        raise UnsupportedError(
            f"section {tag_name(tag)} takes {length} bytes; files hold {MAX_METADATA} "
            "at most; to write a file, leave it out with `metadata=none`"
        )


def _read_sections(cursor: _Cursor) -> dict[int, bytes]:
    """Reads the count and then tag, length and bytes of each section."""
    count = cursor.byte("number of sections")
    if not 1 <= count <= MAX_SECTIONS:
        raise FormatError(
            f"{count} sections; expected 1 to {MAX_SECTIONS}; the file is damaged"
        )
    sections: dict[int, bytes] = {}
    for _ in range(count):
        tag = cursor.byte("section tag")
        what = f"section {tag_name(tag)}"
        if tag in sections:
            raise FormatError(f"{what} appears twice; the file is damaged")
        length = cursor.varint(f"{what} length")
        check_section(tag, length)
        sections[tag] = cursor.take(length, what)
    return sections


def _check_checksum(data: bytes, stored: bytes) -> None:
    """Compares the CRC-32 of everything before the last four bytes."""
    actual = zlib.crc32(memoryview(data)[:-4])
    expected = int.from_bytes(stored, "little")
    if actual != expected:
        raise FormatError(
            f"checksum is {actual:08x}, the file states {expected:08x}; "
            "the file is damaged"
        )


def _check_fields(container: Container, *, max_pixels: int) -> None:
    """Checks what both a reader and a writer must hold to."""
    width, height = container.width, container.height
    if min(width, height) < 1:
        raise FormatError(f"size {width}x{height}; both sides must be at least 1")
    if width * height > max_pixels:
        raise UnsupportedError(
            f"size {width}x{height} is {width * height} pixels; the limit is "
            f"{max_pixels}; raise it with `max_pixels=N` if you trust the file"
        )
    if not 0 <= container.quality <= MAX_QUALITY:
        raise FormatError(
            f"quality {container.quality} half steps; expected 0 to {MAX_QUALITY}"
        )
    deepest = 16 if container.colour is Colour.GREY else 8
    if container.bit_depth not in (8, deepest):
        raise UnsupportedError(
            f"{container.bit_depth} bits a sample; this codax handles 8, and 16 of grey"
        )
    for tag in container.sections:
        if is_mandatory(tag) and tag not in tuple(Tag):
            raise UnsupportedError(
                f"section {tag_name(tag)} must be understood to decode this file; "
                "a newer codax is needed"
            )


def _varint(value: int) -> bytes:
    """Writes an unsigned integer in groups of seven bits, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Cursor:
    """Walks over the bytes of a file and says what is missing when they end."""

    def __init__(self, data: bytes, position: int):
        self._data = data
        self._at = position

    def take(self, count: int, what: str) -> bytes:
        """Returns the next `count` bytes."""
        if count > self.left:
            raise FormatError(
                f"{what} truncated: {self.left} of {count} bytes; the file is damaged"
            )
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self, what: str) -> int:
        """Returns the next byte as an integer."""
        return self.take(1, what)[0]

    def varint(self, what: str) -> int:
        """Returns a varint of at most five bytes, in its shortest form only."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte(what)
            value |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    break
                return value
        raise FormatError(f"{what} is no valid varint; the file is damaged")

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def finish(self) -> None:
        """Refuses bytes after the end."""
        if self.left:
            raise FormatError(
                f"{self.left} bytes after the end of the file; the file is damaged"
            )
