"""The table of metrics, and metrics from outside it."""

import io
import json
import math
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codax.errors import ConfigError
from codax.evaluation.bdrate import bd_rate
from codax.evaluation.candidate import FileCodec
from codax.evaluation.curves import Curve, curve_of, published
from codax.evaluation.metric_table import METRICS, Metric, metrics_in
from codax.evaluation.metrics import psnr
from codax.evaluation.outside_metrics import find_metric, find_metrics
from codax.evaluation.summary import as_json, summarise
from codax.evaluation.sweep import measure, read_rows, sweep, write_csv

RATES = (0.1, 0.3, 0.8, 2.0)


def mean_error(reference, decoded):
    """Mean absolute error: lower is better."""
    return np.abs(reference.astype(float) - decoded).mean()


DISTANCE = Metric(name="distance", function=mean_error, higher_is_better=False)


def jpeg(name="jpeg", qualities=(20.0, 50.0, 75.0, 90.0), subsampling=2):
    def encode(picture, quality):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=round(quality), subsampling=subsampling)
        return buffer.getvalue()

    return FileCodec(
        name=name,
        settings={},
        qualities=qualities,
        encode=encode,
        decode=lambda data: Image.open(io.BytesIO(data)),
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for seed in range(2):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:64, :80]
        waves = [np.sin(x / (6 + c) + seed) + np.cos(y / (8 - c)) for c in range(3)]
        pixels = 128 + 45 * np.stack(waves, -1) + rng.normal(0, 6, (64, 80, 3))
        picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        picture.save(tmp_path / "in" / f"p{seed}.png")
    return tmp_path / "in"


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_an_unknown_name_is_an_error_and_stores_nothing(folder, tmp_path):
    for name, near in (
        ("lpips", None),
        ("ssimulacra", "ssimulacra2"),
        ("pnsr", "psnr"),
    ):
        with pytest.raises(ConfigError, match=f"metric '{name}' is unknown") as error:
            sweep(folder, [jpeg()], tmp_path / "rows", metrics=[name])
        assert near is None or one_line(error).endswith(f"; did you mean {near}?")
        with pytest.raises(ConfigError, match="is unknown"):
            Curve(name="x", metric=name, bpp=RATES, db=(1, 2, 3, 4))
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize("metrics", [[], [3], ["psnr", "psnr"]])
def test_no_metric_two_of_a_name_or_another_thing_are_refused(metrics):
    with pytest.raises(ConfigError, match=r"expected"):
        find_metrics(metrics)


@pytest.mark.parametrize("name", ["bpp", "a b", "", "x_reason", "1st", "../up"])
def test_names_that_cannot_stand_in_a_row_are_refused(name):
    with pytest.raises(ConfigError, match="metric name"):
        Metric(name=name, function=psnr)


def test_a_name_of_the_table_cannot_be_taken():
    mine = Metric(name="psnr", function=mean_error)
    with pytest.raises(ConfigError, match="another one of this name"):
        find_metric(mine)
    assert find_metric(METRICS["psnr"]) is METRICS["psnr"]


def test_impossible_fields_are_refused():
    with pytest.raises(ConfigError, match="from < to"):
        replace(DISTANCE, interval=(3, 3))
    with pytest.raises(ConfigError, match="function is int"):
        Metric(name="x", function=7)


def test_scales_and_words():
    psnr_row, ms_ssim_row = METRICS["psnr"], METRICS["ms_ssim"]
    assert ms_ssim_row.on_scale(0.99) == pytest.approx(20)
    assert ms_ssim_row.on_scale(1.0) == math.inf
    assert psnr_row.on_scale(33.25) == 33.25
    assert psnr_row.text(31.234) == "31.23 dB"
    assert ms_ssim_row.text(0.9876543) == "0.98765 (19.08 dB)"
    assert (psnr_row.axis, psnr_row.span) == ("PSNR (dB, RGB)", "28 to 40 dB")
    assert METRICS["ssimulacra2"].axis == "SSIMULACRA2"
    assert DISTANCE.axis == "distance, lower is better"
    with pytest.raises(ConfigError, match="its scale fails at -1"):
        replace(DISTANCE, scale=math.log).on_scale(-1.0)


