"""Training data: folders, the held-out pictures, and crops of the resident set."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from codax.errors import ConfigError
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet, crop_batch
from codax.train.folders import run_pictures
from codax.train.pictures import find_pictures, read_rgb, split


def position_picture(height: int, width: int, blue: int) -> np.ndarray:
    """Red holds the row, green the column, blue the picture's number."""
    rows, columns = np.mgrid[:height, :width]
    blues = np.full((height, width), blue)
    return np.stack([rows, columns, blues], -1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for i, (height, width) in enumerate([(60, 200), (90, 40), (64, 64)]):
        picture = Image.fromarray(position_picture(height, width, 50 * i))
        picture.save(tmp_path / f"{i}.png")
    return tmp_path


@pytest.fixture
def crops():
    return jax.jit(crop_batch, static_argnums=(5, 6, 7))


def test_find_pictures(folder):
    (folder / "sub").mkdir()
    (folder / "notes.txt").write_text("no picture")
    Image.new("L", (3, 3)).save(folder / "sub" / "A.JPG")
    names = [p.name for p in find_pictures([folder, folder / "sub"])]
    assert names == ["0.png", "1.png", "2.png", "A.JPG"]


def test_folders_without_pictures_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="no picture found"):
        find_pictures([tmp_path])
    with pytest.raises(ConfigError, match="no such folder"):
        find_pictures([tmp_path / "absent"])


def test_a_cache_that_cannot_be_written_costs_nothing(folder, tmp_path):
    """A home that is read-only, or full."""
    (tmp_path / "file").write_text("")
    paths = find_pictures([folder])
    resident = ResidentSet.load(paths, cache=tmp_path / "file" / "x.npz")
    assert len(resident) == 3
    script = (
        "import sys; from pathlib import Path; from codax.train.data import *;"
        "from codax.train.pictures import find_pictures;"
        "paths = find_pictures([sys.argv[1]]);"
        "print(len(ResidentSet.load(paths, cache=Path(sys.argv[1], 'x.npz'))))"
    )
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; '{sys.executable}' -c \"$0\" $1", script, folder],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "3\n", done.stderr
    assert not list(folder.glob("*.npz")) + list(folder.glob(".codax*"))


