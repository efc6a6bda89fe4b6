"""Streamed crops: by number, from folders, tars and ArrayRecords, by any workers."""

import dataclasses
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from test_train_data import position_picture

from codax.errors import ConfigError, ImageError
from codax.train.config import TrainConfig
from codax.train.folders import run_pictures
from codax.train.pictures import find_pictures, find_streamed, read_rgb, split
from codax.train.record import digest_of
from codax.train.shards import INDEX, packed_pictures
from codax.train.streaming import Samples, batches


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    for i, (height, width) in enumerate([(60, 200), (90, 40), (64, 64)]):
        picture = Image.fromarray(position_picture(height, width, 50 * i))
        picture.save(place / f"{i}.png")
    return place


@pytest.fixture
def tar(folder):
    """The same three pictures as a shard of webdataset."""
    path = folder.parent / "photos-000.tar"
    with tarfile.open(path, "w") as file:
        for i in range(3):
            file.add(folder / f"{i}.png", f"{i:06}.png")
            file.add(__file__, f"{i:06}.json")
        file.add(folder, "folder.png", recursive=False)
    return path


@pytest.fixture
def records(folder):
    """The same as an ArrayRecord."""
    from array_record.python.array_record_module import ArrayRecordWriter

    path = folder.parent / "photos.array_record-00000-of-00001"
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for i in range(3):
        writer.write((folder / f"{i}.png").read_bytes())
    writer.close()
    return path


def first(pictures, count, **how):
    """So many batches of four crops."""
    made = batches(Samples(pictures, 32, 5), 32, 4, **how)
    found = [next(made) for _ in range(count)]
    made.close()
    return np.concatenate(found)


def test_samples_are_a_function_of_seed_and_number(folder):
    """Whatever the workers, the start, and which part of a batch a host loads."""
    paths = find_pictures([folder])
    samples = [Samples(paths, 32, 5).sample(i) for i in range(12)]
    assert all(sample.shape == (32, 32, 3) for sample in samples)
    assert np.array_equal(first(paths, 3, workers=0), samples)
    assert np.array_equal(first(paths, 2, workers=2, step=1), samples[4:])
    part = first(paths, 2, workers=0, share=range(3, 6))
    assert np.array_equal(part[[0, 3]], [samples[3], samples[7]])
    assert part[[1, 2, 4, 5]].max() == 0
    other = Samples(paths, 32, 6)
    assert not np.array_equal(samples, [other.sample(i) for i in range(12)])


def test_shards_give_what_folders_give(folder, tar, records):
    paths = find_pictures([folder])
    for shard in (tar, records):
        packed = find_streamed([shard])
        assert len(packed) == 3
        for one, path in zip(packed, paths, strict=True):
            assert np.array_equal(read_rgb(one), read_rgb(path))
        assert np.array_equal(first(packed, 2, workers=0), first(paths, 2, workers=0))
    whole = find_streamed([folder.parent])
    assert len(whole) == 9
    assert len({str(picture) for picture in whole}) == 9
    training, held_out = split(whole, 4)
    assert len(training) == 5
    assert digest_of(held_out) == digest_of(held_out[::-1])
    assert digest_of(held_out) != digest_of(training[:4])


def test_a_run_streams_shards_only_when_it_says_so(folder, tar):
    config = TrainConfig(codec="factorized", preset="x", held_out=1)
    with pytest.raises(ConfigError, match="no folder; with"):
        run_pictures(config, [tar])
    training, held_out = run_pictures(dataclasses.replace(config, stream=True), [tar])
    assert len(training) == 2
    assert held_out[0].name.endswith(".png")
    for names in ([tar, folder / "absent"], [folder / "absent.tar"]):
        with pytest.raises(ConfigError, match="no such folder"):
            find_streamed(names)


