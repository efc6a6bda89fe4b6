"""The file container: every field comes back, and damage is named."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codax.errors import CodaxError, FormatError, UnsupportedError
from codax.files import container
from codax.files.container import Colour, Container, Tag
from codax.files.info import read_info

PLAIN = Container(
    codec_id=3,
    weights_hash=bytes(range(6)),
    width=768,
    height=512,
    quality=150,
    stream=bytes(100),
)
# Frozen: a reader of version 1 must read these bytes for ever.
GOLDEN = bytes.fromhex(
    "8d434458"  # signature
    "01"  # version
    "01"  # flags: sections follow
    "fa"  # codec
    "66616b653031"  # weights hash
    "8006"  # width 768
    "03"  # height 3
    "17"  # RGB, 8 bits
    "96"  # quality 150 half steps
    "05"  # stream length
    "68656c6c6f"  # stream
    "02"  # two sections
    "040106"  # orientation: 1 byte, 6
    "2a0102"  # unknown optional section
    "d94c9166"  # CRC-32 of all before
)


def repaired(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def changed(**fields):
    return Container(**{**vars(PLAIN), **fields})


def test_golden_bytes():
    file = container.read(GOLDEN)
    assert file == Container(
        codec_id=250,
        weights_hash=b"fake01",
        width=768,
        height=3,
        quality=150,
        stream=b"hello",
        sections={4: b"\x06", 0x2A: b"\x02"},
    )
    assert container.write(file) == GOLDEN


@settings(deadline=None)
@given(
    width=st.integers(1, 1 << 20),
    height=st.integers(1, 1 << 7),
    quality=st.integers(0, 200),
    stream=st.binary(max_size=300),
    colour=st.sampled_from(Colour),
    sections=st.dictionaries(
        st.one_of(st.integers(0, 127), st.just(int(Tag.ALPHA))),
        st.binary(max_size=200),
        max_size=5,
    ),
)
def test_parse_of_write_is_the_same(**fields):
    file = changed(**fields)
    assert container.read(container.write(file)) == file


@pytest.mark.parametrize(
    "size", [(1, 1), (4000, 3000), (1 << 14, 1 << 13), (1, 1 << 27)]
)
def test_plain_picture_costs_at_most_32_bytes(size):
    file = changed(width=size[0], height=size[1], stream=bytes(1 << 21))
    assert len(container.write(file)) - len(file.stream) <= 32


def test_every_truncation_is_named():
    data = container.write(changed(sections={Tag.ICC: b"profile"}))
    for length in range(4, len(data)):
        with pytest.raises(FormatError, match=r"truncated: \d+ of \d+ bytes"):
            container.read(data[:length])


def test_every_flipped_bit_is_refused():
    data = container.write(changed(stream=b"stream", sections={Tag.ALPHA: b"alpha"}))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((FormatError, UnsupportedError)) as caught:
            container.read(bytes(damaged))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"just a text file", "not a codax file: it begins with 6a 75 73 74"),
        (GOLDEN + b"x", "1 bytes after the end"),
        (GOLDEN[:-1] + b"\0", "checksum is 66914cd9, the file states 00914cd9"),
    ],
)
def test_damage_is_named(data, message):
    with pytest.raises(FormatError, match=message):
        container.read(data)


def test_newer_versions_and_flags_are_refused():
    body = bytearray(GOLDEN[:-4])
    body[4] = 2
    with pytest.raises(UnsupportedError, match="version 2"):
        container.read(repaired(bytes(body)))
    body[4], body[5] = 1, 9
    with pytest.raises(UnsupportedError, match="unknown flags 0x09"):
        container.read(repaired(bytes(body)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "size 0x512"),
        ({"quality": 201}, "quality 201 half steps"),
        ({"bit_depth": 12}, "12 bits a sample"),
        ({"bit_depth": 16}, "16 bits a sample"),
        ({"sections": {0x90: b""}}, "unknown 0x90 must be understood"),
        ({"weights_hash": b"short"}, "weights hash of 5 bytes"),
    ],
)
def test_a_writer_refuses_impossible_fields(fields, message):
    with pytest.raises(CodaxError, match=message):
        container.write(changed(**fields))


def test_unknown_mandatory_section_is_refused_by_a_reader():
    body = GOLDEN[:-4].replace(b"\x2a\x01\x02", b"\xaa\x01\x02")
    with pytest.raises(UnsupportedError, match="unknown 0xaa"):
        container.read(repaired(body))


def test_pixel_limit_holds_before_anything_is_allocated():
    data = container.write(changed(width=10**5, height=10**4))
    with pytest.raises(UnsupportedError, match="1000000000 pixels; the limit is"):
        container.read(data)
    assert container.read(data, max_pixels=10**9).width == 10**5


def test_lengths_beyond_the_file_are_refused():
    head = GOLDEN[:18]
    with pytest.raises(FormatError, match=r"stream truncated: 4 of 4294967295 bytes"):
        container.read(repaired(head + b"\xff\xff\xff\xff\x0f"))
    with pytest.raises(FormatError, match="stream length is no valid varint"):
        container.read(repaired(head + b"\x80\x00" + bytes(9)))
    body = GOLDEN[:-4]
    with pytest.raises(FormatError, match="appears twice"):
        container.read(repaired(body.replace(b"\x2a\x01\x02", b"\x04\x01\x02")))
    with pytest.raises(FormatError, match="33 sections"):
        container.read(repaired(body.replace(b"\x02\x04\x01\x06", b"\x21\x04\x01\x06")))


def test_info_counts_every_byte():
    info = read_info(GOLDEN)
    assert info["mode"] == "RGB"
    assert info["model"] is None
    assert info["quality"] == 75
    assert [section["name"] for section in info["sections"]] == [
        "orientation",
        "unknown 0x2a",
    ]
    total = info["stream_bytes"] + info["header_bytes"]
    assert total + sum(section["bytes"] for section in info["sections"]) == len(GOLDEN)