def test_a_home_that_is_not_there_is_told(monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", no_home)
    with pytest.raises(ConfigError, match="there is no home folder"):
        run_pictures(TrainConfig(codec="factorized", preset="x", data=("~/photos",)))


def test_split_follows_the_bytes_not_the_names(folder):
    training, held_out = split(find_pictures([folder]), 1)
    assert len(training) == 2
    content = held_out[0].read_bytes()
    held_out[0].rename(folder / "zz.png")
    assert split(find_pictures([folder]), 1)[1][0].read_bytes() == content
    with pytest.raises(ConfigError, match="held_out: 3 of 3"):
        split(find_pictures([folder]), 3)


def test_read_rgb_of_other_modes(tmp_path):
    grey = np.arange(12, dtype=np.uint16).reshape(3, 4) * 4096
    Image.fromarray(grey).save(tmp_path / "16.png")
    assert np.array_equal(read_rgb(tmp_path / "16.png")[..., 1], grey >> 8)
    for mode in ("1", "L", "LA", "P", "RGBA"):
        Image.new(mode, (5, 3)).save(tmp_path / "m.png")
        assert read_rgb(tmp_path / "m.png").shape == (3, 5, 3)
    Image.new("CMYK", (5, 3)).save(tmp_path / "m.jpg")
    assert read_rgb(tmp_path / "m.jpg").shape == (3, 5, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (5, 3)).save(tmp_path / "m.jpg", exif=exif)
    assert read_rgb(tmp_path / "m.jpg").shape == (5, 3, 3)


def test_damaged_pictures_are_skipped_and_counted(folder):
    whole = (folder / "0.png").read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("not a picture")
    resident = ResidentSet.load(find_pictures([folder]))
    assert len(resident) == 3
    assert len(resident.skipped) == 2
    assert "half.png" in resident.skipped[0]
    with pytest.raises(ConfigError, match="0 of 1 pictures could be read"):
        ResidentSet.load([folder / "text.jpg"])


def test_resident_set_holds_the_pixels(folder):
    paths = find_pictures([folder])
    resident = ResidentSet.load(paths)
    for i, path in enumerate(paths):
        height, width = resident.heights[i], resident.widths[i]
        start = resident.offsets[i]
        pixels = resident.flat[start : start + height * width]
        assert np.array_equal(pixels.reshape(height, width, 3), read_rgb(path))


def test_cache_is_used_and_renewed(folder, monkeypatch):
    paths = find_pictures([folder])
    cache = folder / "cache" / "pixels.npz"
    first = ResidentSet.load(paths, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("codax.train.data.read_rgb", lambda path: 1 / 0)
        again = ResidentSet.load(paths, cache=cache)
    assert np.array_equal(first.flat, again.flat)
    assert len(ResidentSet.load(paths[:2], cache=cache)) == 2
    cache.write_bytes(b"damaged")
    assert len(ResidentSet.load(paths, cache=cache)) == 3


def test_crops_are_windows_of_one_picture(folder, crops):
    resident = ResidentSet.load(find_pictures([folder]))
    batch = crops(*resident.arrays(), jax.random.key(0), 64, 32, 0.0)
    assert batch.shape == (64, 32, 32, 3)
    assert batch.dtype == jnp.uint8
    turned = 0
    for crop in np.asarray(batch, int):
        assert np.ptp(crop[..., 2]) == 0
        if np.ptp(crop[0, :, 0]):  # transposed: the row runs along the second axis
            crop, turned = crop.swapaxes(0, 1), turned + 1
        down, right = np.diff(crop[..., 0], axis=0), np.diff(crop[..., 1], axis=1)
        assert np.ptp(down) == 0
        assert np.ptp(right) == 0
        assert {abs(down[0, 0]), abs(right[0, 0])} == {1}
    assert 16 < turned < 48


def test_pictures_are_weighted_by_area_and_reached_to_the_edges(folder, crops):
    resident = ResidentSet.load(find_pictures([folder]))
    batch = np.asarray(crops(*resident.arrays(), jax.random.key(1), 512, 16, 0.0))
    areas = resident.heights * resident.widths
    counts = [np.sum(batch[:, 0, 0, 2] == 50 * i) for i in range(3)]
    assert np.allclose(counts, 512 * areas / areas.sum(), atol=60)
    first = batch[batch[:, 0, 0, 2] == 0]
    assert first[..., 0].max() == 59
    assert first[..., 1].max() == 199
    assert first[..., :2].min() == 0


def test_reduced_crops_cover_more_of_the_picture(folder, crops):
    resident = ResidentSet.load(find_pictures([folder])[:1])
    batch = np.asarray(crops(*resident.arrays(), jax.random.key(2), 64, 24, 0.5), int)
    spans = [np.ptp(crop[..., 1]) for crop in batch]
    assert max(spans[32:]) == 23
    assert 38 < max(spans[:32]) <= 48
    assert len(set(spans[:32])) > 8  # many scales
    for crop in batch[:32]:  # a ramp stays a ramp
        steps = np.abs(np.diff(crop[..., 1], axis=int(np.ptp(crop[0, :, 1]) > 0)))
        assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("rescale", [0.0, 1.0])
def test_crops_of_smaller_pictures_repeat_the_edge(rescale, crops):
    picture = position_picture(5, 9, 7)
    flat = picture.reshape(-1, 3)
    one = [np.array([n], np.int32) for n in (0, 5, 9)]
    batch = np.asarray(crops(flat, *one, jax.random.key(0), 8, 16, rescale))
    assert set(batch[..., 2].ravel()) == {7}
    assert batch[..., 0].max() <= 8
    assert batch[..., 1].max() <= 8


def test_constant_pictures_stay_constant(crops):
    flat = np.full((50 * 50, 3), 201, np.uint8)
    one = [np.array([n], np.int32) for n in (0, 50, 50)]
    assert np.all(crops(flat, *one, jax.random.key(0), 16, 32, 1.0) == 201)


def test_crop_batch_in_scan_equals_single_calls(folder, crops):
    arrays = tuple(map(jnp.asarray, ResidentSet.load(find_pictures([folder])).arrays()))
    keys = jax.random.split(jax.random.key(3), 3)

    def body(carry, key):
        return carry, crop_batch(*arrays, key, 4, 16, 0.5)

    scanned = jax.lax.scan(body, None, keys)[1]
    for key, batch in zip(keys, scanned, strict=True):
        assert np.array_equal(batch, crops(*arrays, key, 4, 16, 0.5))
