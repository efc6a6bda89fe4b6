"""Drawn pictures: their generator, the held-out twelve, their share of a batch."""

import ast
import collections
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_codecs import small_config

import codax.train
from codax.errors import ConfigError
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.train.drawn import KINDS, drawn_crop, drawn_set, kind_of
from codax.train.drawn.canvas import Canvas
from codax.train.drawn.held_out import held_out_drawn
from codax.train.drawn.letters import SCRIPT, Face, Writer, _table, words
from codax.train.trainer import Trainer

FOLDER = Path(codax.train.__file__).parent / "drawn"
ROUND = sum(share for _, share in KINDS.values())


@pytest.fixture(scope="module")
def crops():
    """A crop of each place of the first round."""
    return [drawn_crop(7, index, 96) for index in range(ROUND)]


def test_crops_have_their_shape_and_range(crops):
    for index, crop in enumerate(crops):
        assert crop.shape == (96, 96, 3), kind_of(7, index)
        assert crop.dtype == np.uint8
    assert min(crop.min() for crop in crops) == 0
    assert max(crop.max() for crop in crops) == 255


def test_every_kind_has_its_share_of_each_round():
    for turn in range(3):
        names = [kind_of(3, turn * ROUND + i) for i in range(ROUND)]
        counts = collections.Counter(names)
        assert counts == {name: share for name, (_, share) in KINDS.items()}
    assert names != [kind_of(3, i) for i in range(ROUND)]


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_drawn_at_any_side_and_shows_something(name):
    draw, _ = KINDS[name]
    for side in (64, 131, 300):
        drawn = [draw(np.random.default_rng([1, i]), side) for i in range(6)]
        assert {d.shape for d in drawn} == {(side, side, 3)}
        assert {d.dtype for d in drawn} == {np.dtype(np.uint8)}
        assert len({d.tobytes() for d in drawn}) == 6
        if side == 300:
            assert sum(np.ptp(d.reshape(-1, 3), 0).max() > 20 for d in drawn) >= 4


def test_crops_follow_seed_index_and_nothing_else(crops):
    again = [drawn_crop(7, index, 96) for index in reversed(range(ROUND))][::-1]
    for one, two in zip(crops, again, strict=True):
        np.testing.assert_array_equal(one, two)
    other = [drawn_crop(8, index, 96) for index in range(ROUND)]
    following = [drawn_crop(7, ROUND + index, 96) for index in range(ROUND)]
    found = {crop.tobytes() for crop in [*crops, *other, *following]}
    assert len(found) > 3 * ROUND - 3


def test_another_process_draws_the_same(crops):
    script = (
        "import zlib\n"
        "from codax.train.drawn import drawn_crop\n"
        f"crops = [drawn_crop(7, i, 96) for i in range({ROUND})]\n"
        "print(*(zlib.crc32(crop.tobytes()) for crop in crops))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [zlib.crc32(crop.tobytes()) for crop in crops]
    assert [int(word) for word in done.stdout.split()] == expected


def test_white_grounds_are_white_and_black_ones_black():
    drawn = drawn_set(0, ROUND, 192).flat.reshape(ROUND, -1, 3)
    white = np.all(drawn == 255, -1).mean(1)
    black = np.all(drawn == 0, -1).mean(1)
    assert np.sum(white > 0.5) >= ROUND // 8
    assert np.sum(black > 0.5) >= 2
    near = np.all(drawn >= 240, -1).mean(1) - white
    assert np.sum(near > 0.3) >= 2  # and some that are nearly white


def test_edges_come_at_full_strength(crops):
    steps = [np.abs(np.diff(crop.astype(int), axis=1)).max() for crop in crops]
    assert np.mean(np.array(steps) == 255) > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0, 64), "seed: got -1, expected 0 or more"),
        ((0, -2, 64), "index: got -2"),
        ((0, 0, 63), "side: got 63, expected 64 or more"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        drawn_crop(*arguments)
    assert "\n" not in str(error.value)


def test_a_set_holds_the_crops_in_order():
    drawn = drawn_set(5, 3, 64)
    assert len(drawn) == 3
    for i in range(3):
        pixels = drawn.flat[drawn.offsets[i] : drawn.offsets[i] + 64 * 64]
        np.testing.assert_array_equal(pixels.reshape(64, 64, 3), drawn_crop(5, i, 64))


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in froms for alias in node.names}
    plain = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    return names | {alias.name for node in plain for alias in node.names}


