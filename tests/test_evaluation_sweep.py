"""Sweeps over generated pictures, with classical codecs and fakes."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from codax.errors import ConfigError, ImageError
from codax.evaluation import sweep as module
from codax.evaluation.candidate import FileCodec, learned
from codax.evaluation.classical import CLASSICAL, classical, jpeg_xl_distance
from codax.evaluation.metrics import psnr
from codax.evaluation.sweep import find_pictures, read_rows, sweep, write_csv


def photo(width=96, height=64, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (6 + c) + seed) + np.cos(y / (8 - c)) for c in range(3)]
    noise = rng.normal(0, 6, (height, width, 3))
    pixels = np.clip(128 + 45 * np.stack(waves, -1) + noise, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    photo(seed=1).save(tmp_path / "in" / "a.png")
    photo(80, 120, seed=2).save(tmp_path / "in" / "b.png")
    return tmp_path / "in"


def png_codec(**changes):
    """A codec that drops low bits and stores PNG."""

    def encode(picture, quality):
        buffer = io.BytesIO()
        step = 1 + int(100 - quality) // 4
        picture.point(lambda v: v // step * step).save(buffer, "PNG")
        return buffer.getvalue()

    fields = {
        "name": "fake",
        "settings": {"v": 1},
        "qualities": (20.0, 60.0, 80.0, 90.0),
        "encode": encode,
        "decode": lambda data: Image.open(io.BytesIO(data)),
    }
    return FileCodec(**(fields | changes))


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_codecs_give_files_and_rise_with_quality(name):
    codec = classical(name)
    picture = photo(176, 144)
    points = []
    for quality in codec.qualities[::4] + codec.qualities[-1:]:
        data = codec.encode(picture, quality)
        assert isinstance(data, bytes)
        decoded = codec.decode(data)
        assert (decoded.mode, decoded.size) == ("RGB", picture.size)
        points.append((len(data), psnr(np.asarray(picture), np.asarray(decoded))))
    assert points == sorted(points)
    assert points[-1][1] > points[0][1] + 3
    json.dumps(dict(codec.settings))


def test_unknown_codec_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean jpeg2000"):
        classical("jpeg200")


def test_jpeg_xl_distance_follows_cjxl():
    assert jpeg_xl_distance(90) == pytest.approx(1.0)
    assert jpeg_xl_distance(100) == 0
    assert jpeg_xl_distance(29.999) == pytest.approx(jpeg_xl_distance(30), abs=0.1)


def test_rows_hold_file_sizes_and_metrics(folder, tmp_path):
    codec = png_codec()
    result = sweep(folder, [codec], tmp_path / "out" / "rows.jsonl")
    assert len(result.rows) == 8
    assert not result.failures
    row = result.rows[0]
    size = len(codec.encode(module.open_picture(folder / "a.png"), 20))
    assert (row["bytes"], row["bpp"]) == (size, size * 8 / (96 * 64))
    assert row["ms_ssim"] is None
    assert "161" in row["ms_ssim_reason"]
    assert row["settings"] == {"v": 1}
    assert row["encode_s"] >= 0


def test_equal_pictures_have_no_psnr_but_a_reason(folder, tmp_path):
    result = sweep(
        folder, [png_codec(qualities=(100.0,))], tmp_path / "rows", metrics=["psnr"]
    )
    assert result.rows[0]["psnr"] is None
    assert result.rows[0]["psnr_reason"] == "equal pictures"
    assert "ssim" not in result.rows[0]


def test_an_interrupted_sweep_goes_on(folder, tmp_path):
    rows_path = tmp_path / "rows.jsonl"
    calls = []

    def counting(picture, quality):
        calls.append(quality)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return png_codec().encode(picture, quality)

    codec = png_codec(encode=counting)
    with pytest.raises(KeyboardInterrupt):
        sweep(folder, [codec], rows_path, metrics=["psnr"])
    with rows_path.open("a") as out:
        out.write('{"picture": "a.p')
    result = sweep(folder, [codec], rows_path, metrics=["psnr"])
    assert (len(result.rows), result.measured, len(calls)) == (8, 6, 9)
    assert len(read_rows(rows_path)) == 8


def test_changed_settings_pictures_and_metrics_are_measured_again(folder, tmp_path):
    rows_path = tmp_path / "rows.jsonl"
    codec = png_codec(qualities=(50.0,))
    sweep(folder, [codec], rows_path, metrics=["psnr"])
    assert sweep(folder, [codec], rows_path, metrics=["psnr"]).measured == 0
    assert sweep(folder, [codec], rows_path, metrics=["psnr", "ssim"]).measured == 2
    other = png_codec(qualities=(50.0,), settings={"v": 2})
    assert sweep(folder, [other], rows_path, metrics=["psnr"]).measured == 2
    photo(seed=9).save(folder / "a.png")
    assert sweep(folder, [other], rows_path, metrics=["psnr"]).measured == 1


def test_unreadable_pictures_and_failures_leave_the_rest(folder, tmp_path):
    (folder / "broken.png").write_bytes(b"no picture")

    def failing(picture, quality):
        if picture.size == (80, 120) and quality > 70:
            raise RuntimeError("out of luck")
        return png_codec().encode(picture, quality)

    result = sweep(folder, [png_codec(encode=failing)], tmp_path / "rows")
    assert list(result.unreadable) == ["broken.png"]
    assert len(result.rows) == 6
    assert [f["quality"] for f in result.failures] == [80, 90]
    assert result.failures[0]["error"] == "out of luck"


def test_a_decoded_picture_of_another_size_is_a_failure(folder, tmp_path):
    codec = png_codec(decode=lambda data: Image.new("RGB", (3, 3)))
    result = sweep(folder, [codec], tmp_path / "rows")
    assert not result.rows
    assert "3x3" in result.failures[0]["error"]


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(ImageError, match="no pictures"):
        find_pictures(tmp_path)
    with pytest.raises(ImageError, match="not a folder"):
        find_pictures(tmp_path / "none")
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(ImageError, match="none of 1"):
        sweep(tmp_path, [png_codec()], tmp_path / "rows")


def test_warm_up_runs_once_for_each_size(folder, tmp_path):
    calls = []

    class Codec:
        name = "quadtree-tiny-v1"

        @property
        def coder(self):
            return self

        weights_hash = bytes(6)
        qualities = (0, 100)
        layers = 1
        refines = False

        def encode(self, picture, quality=75, effort=4, fallback=True):
            calls.append((picture.size, quality))
            return png_codec().encode(picture, quality)

        def decode(self, data):
            return Image.open(io.BytesIO(data))

    codec = learned(Codec())
    result = sweep(folder, [codec], tmp_path / "r", qualities={codec.name: (5, 50)})
    assert len(result.rows) == 4
    assert [size for size, _ in calls].count((96, 64)) == 3
    assert codec.qualities == (5, 15, 25, 35, 45, 55, 65, 75, 85, 95)


def test_csv_has_a_line_for_each_row(folder, tmp_path):
    result = sweep(folder, [png_codec()], tmp_path / "rows", metrics=["psnr"])
    write_csv(result.rows, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert len(table) == 8
    assert float(table[3]["psnr"]) == result.rows[3]["psnr"]


def test_decoded_pictures_are_kept_by_picture_codec_and_quality(folder, tmp_path):
    (folder / "sub").mkdir()
    photo(seed=3).save(folder / "sub" / "c.png")
    kept, codec = tmp_path / "kept", png_codec(name="a/b")

    def run(codec):
        return sweep(
            folder, [codec], tmp_path / "r", metrics=["psnr"], keep_decoded=kept
        )

    assert run(codec).measured == 12
    names = {path.relative_to(kept).as_posix() for path in kept.rglob("*.*")}
    assert len(names) == 12
    assert {"a.png_a-b_q20.png", "sub/c.png_a-b_q90.png"} <= names
    original = module.open_picture(folder / "sub" / "c.png")
    with Image.open(kept / "sub" / "c.png_a-b_q60.png") as picture:
        expected = codec.decode(codec.encode(original, 60))
        assert np.array_equal(np.asarray(picture), np.asarray(expected))
    # What is there stays; what is gone, or of other settings, is made again.
    assert run(codec).measured == 0
    (kept / "a.png_a-b_q20.png").unlink()
    assert run(codec).measured == 1
    assert run(png_codec(name="a/b", settings={"v": 2})).measured == 12
    assert run(codec).measured == 12


def test_progress_counts_to_the_end(folder, tmp_path):
    seen = []
    sweep(
        folder,
        [png_codec()],
        tmp_path / "rows",
        progress=lambda done, total, what: seen.append((done, total)),
    )
    assert seen[0] == (0, 8)
    assert seen[-1] == (8, 8)