def test_ones_own_metric_goes_all_the_way(folder, tmp_path):
    """No decibels of it, no infinity, and a lower value counts as better."""
    codecs = [jpeg(), jpeg("full", subsampling=0)]
    result = sweep(folder, codecs, tmp_path / "rows", metrics=[DISTANCE, "psnr"])
    row = result.rows[0]
    picture = np.asarray(Image.open(folder / "p0.png"))
    back = jpeg().decode(jpeg().encode(Image.fromarray(picture), 20))
    assert row["distance"] == mean_error(picture, np.asarray(back))
    assert result.metrics == (DISTANCE, METRICS["psnr"])

    mean = curve_of(result.rows, "jpeg", DISTANCE)
    values = [
        r["distance"] for r in result.rows if (r["codec"], r["quality"]) == ("jpeg", 20)
    ]
    assert mean.db[0] == pytest.approx(np.mean(values))
    assert list(mean.db) == sorted(mean.db, reverse=True)

    plain, full = summarise(result.rows, "jpeg", result.metrics)
    assert plain.bd["distance"].percent == pytest.approx(0, abs=1e-9)
    assert full.bd["distance"].percent is not None
    assert not full.bd["distance"].spans
    part = f"({full.bd['distance'].low:.3f} to {full.bd['distance'].high:.3f})"
    assert str(full.bd["distance"]).endswith(part)
    # The first metric rules what is said of single pictures.
    assert (
        full.by_picture.pictures
        != summarise(result.rows, "jpeg")[1].by_picture.pictures
    )
    assert json.loads(json.dumps(as_json([plain, full], "jpeg", {})))[
        "intervals_db"
    ] == {
        "distance": None,
        "psnr": [28.0, 40.0],
    }
    write_csv(result.rows, tmp_path / "rows.csv", result.metrics)
    head = (tmp_path / "rows.csv").read_text().splitlines()[0]
    assert head.endswith("bpp,psnr,ms_ssim,ssim,distance,encode_s,decode_s")


def test_lower_is_better_is_the_mirror_of_higher_is_better():
    down = replace(DISTANCE, interval=(1.0, 4.0))
    up = Metric(name="up", function=psnr, interval=(-4.0, -1.0))
    values = ((5, 3, 2, 0.5), (4.5, 2.5, 1.5, 0.4))
    a, b = (Curve(name="x", metric=down, bpp=RATES, db=v) for v in values)
    c, d = (Curve(name="x", metric=up, bpp=RATES, db=[-x for x in v]) for v in values)
    below, above = bd_rate(a, b), bd_rate(c, d)
    assert below.percent == pytest.approx(above.percent)
    assert below.percent < 0
    assert below.spans
    assert (below.low, below.high) == (1.0, 4.0)
    far = Curve(name="far", metric=down, bpp=RATES, db=(0.4, 0.3, 0.2, 0.1))
    nothing = bd_rate(a, far)
    assert nothing.percent is None
    assert "share no part of 1 to 4" in nothing.notes[0]


def test_the_interval_of_ssimulacra2_rules_its_bd_rate():
    anchor, test = (
        Curve(name="x", metric="ssimulacra2", bpp=RATES, db=values)
        for values in ((20, 50, 70, 90), (35, 60, 80, 92))
    )
    rate = bd_rate(anchor, test)
    assert (rate.low, rate.high, rate.spans) == (35.0, 85.0, False)
    assert str(rate).endswith("(35.0 to 85.0)")
    assert published("compressai/vtm", "ssimulacra2") is None


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("0.5", "returned str"),
        (None, "returned NoneType"),
        (math.nan, "returned NaN"),
        (np.zeros(3), "returned ndarray"),
        (math.inf, "infinite for unequal pictures"),
    ],
)
def test_a_function_without_a_number_ends_the_sweep(folder, tmp_path, found, message):
    mine = Metric(name="mine", function=lambda a, b: found)
    with pytest.raises(ConfigError, match=message) as error:
        sweep(folder, [jpeg()], tmp_path / "rows", metrics=["psnr", mine])
    assert "p0.png, jpeg at 20: metric mine" in one_line(error)
    assert read_rows(tmp_path / "rows") == []


def test_a_function_that_raises_ends_the_sweep_in_one_line(folder, tmp_path):
    def broken(reference, decoded):
        raise ZeroDivisionError("in\ntwo lines")

    with pytest.raises(ConfigError, match="failed with ZeroDivisionError") as error:
        sweep(
            folder,
            [jpeg()],
            tmp_path / "rows",
            metrics=[Metric(name="b", function=broken)],
        )
    one_line(error)


def test_what_float_takes_is_a_number():
    picture = np.zeros((8, 8, 3), np.uint8)
    for found in (3, np.float32(3), np.array(3)):
        mine = Metric(name="mine", function=lambda a, b, found=found: found)
        assert measure(picture, picture, [mine]) == {"mine": 3.0}


def test_a_picture_below_the_smallest_side_has_a_reason(folder, tmp_path):
    def never(reference, decoded):
        raise AssertionError

    mine = Metric(name="mine", function=never, smallest_side=65, label="Mine")
    result = sweep(folder, [jpeg()], tmp_path / "rows", metrics=[mine])
    reason = "Mine is not defined below 65 pixels a side"
    assert all(r["mine"] is None and r["mine_reason"] == reason for r in result.rows)
    summary = summarise(result.rows, "jpeg", [mine])[0]
    assert summary.curves == {}
    assert summary.reasons == (f"mine has no curve: {reason}",)


def test_equal_pictures_may_be_infinitely_good():
    picture = np.zeros((8, 8, 3), np.uint8)
    mine = Metric(name="mine", function=psnr)
    assert measure(picture, picture, [mine]) == {
        "mine": None,
        "mine_reason": "equal pictures",
    }


