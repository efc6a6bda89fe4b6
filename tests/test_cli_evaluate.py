"""`codax evaluate` and `codax compare` from the command line."""

import json
import os

import fake_codec
import numpy as np
import pytest
from PIL import Image

import codax.cli
from codax.evaluation import extras
from codax.evaluation.metric_table import METRICS


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for seed in range(2):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:96, :112]
        pixels = 128 + 60 * np.sin(x / 7 + seed)[..., None] * np.cos(y / 9)[..., None]
        pixels = np.clip(pixels + rng.normal(0, 5, (96, 112, 3)), 0, 255)
        picture = Image.fromarray(pixels.astype(np.uint8))
        picture.save(tmp_path / "in" / f"p{seed}.png")
    return tmp_path / "in"


def run(*words):
    return codax.cli.main([str(word) for word in words])


def test_evaluate_writes_a_report_and_goes_on(folder, tmp_path, capsys):
    report = tmp_path / "report"
    words = ("evaluate", folder, "--codecs", "jpeg,webp", "-o", report)
    assert run(*words, "--metrics", "psnr", "--pictures", 1) == 0
    out = capsys.readouterr().out
    assert "BD-rate against jpeg" in out
    assert "webp" in out
    names = {path.name for path in report.iterdir()}
    tables = {"rows.csv", "rows.jsonl", "bd.csv", "bd.tex"}
    assert names == {"report.html", "run.json", "plots", *tables}
    before = (report / "rows.jsonl").read_text()
    assert run(*words, "--metrics", "psnr", "--pictures", 0, "--json") == 0
    assert (report / "rows.jsonl").read_text() == before
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["codec"] for line in lines] == ["jpeg", "webp"]
    assert lines[0]["bd_rate"]["psnr"]["percent"] == pytest.approx(0, abs=1e-9)
    run_facts = json.loads((report / "run.json").read_text())
    assert run_facts["conditions"]["pictures"] == "2"


def test_evaluate_a_model_by_its_short_name(folder, tmp_path, capsys, monkeypatch):
    fake_codec.install(monkeypatch, tmp_path / "checkpoints")
    monkeypatch.setattr("codax.cli.runtime.prepare_jax", lambda device: None)
    words = ["evaluate", folder, "--codecs", "fake-tiny,jpeg", "-o", tmp_path / "r"]
    words += ["--anchor", "fake-tiny", "--qualities", "10,40,70,85.5", "--json"]
    assert run(*words, "--pictures", 1, "--bpp", 4) == 0
    model, jpeg = map(json.loads, capsys.readouterr().out.splitlines())
    assert model["codec"] == "fake-tiny-v1"
    assert model["settings"]["weights"] == fake_codec.CARD["weights_hash"]
    assert len(model["curves"]["psnr"]["bpp"]) == 4
    assert model["bd_rate"]["psnr"]["percent"] == pytest.approx(0, abs=1e-9)
    assert jpeg["bd_rate"]["psnr"]["percent"] != 0


def test_evaluate_against_a_published_curve(folder, tmp_path, capsys):
    words = ("evaluate", folder, "--codecs", "jpeg", "-o", tmp_path / "r")
    assert run(*words, "--anchor", "compressai/vtm", "--pictures", 0) == 0
    assert "BD-rate against compressai/vtm" in capsys.readouterr().out


def test_evaluate_skips_unreadable_pictures_with_a_count(folder, tmp_path, capsys):
    (folder / "x.png").write_bytes(b"nothing")
    words = ("evaluate", folder, "--codecs", "jpeg", "-o", tmp_path / "r")
    assert run(*words, "--pictures", 0, "--metrics", "psnr") == 1
    captured = capsys.readouterr()
    assert "1 pictures left out" in captured.err
    assert "jpeg" in captured.out


def test_a_folder_may_hold_anything(folder, tmp_path, capsys):
    os.symlink("nothing", folder / "link.png")
    (folder / "folder.jpg").mkdir()
    os.rename(folder / "p1.png", folder / os.fsdecode(b"\xff\n<b>.png"))
    words = ("evaluate", folder, "--codecs", "jpeg", "-o", tmp_path / "r")
    assert run(*words, "--metrics", "psnr", "--pictures", 2) == 0
    error = capsys.readouterr().err
    assert error.count("link.png: a link to nothing") == 1
    assert error.count("folder.jpg: a folder with the name of a file") == 1
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<b>.png" not in page