def test_a_tar_is_indexed_once(tar, tmp_path, monkeypatch):
    before = packed_pictures(tar)
    beside = tar.with_name(tar.name + INDEX)
    assert beside.is_file()
    with monkeypatch.context() as patch:
        patch.setattr("tarfile.open", lambda *a: pytest.fail("read again"))
        assert packed_pictures(tar) == before
    beside.write_bytes(b"damaged")
    assert packed_pictures(tar) == before
    with tarfile.open(tar, "a") as file:
        file.add(tmp_path / "files" / "0.png", "000009.png")
    assert len(packed_pictures(tar)) == 4


def test_the_list_of_a_tar_may_lie_in_the_cache(tar, tmp_path, monkeypatch):
    # As root may write anywhere, a folder stands where the list would.
    beside = tar.with_name(tar.name + INDEX)
    (beside / "x").mkdir(parents=True)
    before = packed_pictures(tar, tmp_path / "cache")
    assert [path.name[16:] for path in (tmp_path / "cache").iterdir()] == [INDEX]
    monkeypatch.setattr("tarfile.open", lambda *a: pytest.fail("read again"))
    assert packed_pictures(tar, tmp_path / "cache") == before


@pytest.mark.parametrize("name", ["a.tar", "a.arrayrecord"])
def test_damaged_shards_are_one_line(tmp_path, tar, name):
    for data in (b"nothing", tar.read_bytes()[: tar.stat().st_size // 3]):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError, match=f"{name}: no readable") as error:
            find_streamed([tmp_path / name])
        assert "\n" not in str(error.value)


def test_a_shard_that_changed_while_it_is_read_is_passed_over(tar):
    packed = packed_pictures(tar)
    with tar.open("r+b") as file:
        file.truncate(packed[1].place + 9)
    samples = Samples(packed, 16, 0)
    assert samples.sample(0).shape == (16, 16, 3)
    for i in range(6):
        samples.sample(i)
    assert sorted(samples.skipped) == [1, 2]
    assert "000001.png: 9 of" in samples.skipped[1]


def test_who_does_not_stream_needs_no_grain(tmp_path):
    script = (
        "import sys; sys.modules['grain'] = None\n"
        "import codax.train.session\n"
        "from codax.errors import UnsupportedError\n"
        "try: import codax.train.streaming\n"
        "except UnsupportedError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "stream=true needs grain, which is not installed; `pip install 'codax[data]'` "
        "brings it\n"
    )


def test_streaming_visits_every_picture_in_each_pass(folder):
    stream = Samples(find_pictures([folder]), 8, seed=0, rescale=0.0)
    for turn in range(4):
        seen = {int(stream.sample(3 * turn + i)[0, 0, 2]) for i in range(3)}
        assert seen == {0, 50, 100}


def test_streaming_augments(folder):
    stream = Samples(find_pictures([folder])[:1], 24, seed=0, rescale=0.5)
    samples = [stream.sample(i).astype(int) for i in range(64)]
    spans = [np.ptp(sample[..., 1]) for sample in samples]
    assert 16 < spans.count(23) < 50
    assert 38 < max(spans) <= 48
    assert 16 < sum(np.ptp(s[0, :, 0]) > 0 for s in samples) < 48
    # Both directions, down and across.
    assert {np.sign(s[-1, -1, c] - s[0, 0, c]) for s in samples for c in (0, 1)} == {
        -1,
        1,
    }


def test_streaming_skips_damaged_pictures(folder):
    (folder / "bad.png").write_bytes(b"no")
    paths = find_pictures([folder])
    stream = Samples(paths, 128, seed=0)
    assert all(stream.sample(i).shape == (128, 128, 3) for i in range(8))
    assert ["bad.png: not a picture" in said for said in stream.skipped.values()] == [
        True
    ]
    with pytest.raises(ImageError, match="0 of 1 pictures can be read"):
        Samples([folder / "bad.png"], 8, seed=0).sample(0)
    with pytest.raises(ConfigError, match="0 pictures"):
        Samples([], 8, seed=0)
