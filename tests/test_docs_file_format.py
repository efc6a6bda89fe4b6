"""docs/file-format.md: its hexdump is a file, its code reads what codax writes."""

import re
from pathlib import Path

import constriction
import numpy as np
import pytest

from codax.entropy.bytes_coder import encode_bytes
from codax.entropy.trellis import Trellis
from codax.files import container, planes
from codax.files.container import Tag

PAGE = (Path(__file__).parent.parent / "docs" / "file-format.md").read_text()


@pytest.fixture(scope="module")
def second():
    """The names that the page's Python blocks define."""
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/file-format.md", "exec"), names)
    return names


def dump():
    lines = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?){16})$", PAGE, re.MULTILINE)
    return bytes.fromhex(" ".join(lines))


def test_hexdump_is_the_file_that_the_page_describes():
    file = container.read(dump())
    assert (file.width, file.height, file.quality) == (4, 3, 150)
    assert file.sections[Tag.ORIENTATION] == b"\6"
    alpha = planes.decode_plane(file.sections[Tag.ALPHA], 3, 4)
    assert alpha.tolist() == [[0] * 4, [0] + [255] * 3, [0] + [255] * 3]
    assert container.write(file) == dump()


def test_the_table_beside_the_hexdump_is_right():
    rows = re.findall(r"^\| ([0-9a-f]{2}) \| `([0-9a-f ]+)` \|", PAGE, re.MULTILINE)
    assert len(rows) == 19
    for at, text in rows:
        expected = bytes.fromhex(text)
        assert dump()[int(at, 16) :].startswith(expected), at


def test_the_pages_reader_reads_our_files(second):
    file = container.read(dump())
    fields = second["read"](dump())
    assert fields == (
        file.codec_id,
        file.weights_hash,
        file.width,
        file.height,
        file.colour << 4 | file.bit_depth - 1,
        file.quality,
        file.stream,
        file.sections,
    )
    residuals = second["coded_bytes"](file.sections[Tag.ALPHA][1:], 12)
    plane = np.array(residuals, np.uint8).reshape(3, 4)
    summed = np.cumsum(np.cumsum(plane, 0, dtype=np.uint8), 1, dtype=np.uint8)
    assert np.array_equal(summed, planes.decode_plane(file.sections[Tag.ALPHA], 3, 4))


@pytest.mark.parametrize("seed", range(4))
def test_the_pages_coder_reads_our_coded_bytes(seed, second):
    rng = np.random.default_rng(seed)
    values = rng.geometric((0.9, 0.3, 0.02, 0.5)[seed], 700).clip(0, 255)
    values = values.astype(np.uint8)
    assert second["coded_bytes"](encode_bytes(values), 700) == values.tolist()


def test_the_pages_coder_agrees_on_impossible_streams(second):
    weights = np.array([10, 2**24 - 2000, 1987.0])
    model = constriction.stream.model.Categorical(weights, perfect=False)
    cumulative = [0, 11, 2**24 - 2000 + 12, 2**24]
    verdicts = set()
    for seed in range(60):
        words = np.random.default_rng(seed).integers(0, 2**32, 8, np.uint32)
        # An end of the range that no symbol owns is rare in random words.
        words[: seed % 3] = 2**32 - 1
        ours, theirs = [], []
        coder = constriction.stream.queue.RangeDecoder(words)
        other = second["RangeDecoder"](words.tolist())
        for decode, out, kind in (
            (lambda c=coder: c.decode(model), theirs, AssertionError),
            (lambda o=other: o.symbol(cumulative), ours, ValueError),
        ):
            try:
                for _ in range(40):
                    out.append(decode())
            except kind:
                out.append("damaged")
        assert ours == theirs
        verdicts.add(ours[-1] == "damaged")
    assert verdicts == {True, False}


def test_the_pages_machine_is_ours(second):
    halves = [np.array([2**24 - 11, 3, 2, 1])] * 128  # Symbols -2 to 2, the escape.
    trellis = Trellis.load(Trellis.pack(halves, step=11, start=0, shift=0, weight=1))
    random = np.random.default_rng(0)
    symbols = random.integers(-2, 3, (40, 1)).astype(np.int32)
    scales = random.integers(0, 64, (40, 1))
    rows = iter(symbols)
    _, index = trellis.walk(scales, lambda _: next(rows))
    asked, given = [], iter(symbols[:, 0].tolist())

    def decode(table):
        asked.append(table)
        return next(given)

    found = second["residuals"](scales[:, 0].tolist(), decode, 11)
    assert asked == index[:, 0].tolist()
    assert found == trellis.kept(symbols, index, 0 * scales)[:, 0].tolist()
