"""Plots, summaries and the report page; the page also in a browser, where one is."""

import csv
import io
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from viewer_browser import chromium

from codax.errors import ConfigError, UnsupportedError
from codax.evaluation.bd_tables import bd_csv, bd_frame, bd_latex, bd_rows
from codax.evaluation.candidate import FileCodec
from codax.evaluation.metric_table import Metric
from codax.evaluation.plots import to_png
from codax.evaluation.report import (
    draw_plots,
    match_rate,
    shown_pictures,
    write_report,
)
from codax.evaluation.summary import as_json, conditions, summarise
from codax.evaluation.sweep import Sweep, sweep


def jpeg_like(name, subsampling):
    def encode(picture, quality):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=round(quality), subsampling=subsampling)
        return buffer.getvalue()

    return FileCodec(
        name=name,
        settings={"subsampling": subsampling, "text": "</script><b>"},
        qualities=(5.0, 30.0, 60.0, 80.0, 95.0),
        encode=encode,
        decode=lambda data: Image.open(io.BytesIO(data)),
    )


CODECS = [jpeg_like("plain", 0), jpeg_like("reduced", 2)]


def photo(width, height, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (6 + c) + seed) + np.cos(y / (8 - c)) for c in range(3)]
    noise = rng.normal(0, 4, (height, width, 3))
    pixels = np.clip(128 + 50 * np.stack(waves, -1) + noise, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    for seed in range(3):
        photo(200, 170, seed).save(folder / f"p{seed}.png")
    return folder, sweep(folder, CODECS, folder / "rows.jsonl")


def page_of(swept, path):
    folder, result = swept
    summaries = summarise(result.rows, "plain")
    pictures, failures = shown_pictures(
        folder, ["p0.png", "p2.png"], CODECS, result.rows, bpp=1.0
    )
    assert not failures
    write_report(
        path,
        result=result,
        summaries=summaries,
        anchor="plain",
        conditions={"command": "codax <evaluate>"},
        figures=draw_plots(summaries, "plain", ["compressai/vtm"]),
        pictures=pictures,
        bpp=1.0,
    )
    return path


def test_summary_holds_rates_seconds_and_settings(swept):
    plain, reduced = summarise(swept[1].rows, "plain")
    assert plain.bd["psnr"].percent == pytest.approx(0, abs=1e-9)
    assert abs(reduced.bd["psnr"].percent) > 1
    assert reduced.pictures == 3
    assert list(reduced.by_picture.pictures) == ["p0.png", "p1.png", "p2.png"]
    assert reduced.encode_s >= 0
    json.dumps(as_json([plain, reduced], "plain", {}))


def test_summary_compares_the_pictures_that_both_have(swept):
    rows = [
        row
        for row in swept[1].rows
        if not (row["codec"] == "reduced" and row["picture"] == "p1.png")
    ]
    full = summarise(rows, "plain")[1]
    only = summarise([r for r in rows if r["picture"] != "p1.png"], "plain")[1]
    assert full.bd["psnr"].percent == pytest.approx(only.bd["psnr"].percent)
    assert "psnr over 2 of 3 pictures" in full.reasons


def test_summary_with_too_few_points_has_a_reason_and_no_number(swept):
    rows = [row for row in swept[1].rows if row["quality"] < 70]
    summary = summarise(rows, "plain")[1]
    assert "psnr" not in summary.bd
    assert "at least 4" in summary.reasons[0]


def test_one_point_gives_a_message_and_a_page_without_a_number(swept, tmp_path):
    rows = [row for row in swept[1].rows if row["quality"] == 60]
    summaries = summarise(rows, "plain")
    assert all(s.bd == {} and s.by_picture is None for s in summaries)
    assert "has 1 usable points" in summaries[1].reasons[0]
    figures = draw_plots(summaries, "plain")
    assert set(figures) == {"rate_psnr", "rate_ms_ssim"}
    write_report(
        tmp_path / "page.html",
        result=Sweep(rows=rows),
        summaries=summaries,
        anchor="plain",
        conditions={},
        figures=figures,
        pictures=[],
        bpp=1,
    )
    text = (tmp_path / "page.html").read_text()
    assert "at least 4" in text
    assert '"psnr_text": "none"' in text


def test_summary_against_a_published_curve(swept):
    summary = summarise(swept[1].rows, "compressai/vtm")[0]
    assert summary.by_picture is None
    assert "psnr" in summary.bd
    with pytest.raises(ConfigError, match="unknown"):
        summarise(swept[1].rows, "nonsense")


def test_bd_rates_as_csv_and_latex(swept):
    summaries = summarise(swept[1].rows, "plain", ["psnr", "ms_ssim"])
    plain, reduced = csv.DictReader(io.StringIO(bd_csv(summaries, "plain")))
    rate = summaries[1].bd["psnr"]
    assert (reduced["codec"], reduced["anchor"]) == ("reduced", "plain")
    assert float(reduced["psnr_percent"]) == rate.percent
    assert float(reduced["psnr_low"]) == rate.low
    assert reduced["ms_ssim_spans"] == str(summaries[1].bd["ms_ssim"].spans)
    assert float(reduced["single_percent"]) == summaries[1].by_picture.mean
    assert abs(float(plain["psnr_percent"])) < 1e-9

    text = bd_latex([replace(s, name=f"{s.name}_1%") for s in summaries], "plain")
    assert "PSNR 28 to 40 dB; MS-SSIM 11 to 21 dB" in text.splitlines()[0]
    assert "codec & PSNR & MS-SSIM \\\\" in text
    assert f"reduced\\_1\\% & ${rate.percent:+.1f}$ ({rate.part}) &" in text
    nothing = [replace(summaries[0], bd={})]
    assert "plain & -- & -- \\\\" in bd_latex(nothing, "plain")
    assert bd_rows(nothing, "plain")[0]["psnr_percent"] is None


def test_bd_rates_as_a_frame(swept, monkeypatch):
    summaries = summarise(swept[1].rows, "plain")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnsupportedError, match="pip install pandas"):
        bd_frame(summaries, "plain")
    monkeypatch.undo()
    pandas = pytest.importorskip("pandas")
    frame = bd_frame(summaries, "plain")
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == ["plain", "reduced"]
    assert frame.loc["reduced", "psnr_percent"] == summaries[1].bd["psnr"].percent