@pytest.mark.parametrize(
    ("missing", "words", "said"),
    [
        (
            ["bjontegaard", "matplotlib"],
            ["--codecs", "jpeg"],
            "codax evaluate needs bjontegaard and matplotlib, which are not installed",
        ),
        (
            ["imagecodecs"],
            ["--codecs", "jpeg,jxl"],
            "needs imagecodecs, which",
        ),
        (
            ["ssimulacra2"],
            ["--codecs", "jpeg", "--metrics", "psnr,ssimulacra2"],
            "evaluate needs ssimulacra2, which is not installed",
        ),
    ],
)
def test_missing_packages_are_named_before_any_work(
    missing, words, said, folder, tmp_path, capsys, monkeypatch
):
    there = extras.find_spec
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name in missing else there(name)
    )
    assert run("evaluate", folder, *words, "-o", tmp_path / "r") == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.endswith("pip install 'codax[evaluation]'\n")
    assert not (tmp_path / "r").exists()


def test_what_is_missing_for_a_plot_or_a_metric_is_named(folder, capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert run("plot", folder) == 1
    assert "codax plot needs matplotlib" in capsys.readouterr().err
    pictures = [folder / "p0.png", folder / "p1.png"]
    assert run("compare", *pictures, "--metrics", "ssimulacra2") == 1
    assert "codax compare needs ssimulacra2" in capsys.readouterr().err
    assert run("compare", *pictures) == 0


def test_a_codec_that_fails_on_one_picture_leaves_the_rest(
    folder, tmp_path, capsys, monkeypatch
):
    codec = fake_codec.install(monkeypatch, tmp_path / "checkpoints")
    monkeypatch.setattr("codax.cli.runtime.prepare_jax", lambda device: None)
    Image.new("RGB", (40, 30), (90, 90, 200)).save(folder / "p2.png")
    compress = codec.coder.compress

    def failing(rgb, quality, **effort):
        if rgb.shape == (30, 40, 3):
            raise RuntimeError("out of luck")
        return compress(rgb, quality)

    codec.coder.compress = failing
    words = ["evaluate", folder, "--codecs", "fake-tiny,jpeg", "-o", tmp_path / "r"]
    words += ["--metrics", "psnr", "--qualities", "10,40,70,85", "--bpp", 4]
    assert run(*words, "--pictures", 3) == 1
    captured = capsys.readouterr()
    assert "p2.png: fake-tiny-v1 at 10: out of luck" in captured.err
    assert "4 files failed" in captured.err
    assert "psnr over 2 of 3 pictures" in captured.err
    assert "fake-tiny-v1" in captured.out
    page = (tmp_path / "r" / "report.html").read_text()
    assert "4 files could not be made or decoded" in page
    # The next run tries those again, and only those.
    codec.coder.compress, codec.calls = compress, 0
    assert run(*words, "--pictures", 0) == 0
    assert codec.calls == 4 + 1  # One more to warm up on the picture's size.


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--codecs", "jpg"], "other codecs: jpeg"),
        (["--codecs", ","], "names no codec"),
        (["--codecs", "quadtree-tiny@e10"], "expected NAME@eN"),
        (["--codecs", "unknown@e8"], "unknown"),
        (["--codecs", "jpeg", "--qualities", "50"], "at least 4"),
        (["--codecs", "jpeg", "--qualities", "1,2,3,400"], "0..100"),
        (["--codecs", "jpeg", "--anchor", "compressai/vtn"], "did you mean"),
        (["--codecs", "jpeg", "--metrics", "vmaf"], "metric 'vmaf' is unknown"),
        (["--codecs", "jpeg", "--metrics", "psrn"], "did you mean psnr?"),
        (["--codecs", "jpeg", "--metrics", ","], "no metric"),
        (["--codecs", "jpeg", "--metrics", "ssim"], "such as psnr"),
        (["--codecs", "jpeg", "--metrics", "none.py:x"], "none.py: no such file"),
        (["--codecs", "jpeg", "--bpp", "0"], "no rate"),
    ],
)
def test_wrong_words_are_usage_errors(folder, tmp_path, capsys, words, message):
    assert run("evaluate", folder, "-o", tmp_path / "r", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_a_folder_of_other_files_is_not_written_into(folder, capsys):
    assert run("evaluate", folder, "--codecs", "jpeg", "-o", folder) == 2
    assert "other files" in capsys.readouterr().err


def test_missing_folder_is_an_error(tmp_path, capsys):
    words = ("evaluate", tmp_path / "no", "--codecs", "jpeg", "-o", tmp_path / "r")
    assert run(*words) == 1
    assert "not a folder" in capsys.readouterr().err


def test_compare_prints_metrics_and_writes_the_difference(folder, tmp_path, capsys):
    first, second = folder / "p0.png", folder / "p1.png"
    assert run("compare", first, second, "-o", tmp_path / "d.png") == 0
    out = capsys.readouterr().out
    assert "PSNR" in out
    assert "161 pixels" in out
    with Image.open(tmp_path / "d.png") as difference:
        assert difference.size == (112, 96)
    assert run("compare", first, second, "-o", tmp_path / "d.png") == 1
    assert "add -f" in capsys.readouterr().err
    assert run("compare", first, first, "--json", "-o", tmp_path / "d.png", "-f") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["psnr"] is None
    assert values["largest_difference"] == 0
    with Image.open(tmp_path / "d.png") as difference:
        assert difference.getextrema() == ((128, 128),) * 3


METRIC = """
import numpy as np
from codax.evaluation.metric_table import Metric

def score(reference, decoded):
    return -np.abs(reference.astype(float) - decoded).mean()

distance = Metric(
    name="distance",
    function=lambda a, b: -score(a, b),
    higher_is_better=False,
    scale=lambda value: value / 255,
    smallest_side=10,
)
large = Metric(name="large", function=score, smallest_side=4000)

def nothing(reference, decoded):
    return float("nan")
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(METRIC)
    return tmp_path / "mine.py"


def test_evaluate_by_a_metric_of_ones_own(folder, tmp_path, capsys, mine):
    report = tmp_path / "r"
    words = ["evaluate", folder, "--codecs", "jpeg,webp", "-o", report]
    words += ["--metrics", f"{mine}:distance,psnr,{mine}:large", "--pictures", 1]
    words += ["--keep-decoded", tmp_path / "kept"]
    assert run(*words) == 0
    captured = capsys.readouterr()
    assert "distance as far as both curves go, psnr 28 to 40 dB" in captured.out
    assert "large has no curve: large is not defined below 4000" in captured.err
    head = (report / "rows.csv").read_text().splitlines()[0]
    assert "psnr,ms_ssim,ssim,distance,large,encode_s" in head
    assert (report / "plots" / "rate_distance.svg").is_file()
    assert (report / "bd.csv").read_text().count("\n") == 3
    assert "webp & $" in (report / "bd.tex").read_text()
    facts = json.loads((report / "run.json").read_text())["conditions"]
    assert facts["metrics from outside"].startswith("distance (")
    with Image.open(tmp_path / "kept" / "p1.png_webp_q45.png") as picture:
        assert picture.size == (112, 96)


def test_evaluate_by_a_metric_without_a_number_is_one_line(
    folder, tmp_path, capsys, mine
):
    words = ["evaluate", folder, "--codecs", "jpeg", "-o", tmp_path / "r"]
    assert run(*words, "--metrics", f"{mine}:nothing") == 1
    err = capsys.readouterr().err
    assert err == (
        "codax: p0.png, jpeg at 5: metric nothing returned NaN; expected a number\n"
    )


def test_kept_pictures_may_not_lie_among_the_pictures(folder, tmp_path, capsys):
    words = ["evaluate", folder, "--codecs", "jpeg", "-o", tmp_path / "r"]
    assert run(*words, "--keep-decoded", folder / "kept") == 2
    assert "name a folder elsewhere" in capsys.readouterr().err


def test_compare_takes_metrics(folder, capsys, mine):
    pair = [folder / "p0.png", folder / "p1.png"]
    names = f"psnr,ssimulacra2,{mine}:distance"
    assert run("compare", *pair, "--metrics", names) == 0
    psnr, ssimulacra2, distance, _ = capsys.readouterr().out.splitlines()
    assert psnr.split()[2] == "dB"
    assert ssimulacra2.startswith("SSIMULACRA2 SSIMULACRA2 is not defined below 113")
    assert distance.startswith("distance    ")
    assert distance.endswith(")")
    assert run("compare", *pair, "--metrics", names, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["distance_scaled"] == pytest.approx(values["distance"] / 255)
    assert run("compare", *pair, "--metrics", f"{mine}:dist") == 2
    assert "did you mean distance?" in capsys.readouterr().err
    assert run("compare", *pair, "--metrics", f"{mine}:nothing") == 1
    assert "returned NaN" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_help_names_every_metric_of_the_table(command, capsys):
    assert run(command, "--help") == 0
    words = capsys.readouterr().out.replace(",", " ").replace("\n", " ").split()
    assert set(METRICS) <= set(words)


def test_compare_refuses_unequal_sizes_and_other_files(folder, tmp_path, capsys):
    Image.new("RGB", (5, 5)).save(tmp_path / "s.png")
    assert run("compare", folder / "p0.png", tmp_path / "s.png") == 1
    assert "5x5" in capsys.readouterr().err
    (tmp_path / "t.png").write_bytes(b"text")
    assert run("compare", folder / "p0.png", tmp_path / "t.png") == 1
    assert "t.png" in capsys.readouterr().err