FILE = """
from codax.evaluation.metric_table import Metric

calls = []
number = 7

def spread(reference, decoded):
    return FACTOR * float(reference.std())

distance = Metric(
    name="distance",
    function=lambda a, b: abs(a.astype(float) - b).mean(),
    higher_is_better=False,
    label="Mean error",
)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE.replace("FACTOR", "1"))
    return path


def test_a_file_gives_a_function_or_a_metric(file):
    spread, distance = find_metrics([f"{file}:spread", f"{file}:distance"])
    assert (spread.name, spread.higher_is_better, spread.interval) == (
        "spread",
        True,
        None,
    )
    assert (distance.label, distance.higher_is_better) == ("Mean error", False)
    assert spread.version == distance.version != ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}:spraed", "defines no spraed; did you mean spread"),
        ("{}:number", "is int; expected a Metric or a function"),
        ("{}", "expected FILE.py:NAME"),
        ("{}/none.py:spread", "no such file"),
        (":spread", "expected FILE.py:NAME"),
    ],
)
def test_files_that_do_not_help_are_told_in_one_line(file, text, message):
    with pytest.raises(ConfigError, match=message) as error:
        find_metric(text.format(file))
    one_line(error)


def test_a_file_that_fails_is_told_in_one_line(tmp_path):
    for text, kind in (("1 / 0", "ZeroDivisionError"), ("a b", "SyntaxError")):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(ConfigError, match=f"bad.py: failed with {kind}") as error:
            find_metric(f"{tmp_path / 'bad.py'}:x")
        one_line(error)


def test_a_changed_file_is_measured_again(folder, tmp_path, file):
    def run():
        return sweep(
            folder, [jpeg()], tmp_path / "rows", metrics=["psnr", f"{file}:spread"]
        )

    first = run()
    assert (first.measured, run().measured) == (8, 0)
    file.write_text(FILE.replace("FACTOR", "2"))
    again = run()
    assert again.measured == 8
    assert again.rows[0]["spread"] == 2 * first.rows[0]["spread"]


def test_an_installed_package_offers_metrics(tmp_path, monkeypatch):
    (tmp_path / "pleasing.py").write_text("def score(a, b):\n    return 1.5\nbad = 3\n")
    about = tmp_path / "pleasing-2.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pleasing\nVersion: 2.1\n"
    )
    (about / "entry_points.txt").write_text(
        "[codax.metrics]\npleasing = pleasing:score\nbad = pleasing:bad\n"
        "gone = pleasing_gone:x\npsnr = pleasing:score\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = find_metric("pleasing")
    assert (found.name, found.version) == ("pleasing", "pleasing 2.1")
    assert found(None, None) == 1.5
    # The table comes first.
    assert find_metric("psnr") is METRICS["psnr"]
    for name, message in (
        ("bad", "is int; expected"),
        ("gone", "failed with ModuleNotFoundError"),
        ("pleasng", "did you mean pleasing"),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            find_metric(name)
        one_line(error)


def block(words):
    """The block of code in the documents that holds some words."""
    text = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text()
    (found,) = [b for b in re.findall(r"```python\n(.*?)```", text, re.S) if words in b]
    return found


def test_the_documented_file_of_metrics_works(tmp_path):
    (tmp_path / "mine.py").write_text(block("def edges"))
    edges, error = find_metrics(
        f"{tmp_path}/mine.py:{n}" for n in ("edges", "mean_error")
    )
    picture = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    other = picture // 2
    assert edges(picture, picture) == pytest.approx(1)
    assert edges(picture, other) < 1
    assert (error(picture, picture), error.higher_is_better) == (0, False)
    assert error(picture, other) > 0


def test_the_documented_lpips_and_dists_are_metrics(tmp_path, monkeypatch):
    """With stand-ins for PyTorch and the two packages, which need weights."""
    calls = []

    def network(**options):
        return lambda a, b, **more: calls.append((options, more)) or 0.25

    class Tensor(np.ndarray):
        def permute(self, *axes):
            return self.transpose(axes)

        def float(self):
            return self.astype(np.float32)

    torch = types.ModuleType("torch")
    torch.no_grad = lambda: lambda function: function
    torch.tensor = lambda array: array.view(Tensor)
    for name, entry in (("lpips", "LPIPS"), ("piq", "DISTS")):
        module = types.ModuleType(name)
        setattr(module, entry, network)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "torch", torch)
    (tmp_path / "learned_metrics.py").write_text(block("import lpips"))
    names = ("lpips_metric", "dists_metric")
    found = find_metrics(f"{tmp_path}/learned_metrics.py:{name}" for name in names)
    picture = np.zeros((64, 64, 3), np.uint8)
    assert [metric(picture, picture) for metric in found] == [0.25, 0.25]
    assert [metric.name for metric in found] == ["lpips", "dists"]
    assert not any(metric.higher_is_better for metric in found)
    assert calls == [({"net": "alex", "verbose": False}, {"normalize": True}), ({}, {})]


def test_metrics_in_rows_are_those_of_the_table():
    rows = [{"picture": "a", "ssim": None}, {"psnr": 3, "mine": 4}]
    assert [metric.name for metric in metrics_in(rows)] == ["psnr", "ssim"]
    assert metrics_in([]) == ()
