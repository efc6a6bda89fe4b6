"""tools/results.py: a page of tables from stored rows."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from codax.evaluation.summary import as_json, summarise
from codax.evaluation.sweep import write_csv
from codax.files.scripts import run_file

TOOL = Path(__file__).parents[1] / "tools" / "results.py"


@pytest.fixture(scope="module")
def tool():
    return run_file(TOOL, "tool")


def rows_of(codec, factor):
    """Rows of an invented codec, whose files are `factor` times those of jpeg."""
    return [
        {
            "picture": f"kodim0{picture}.png",
            "codec": codec,
            "quality": float(quality),
            "width": 768,
            "height": 512,
            "bytes": 1000 * quality,
            "bpp": factor * (1 + picture / 10) * 0.1 * 2**step,
            "psnr": 27.0 + 3.5 * step,
            "ms_ssim": 1 - 10 ** -(0.9 + 0.3 * step),
            "ssim": None,
            "encode_s": 0.25,
            "decode_s": 0.125,
            "settings": {"quality": codec},
            "commit": "0123456789ab",
            "machine": "abacus",
        }
        for picture in range(3)
        for step, quality in enumerate((10, 30, 50, 70, 90))
    ]


@pytest.fixture
def stored(tool, tmp_path, monkeypatch):
    names = {"mine-tiny-v1", "mine-tiny-v2", "new"}
    monkeypatch.setattr(tool, "shipping", lambda: names)
    for name in ("zoo", "kodak"):
        rows = rows_of("jpeg", 1.0) + rows_of("mine-tiny-v1", 0.8)
        folder = tmp_path / f"report-{name}"
        folder.mkdir()
        write_csv(rows, folder / "rows.csv")
        facts = {
            "command": "codax evaluate x", "commit": "0123456789ab",
            "machine": "abacus", "data": name, "pictures": "3",
        }  # fmt: skip
        run = as_json(summarise(rows, "jpeg"), "jpeg", facts)
        (folder / "run.json").write_text(json.dumps(run))
        tool.add_report(folder, tmp_path / "results" / name)
    return tmp_path


def run_tool(tool, monkeypatch, stored, *more):
    rows, out = str(stored / "results"), str(stored / "RESULTS.md")
    cards = str(stored / "checkpoints")
    words = ["results.py", "--rows", rows, "-o", out, "--cards", cards, *more]
    words += ["--history", str(stored / "HISTORY.md")]
    monkeypatch.setattr(sys, "argv", words)
    tool.main()
    return Path(out).read_text()


def test_page_holds_the_figures_of_the_rows(tool, stored, monkeypatch):
    text = run_tool(tool, monkeypatch, stored)
    kodak, zoo = text.split("## zoo")
    assert "| mine-tiny-v1 | -20.0 % |" in zoo
    assert "VTM" not in zoo
    assert "| mine-tiny-v1 | -20.0 % |" in kodak
    assert "mean-scale hyperprior" in kodak
    assert "| `compressai/hm` | +25.9 % |" in kodak
    assert "commit 0123456789ab, abacus" in zoo
    assert "### Curve of mine-tiny-v1" in zoo
    assert "| mine-tiny-v1 | 0.09 to 1.41 | 0.250 | 0.125 |" in zoo


def test_added_rows_replace_their_codec_and_fill_its_card(tool, stored, monkeypatch):
    results, report = stored / "results", stored / "report-zoo"
    shutil.rmtree(results / "zoo")
    rows = rows_of("mine-tiny-v2", 0.5)
    write_csv(rows, report / "rows.csv")
    facts = {"command": "codax evaluate y", "commit": "1", "machine": "m",
             "data": "kodak", "pictures": "3"}  # fmt: skip
    run = as_json(summarise(rows, "compressai/vtm"), "compressai/vtm", facts)
    (report / "run.json").write_text(json.dumps(run))
    stem = stored / "checkpoints" / "mine-tiny-v2"
    stem.mkdir(parents=True)
    card = {"name": "mine-tiny-v2", "bytes": 5}
    (stem / "card.json").write_text(json.dumps(card))
    for _ in range(2):
        run_tool(tool, monkeypatch, stored, "--add", str(report), "kodak")
    kept, run = tool.read_set(results / "kodak")
    assert [c["codec"] for c in run["codecs"]] == [
        "mine-tiny-v2",
        "jpeg",
        "mine-tiny-v1",
    ]
    assert run["conditions"]["earlier"] == ["codax evaluate x"]
    assert len(kept) == 45
    card = json.loads((stem / "card.json").read_text())
    assert card["bd_rate"]["jpeg"] == -50.0
    assert set(card["kodak"]) == {"mine-tiny-v2", "mine-tiny-v1"}
    assert card["bpp"][0] == pytest.approx(0.055)


def test_added_rows_may_have_other_metrics(tool, stored, monkeypatch):
    report = stored / "report-zoo"
    rows = [{**row, "ssimulacra2": 40.0 + row["psnr"]} for row in rows_of("new", 0.5)]
    write_csv(rows, report / "rows.csv")
    facts = json.loads((report / "run.json").read_text())["conditions"]
    run = as_json(summarise(rows, "new"), "new", facts)
    (report / "run.json").write_text(json.dumps(run))
    tool.add_report(report, stored / "results" / "zoo")
    kept, _ = tool.read_set(stored / "results" / "zoo")
    found = {row["codec"]: row["ssimulacra2"] for row in kept}
    assert found == {"new": 81.0, "jpeg": None, "mine-tiny-v1": None}
    assert {row["decode_s"] for row in kept} == {0.125}
    text = run_tool(tool, monkeypatch, stored)
    assert "30 to 85 of SSIMULACRA2" in text
    assert "### BD-rate by SSIMULACRA2" in text.split("## zoo")[1]
    assert "| bpp | PSNR dB | MS-SSIM dB | SSIMULACRA2 |" in text


def test_the_stored_results_make_the_page_that_is_there(tool, tmp_path, monkeypatch):
    """Byte for byte: figures change by new rows only."""
    root = TOOL.parents[1]
    page, history = tmp_path / "R.md", tmp_path / "H.md"
    words = ["results.py", "-o", str(page), "--history", str(history)]
    monkeypatch.setattr(sys, "argv", [*words, "--cards", str(tmp_path)])
    tool.main()
    assert page.read_bytes() == (root / "RESULTS.md").read_bytes()
    assert history.read_bytes() == (root / "results" / "HISTORY.md").read_bytes()
    for table in page.read_text().split("\n\n"):
        assert table.count("\n|") < 22, "at most 20 rows a table"


def test_replaced_weights_are_history(tool, stored, monkeypatch):
    monkeypatch.setattr(tool, "shipping", lambda: {"other"})
    text = run_tool(tool, monkeypatch, stored)
    assert "mine-tiny-v1" not in text
    history = (stored / "HISTORY.md").read_text()
    assert "| mine-tiny-v1 | -20.0 % |" in history
    assert "### Curve of mine-tiny-v1" in history
    assert "\n| jpeg |" not in history


def test_rows_survive_storing(tool, stored):
    rows, run = tool.read_set(stored / "results" / "zoo")
    fresh = summarise(rows_of("jpeg", 1.0) + rows_of("mine-tiny-v1", 0.8), "jpeg")
    assert summarise(rows, "jpeg")[1].bd == fresh[1].bd
    assert run["codecs"][1]["settings"] == {"quality": "mine-tiny-v1"}


def test_no_rows_is_a_clear_message(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["results.py", "--rows", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"no rows\.csv\.xz"):
        tool.main()
