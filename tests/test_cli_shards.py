"""Work shared by machines: parts of encode, decode and evaluate, and lists of files."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_codec import work_in
from PIL import Image

from codax import __version__
from codax.cli import main


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Seven pictures in a folder, of which two have one stem."""
    work_in(monkeypatch, tmp_path)
    random = np.random.default_rng(0)
    Path("photos/deep").mkdir(parents=True)
    names = [f"{k}.png" for k in range(4)] + ["deep/0.png", "deep/4.png", "0.bmp"]
    for name in names:
        pixels = random.integers(0, 255, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(f"photos/{name}")
    return tmp_path


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*.codax"))


def test_parts_make_what_the_whole_makes(photos, capsys):
    words = ["encode", "-r", "photos", "--no-fallback", "--quiet"]
    assert main([*words, "-o", "whole"]) == 0
    for part in (1, 2, 3):
        assert main([*words, "-o", f"part{part}", "--shard", f"{part}/3"]) == 0
        assert main([*words, "-o", "joined", "--shard", f"{part}/3"]) == 0
    found = [files_in(f"part{part}") for part in (1, 2, 3)]
    assert [len(files) for files in found] == [3, 2, 2]
    assert (
        sorted(f for files in found for f in files)
        == files_in("whole")
        == files_in("joined")
    )
    for name in files_in("whole"):
        assert Path("whole", name).read_bytes() == Path("joined", name).read_bytes()
    assert main(["decode", "-r", "whole", "-o", "back", "--shard", "2/2"]) == 0
    assert len(list(Path("back").rglob("*.png"))) == 3
    # More machines than files: some have nothing to do.
    assert main([*words, "-o", "none", "--shard", "9/9"]) == 0
    assert files_in("none") == []


@pytest.mark.parametrize("wrong", ["0/3", "4/3", "1", "a/b", "1/2/3", "-1/2", "1/0"])
def test_a_part_out_of_range(wrong, photos, capsys):
    assert main(["encode", "-r", "photos", "-o", "x", f"--shard={wrong}"]) == 2
    assert "is no part; expected I/N, I of 1 to N" in capsys.readouterr().err
    assert not Path("x").exists()


def test_names_from_a_file_and_from_stdin(photos, monkeypatch, capsys):
    Path("list").write_text("photos/0.png\n\nphotos/1.png\n")
    words = ["encode", "--no-fallback", "-o", "out", "--json"]
    assert main([*words, "--files-from", "list", "photos/2.png"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert files_in("out") == ["0.codax", "1.codax", "2.codax"]
    assert all(line["version"] == __version__ for line in lines if "input" in line)
    assert {"bytes", "bpp", "seconds"} <= lines[0].keys()
    stdin = io.TextIOWrapper(io.BytesIO(b"out/0.codax\nout/2.codax\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["decode", "--files-from", "-", "-o", "back"]) == 0
    assert sorted(p.name for p in Path("back").iterdir()) == ["0.png", "2.png"]
    Path("empty").write_text("\n")
    assert main(["encode", "--files-from", "empty"]) == 2
    assert "--files-from empty: no names in it" in capsys.readouterr().err
    assert main(["encode", "--files-from", "absent"]) == 2
    assert "--files-from absent: No such file" in capsys.readouterr().err
    assert main(["encode"]) == 2
    assert "no input; name one, or a list" in capsys.readouterr().err


def rows_of(folder):
    text = (Path(folder) / "rows.jsonl").read_text()
    times = ("encode_s", "decode_s")
    rows = [json.loads(line) for line in text.splitlines()]
    return sorted(
        json.dumps({k: v for k, v in row.items() if k not in times}) for row in rows
    )


def test_evaluated_parts_are_merged_to_the_whole(photos, capsys):
    words = ["evaluate", "photos", "--codecs", "jpeg,webp", "--metrics", "psnr"]
    assert main([*words, "-o", "whole", "--pictures", "0"]) == 0
    for part in (1, 2):
        out = f"part{part}"
        assert main([*words, "-o", out, "--shard", f"{part}/2"]) == 0
        assert sorted(p.name for p in Path(out).iterdir()) == ["rows.jsonl"]
    assert "`codax evaluate --merge` joins the parts" in capsys.readouterr().err
    assert main(["evaluate", "--merge", "part1", "part2", "-o", "merged"]) == 0
    assert rows_of("merged") == rows_of("whole")
    assert Path("merged/report.html").is_file()
    whole, merged = (
        json.loads(Path(f, "run.json").read_text())["codecs"]
        for f in ("whole", "merged")
    )
    rates = [[codec["bd_rate"] for codec in codecs] for codecs in (whole, merged)]
    assert rates[0] == rates[1]
    # A part twice changes nothing.
    again = ["evaluate", "--merge", "part1", "part2", "part1", "-o", "merged"]
    assert main(again) == 0
    assert rows_of("merged") == rows_of("whole")
    assert main([*words, "-o", "none", "--shard", "9/9"]) == 1
    assert "7 pictures, part 9 has none" in capsys.readouterr().err


def test_what_is_no_part_of_one_sweep_is_not_merged(photos, capsys):
    words = ["evaluate", "photos", "--codecs", "jpeg", "--metrics", "psnr"]
    assert main([*words, "-o", "part1", "--shard", "1/2"]) == 0
    rows = Path("part1/rows.jsonl").read_text()
    cases = {
        "settings": (rows.replace('"subsampling"', '"sampling"'), "other settings"),
        "picture": (rows.replace('"sha256": "', '"sha256": "0'), "another picture"),
        "empty": ("", "no rows there"),
    }
    for name, (text, words) in cases.items():
        Path(name).mkdir()
        Path(name, "rows.jsonl").write_text(text)
        assert text != rows
        assert main(["evaluate", "--merge", "part1", name, "-o", "merged"]) == 1
        assert words in capsys.readouterr().err
        assert not Path("merged").exists()
    assert main(["evaluate", "photos", "--merge", "part1", "-o", "merged"]) == 2
    assert main(["evaluate", "-o", "merged"]) == 2