def test_a_metric_of_ones_own_stands_on_the_page_and_in_the_plots(swept, tmp_path):
    folder = swept[0]
    mine = Metric(
        name="mine",
        function=lambda a, b: np.abs(a.astype(float) - b).mean(),
        higher_is_better=False,
        label="Mean error",
        digits=3,
        note="in levels",
    )
    result = sweep(folder, CODECS, tmp_path / "rows.jsonl", metrics=[mine, "psnr"])
    summaries = summarise(result.rows, "plain", result.metrics)
    figures = draw_plots(summaries, "plain", ["compressai/vtm"])
    assert set(figures) == {
        "rate_mine", "rate_psnr", "bd_mine", "bd_psnr", "rate_time", "pictures",
    }  # fmt: skip
    assert figures["rate_mine"].axes[0].get_ylabel() == "Mean error, lower is better"
    assert [line.get_label() for line in figures["rate_mine"].axes[0].lines] == [
        "plain", "reduced",
    ]  # fmt: skip
    pictures, failures = shown_pictures(
        folder, ["p0.png"], CODECS, result.rows, bpp=1.0, metrics=result.metrics
    )
    assert not failures
    assert re.fullmatch(
        r"Mean error \d\.\d{3}, PSNR \d\d\.\d\d dB",
        pictures[0]["files"]["plain"]["text"],
    )
    write_report(
        tmp_path / "page.html",
        result=result,
        summaries=summaries,
        anchor="plain",
        conditions={},
        figures=figures,
        pictures=pictures,
        bpp=1,
    )
    text = (tmp_path / "page.html").read_text()
    assert "Mean error as far as both curves go; PSNR 28 to 40 dB" in text
    assert "own BD-rates by Mean error" in text
    assert "Mean error: in levels." in text
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert [metric["label"] for metric in data["metrics"]] == ["Mean error", "PSNR"]
    assert data["summary"][1]["mine"] == summaries[1].bd["mine"].percent
    assert data["rows"][0]["mine"] == result.rows[0]["mine"]


def test_conditions_name_commit_and_machine():
    facts = conditions("kodak", "codax evaluate")
    assert re.fullmatch("[0-9a-f]{12}|unknown", facts["commit"])
    assert "threads" in facts["machine"]