def test_training_and_held_out_share_neither_face_nor_kind():
    """The sets of reports are written in Pillow's scalable face: nothing here is."""
    for path in FOLDER.glob("*.py"):
        if path.name != "held_out.py":
            assert "PIL.ImageFont" not in imports(path), path
            assert "codax.train.drawn.held_out" not in imports(path), path
        assert "load_default(" not in path.read_text(), path
    ours = {n for n in imports(FOLDER / "held_out.py") if n.startswith("codax.")}
    drawing = "codax.train.drawn.canvas."
    assert ours == {f"{drawing}{name}" for name in ("Canvas", "Colour", "hsv")}


def test_held_out_pictures_are_twelve_and_stay():
    first, again = held_out_drawn(), held_out_drawn()
    assert [p.shape for p in first] == [(512, 512, 3)] * 12
    assert {p.dtype for p in first} == {np.dtype(np.uint8)}
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len({p.tobytes() for p in first}) == 12
    # None so plain that a codec gives it back at once.
    assert min(len(zlib.compress(p.tobytes())) for p in first) > 5000
    assert sum(np.all(p == 255, -1).mean() > 0.2 for p in first) >= 3


def test_blending_is_exact_and_cut_at_the_edges():
    canvas = Canvas(8, (200, 0, 9))
    canvas.blend(np.array([[0, 128, 255]], np.uint8), -1, 2, (100, 255, 9))
    row = canvas.pixels[2].tolist()
    assert row[0] == [(200 * 127 + 100 * 128 + 127) // 255, 128, 9]
    assert row[1:3] == [[100, 255, 9], [200, 0, 9]]
    before = canvas.pixels.copy()
    for x, y in ((-3, 0), (8, 0), (0, -1), (0, 8)):
        canvas.blend(np.full((1, 3), 255, np.uint8), x, y, (1, 2, 3))
    canvas.polygon([(-9, -9), (-5, -9), (-5, -5)], (1, 2, 3))
    canvas.rectangle(20, 20, 4, 4, (1, 2, 3))
    np.testing.assert_array_equal(canvas.pixels, before)
    canvas.rectangle(-5, -5, 50, 50, (1, 2, 3))
    assert np.all(canvas.pixels == (1, 2, 3))


def test_smooth_shapes_have_grey_edges_and_jagged_ones_none():
    for smooth in (True, False):
        canvas = Canvas(64, (255, 255, 255), smooth=smooth)
        canvas.ellipse(10.3, 9.6, 40, 37, (0, 0, 0))
        canvas.line([(0, 3), (63, 40)], (0, 0, 0), 2)
        shades = len(np.unique(canvas.pixels))
        assert (shades > 8) is smooth
        assert smooth or shades == 2


def test_letters_have_ink_inside_of_their_masks():
    face = Face(size=20, serif=True, contrast=0.4, slant=0.2, round=True)
    writer = Writer(face)
    chars = [*_table(), chr(SCRIPT + 5)]
    assert len(chars) > 85
    masks = {char: writer.mask(char) for char in chars}
    for char, mask in masks.items():
        assert mask.shape[0] == face.height
        assert mask.max() > 200, char
        assert not mask[0].any(), char
        assert not mask[-1].any(), char
        assert not mask[:, -1].any(), char
    # I and l are one stroke each, as in many faces.
    assert len({mask.tobytes() for mask in masks.values()}) == len(chars) - 1


def test_edges_of_letters_are_of_three_kinds():
    found = {
        edge: Writer(Face(size=9, edge=edge)).mask("Sax")
        for edge in ("grey", "jagged", "stripes")
    }
    assert len(np.unique(found["grey"])) > 5
    assert set(np.unique(found["jagged"])) == {0, 255}
    assert found["stripes"].shape[2] == 3
    assert np.ptp(found["stripes"].astype(int), axis=-1).max() > 60
    # Hinted: every stem of a row of them covers the same whole pixels.
    hinted = Writer(Face(size=11.3, weight=1.3, hinted=True)).mask("lll")
    middle = hinted[hinted.shape[0] // 2]
    assert set(middle[middle > 0].tolist()) == {255}


def test_words_are_of_chance_and_end():
    first = words(np.random.default_rng(1), 300)
    assert len(first) == 300
    assert len(set(first)) > 250
    assert first == words(np.random.default_rng(1), 300)
    signs = words(np.random.default_rng(1), 30, script=True)
    assert all(ord(char) >= SCRIPT for char in "".join(signs))


def set_of(picture: np.ndarray) -> ResidentSet:
    height, width, _ = picture.shape
    offsets, heights, widths = (np.array([n], np.int32) for n in (0, height, width))
    return ResidentSet(
        flat=picture.reshape(-1, 3), offsets=offsets, heights=heights, widths=widths
    )


def cutter(drawn: float, rescale: float):
    """The part of a step that makes its crops, without networks."""
    trainer = Trainer.__new__(Trainer)
    trainer.config = TrainConfig(
        codec="factorized",
        preset="small",
        model=small_config("factorized"),
        drawn=drawn,
        rescale=rescale,
    )
    return trainer._crops


@pytest.mark.parametrize(
    ("share", "batch", "count"),
    [(0.15, 16, 2), (0.2, 16, 3), (0.5, 2, 1), (1.0, 4, 4)],
)
def test_a_steps_crops_have_their_share_exactly(share, batch, count, monkeypatch):
    asked = []

    def stand_in(flat, offsets, heights, widths, key, batch, size, rescale):
        asked.append((int(flat[0, 0]), batch, rescale, jax.random.key_data(key)))
        return jnp.full((batch, size, size, 3), flat[0, 0])

    monkeypatch.setattr("codax.train.trainer.crop_batch", stand_in)
    cut = cutter(share, rescale=0.7)
    key = jax.random.key(3)
    data, drawn = (set_of(np.full((8, 8, 3), v, np.uint8)).arrays() for v in (7, 9))
    streamed = np.full((batch - count, 64, 64, 3), 7, np.uint8)
    for source in (data, (streamed,)):
        x = np.asarray(cut(source, drawn, key, batch, 64))
        assert x.shape == (batch, 64, 64, 3)
        assert x[:, 0, 0, 0].tolist() == [7] * (batch - count) + [9] * count
    # Drawn crops are never rescaled and have keys of their own.
    assert {call[2] for call in asked if call[0] == 9} <= {0.0}
    assert {call[2] for call in asked if call[0] == 7} <= {0.7}
    if count < batch:
        assert not np.array_equal(asked[0][3], asked[1][3])
    # Without a drawn set all are the data's.
    asked.clear()
    cut(data, (), key, batch, 64)
    assert [call[:2] for call in asked] == [(7, batch)]


def test_drawn_crops_are_windows_that_keep_their_edges():
    cut = cutter(0.5, rescale=0.0)
    board = np.indices((96, 96)).sum(0)[..., None].repeat(3, -1) % 2 * 255
    board[:, 50:, 2] = 90
    pictures = board.astype(np.uint8), np.full((64, 64, 3), 7, np.uint8)
    drawn, data = (tuple(map(jnp.asarray, set_of(p).arrays())) for p in pictures)
    jitted = jax.jit(lambda key: cut(data, drawn, key, 8, 64))
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        x, again, other = (np.asarray(jitted(jax.random.key(k))) for k in (1, 1, 2))
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    assert np.all(x[:4] == 7)
    assert set(np.unique(x[4:])) == {0, 90, 255}
    np.testing.assert_array_equal(x, again)
    assert not np.array_equal(x[4:], other[4:])