def test_plots_are_pictures(swept):
    figures = draw_plots(summarise(swept[1].rows, "plain"), "plain")
    assert set(figures) == {
        "rate_psnr", "rate_ms_ssim", "bd_psnr", "bd_ms_ssim", "rate_time", "pictures",
    }  # fmt: skip
    for figure in figures.values():
        with Image.open(io.BytesIO(to_png(figure))) as drawn:
            assert drawn.width > 900
            assert len(set(np.asarray(drawn.convert("L")).ravel())) > 10


def test_match_rate_finds_the_nearest_file():
    picture = photo(120, 100, 5)
    codec = CODECS[0]
    sizes = {q: len(codec.encode(picture, q)) for q in range(5, 96)}
    target = 4000
    best = min(abs(size - target) for size in sizes.values())
    found = match_rate(codec, picture, target)
    assert abs(len(found.data) - target) == best
    known = {q: sizes[q] for q in (5, 30, 60, 80, 95)}
    assert match_rate(codec, picture, target, known).data == found.data
    assert match_rate(codec, picture, 1).quality == 5
    assert match_rate(codec, picture, 10**9).quality == 95


def test_page_is_one_file_and_escapes_text(swept, tmp_path):
    text = page_of(swept, tmp_path / "report.html").read_text()
    assert "{{" not in text
    assert "codax &lt;evaluate&gt;" in text
    assert text.count("</script>") == 2
    addresses = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert all(address.startswith(("data:", "#")) for address in addresses)
    block = text.split('id="data">')[1].split("</script>")[0]
    data = json.loads(block)
    assert len(data["rows"]) == 30
    assert set(data["pictures"][0]["files"]) == {"plain", "reduced"}


def test_page_tells_problems(swept, tmp_path):
    rows = swept[1].rows
    failed = {**rows[0], "error": "broke <here>"}
    result = Sweep(rows=rows, unreadable={"x.png": "no"}, failures=[failed])
    write_report(
        tmp_path / "page.html",
        result=result,
        summaries=summarise(rows, "plain"),
        anchor="plain",
        conditions={},
        figures={},
        pictures=[],
        bpp=1,
    )
    text = (tmp_path / "page.html").read_text()
    assert "1 pictures could not be read: x.png" in text
    assert "broke &lt;here&gt;" in text


@pytest.fixture(scope="module")
def browser():
    with chromium() as launched:
        yield launched


@pytest.mark.parametrize("width", [380, 1200])
def test_page_works_in_a_browser(swept, tmp_path, browser, width):
    path = page_of(swept, tmp_path / "report.html")
    page = browser.new_page(viewport={"width": width, "height": 800})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function("document.getElementById('right').naturalWidth === 200")
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    # On a phone tables scroll by themselves, and no column is cut off.
    for table in ("#summary", "#rows"):
        reached = page.locator(table).evaluate(
            "t => { const s = t.parentElement; s.scrollLeft = 1e4;"
            "const end = t.rows[0].lastElementChild.getBoundingClientRect().right;"
            "return [s.scrollWidth > s.clientWidth, end]; }"
        )
        assert reached[0] == (width < 500), table
        assert reached[1] <= width, table

    def clip():
        return page.evaluate("document.getElementById('right').style.clipPath")

    before = clip()
    page.locator("#slider").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.input_value("#slider") == "55"
    assert clip() != before
    before = clip()
    page.mouse.click(*centre(page, "#view", 0.25))
    assert clip() != before

    first = page.get_attribute("#left", "src")
    page.keyboard.press("n")
    assert page.input_value("#picture") == "p2.png"
    assert page.get_attribute("#left", "src") != first
    page.select_option("#leftCodec", "reduced")
    assert "kB" in page.inner_text("#leftText")
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.evaluate("document.getElementById('stage').clientWidth") == 400

    def order():
        return page.locator("#summary tbody td:first-child").all_inner_texts()

    page.locator("#summary th button").first.press("Enter")
    assert order() == ["plain", "reduced"]
    page.locator("#summary th button").first.press("Enter")
    assert order() == ["reduced", "plain"]
    assert said == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.close()


def centre(page, selector, part):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] * part, box["y"] + box["height"] / 2
