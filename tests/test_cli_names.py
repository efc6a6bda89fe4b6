"""Names on the command line: which file goes where, and that none is lost."""

import io
import json
import os
import subprocess
import sys

import pytest
from fake_codec import work_in
from PIL import Image
from small_codecs import synthetic

from codax.cli import main
from codax.cli.common import size_in_bytes
from codax.cli.pictures import is_ours
from codax.files.folders import PICTURES


@pytest.fixture
def codec(monkeypatch, tmp_path):
    return work_in(monkeypatch, tmp_path)


@pytest.fixture
def photo(codec, tmp_path):
    """The bytes of photo.png, which no command but the user's own may change."""
    Image.fromarray(synthetic(20, 30)).save(tmp_path / "photo.png")
    return (tmp_path / "photo.png").read_bytes()


def names(folder="."):
    return sorted(os.listdir(folder))


DECODES = {
    "its own name": ["decode", "photo.codax"],
    "its own name and -f": ["decode", "-f", "photo.codax"],
    "a second name": ["decode", "-f", "photo.codax", "photo.png"],
    "a folder": ["decode", "-f", "photo.codax", "-o", "."],
    "a tree": ["decode", "-rf", "coded", "-o", "."],
    "a name that is given": ["decode", "photo.codax", "-o", "photo.png"],
}


@pytest.mark.parametrize("form", ["png", "ppm"])
@pytest.mark.parametrize("case", DECODES)
def test_decode_never_destroys_an_original(case, form, photo, tmp_path, capsys):
    original = tmp_path / f"photo.{form}"
    Image.fromarray(synthetic(20, 30)).save(original)
    before = original.read_bytes()
    assert main(["encode", str(original), "-q", "20"]) == 0
    (tmp_path / "coded").mkdir()
    os.link("photo.codax", "coded/photo.codax")
    words = [word.replace("photo.png", f"photo.{form}") for word in DECODES[case]]
    assert main([*words, "--format", form]) == 1
    assert original.read_bytes() == before
    assert "; add -f" in (err := capsys.readouterr().err) or "did not write" in err


@pytest.mark.parametrize("form", ["png", "ppm"])
def test_what_codax_wrote_it_replaces(form, photo, tmp_path):
    assert main(["encode", "photo.png", "-o", "a.codax", "-q", "20"]) == 0
    assert main(["encode", "photo.png", "-o", "b.codax", "-q", "90"]) == 0
    assert main(["decode", "a.codax", "--format", form]) == 0
    first = (tmp_path / f"a.{form}").read_bytes()
    os.replace("b.codax", "a.codax")
    assert main(["decode", "a.codax", "-f", "--format", form]) == 0
    assert (tmp_path / f"a.{form}").read_bytes() != first
    # And what the user names with -o and -f, whoever wrote it.
    assert main(["decode", "a.codax", "-f", "-o", "photo.png"]) == 0


def test_who_wrote_a_picture_stands_in_it(photo, tmp_path):
    main(["encode", "photo.png", "-o", "a.codax"])
    main(["decode", "a.codax"])
    with Image.open("a.png") as image:
        assert image.info["Software"] == "codax"
        edited = image.rotate(90)
    edited.save("edited.png")
    (tmp_path / "text.png").write_text("no picture")
    ours = [name for name in names() if name.endswith(".png") and is_ours(name)]
    assert ours == ["a.png"]
    assert not is_ours("absent.png")


def test_two_names_are_input_and_output(photo, capsys):
    assert main(["encode", "photo.png", "-q", "20", "sub/small.codax"]) == 0
    assert names("sub") == ["small.codax"]
    assert main(["decode", "sub/small.codax", "sub/back.png"]) == 0
    assert names("sub") == ["back.png", "small.codax"]
    capsys.readouterr()
    assert main(["decode", "sub/small.codax", "sub/back.gif"]) == 2
    assert "codax writes png, ppm, jpeg, webp, avif, tiff" in capsys.readouterr().err
    assert main(["encode", "-r", "photo.png", "-o", "out/"]) == 0
    assert main(["decode", "-r", "out", "-o", "pictures"]) == 0
    assert names("pictures") == ["photo.png"]


def test_pictures_of_one_stem_are_all_coded(photo, capsys):
    with Image.open("photo.png") as image:
        for name in ("photo.jpg", "photo.bmp", "photo.jpg.png", "other.webp"):
            image.save(name)
    os.mkdir("two")
    os.link("photo.png", "two/other.webp")
    given = [name for name in names() if name.startswith(("photo", "other"))]
    assert main(["encode", *given, "photo.png", "two/other.webp", "-o", "out"]) == 1
    whole = [f"photo.{kind}.codax" for kind in ("bmp", "jpg", "jpg.png", "png")]
    assert names("out") == ["other.codax", *whole] or names("out") == [
        "other.webp.codax",
        *whole,
    ]
    err = capsys.readouterr().err
    assert "two/other.webp: other.webp is written to out/other.webp.codax" in err
    assert "5 files done, " in err
    assert err.splitlines()[-1].endswith("s; 1 failed")
    assert main(["decode", "-r", "out", "-o", "back"]) == 0
    assert len(names("back")) == 5


def test_existing_outputs_may_be_skipped(photo, codec, capsys):
    Image.fromarray(synthetic(9, 9)).save("other.png")
    assert main(["encode", "photo.png"]) == 0
    calls = codec.calls
    words = ["encode", "photo.png", "other.png", "--skip-existing"]
    assert main([*words, "--json"]) == 0
    assert codec.calls == calls + 1
    *_, last = map(json.loads, capsys.readouterr().out.splitlines())
    summary = last["summary"]
    assert (summary["files"], summary["done"], summary["skipped"]) == (2, 1, 1)
    assert summary["bytes"] == os.path.getsize("other.codax")
    assert main(words) == 0
    assert "0 files done, 0 B -> 0 B" in (err := capsys.readouterr().err)
    assert "2 skipped, which exist" in err


def test_a_folder_may_hold_anything(photo, capsys):
    os.makedirs("in/folder.png")
    os.symlink("nothing", "in/link.jpg")
    os.link("photo.png", "in/folder.png/good.PNG")
    assert main(["encode", "-r", "in", "-o", "out"]) == 0
    assert names("out/folder.png") == ["good.codax"]
    err = capsys.readouterr().err
    assert err.count("note: passed over: in/link.jpg: a link to nothing") == 1
    assert err.count("passed over: in/folder.png: a folder with the name") == 1


def test_a_search_takes_every_kind_of_picture(photo):
    kinds = [kind for kind in sorted(PICTURES) if kind not in (".qoi", ".pbm", ".pgm")]
    os.mkdir("in")
    taken = []
    with Image.open("photo.png") as image:
        for kind in kinds:
            form = Image.registered_extensions().get(kind)
            if form in Image.SAVE and form in Image.OPEN:
                image.save(f"in/x{kind[1:]}{kind}", form)
                taken.append(f"x{kind[1:]}.codax")
    assert len(taken) >= 15
    assert main(["encode", "-rq", "50", "in", "-o", "out"]) == 0
    assert names("out") == sorted(taken)


NAMES = [
    "plain name.png",
    "line\nbreak.png",
    "\x1b[31mred.png",
    os.fsdecode(b"\xff\xfe.png"),
    "ü" * 120 + ".png",
    "-.png",
    "-o.png",
    ".png",
    "no-ending",
    "trailing.",
    "two  spaces .png",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_any_that_the_file_system_takes(name, photo, capsys):
    os.rename("photo.png", name)
    assert main(["encode", "--", name]) == 0
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "\x1b" not in line
    (coded,) = [found for found in names() if found.endswith(".codax")]
    assert main(["info", "--", coded]) == 0
    assert main(["decode", "--json", "-o", "sub/", "--", coded]) == 0
    fields = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert fields["input"] == coded
    assert len(names("sub")) == 1


def test_a_file_may_be_called_like_the_stream(photo, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("nothing"))
    os.rename("photo.png", "-")
    assert main(["encode", "./-"]) == 0
    assert "-.codax" in names()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_a_terminal_may_have_any_encoding(encoding, tmp_path):
    for name in ("ünï 木.codax", os.fsdecode(b"\xff.codax")):
        (tmp_path / name).write_bytes(b"nothing")
        done = subprocess.run(
            [sys.executable, "-m", "codax", "info", name],
            env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            cwd=tmp_path,
            capture_output=True,
        )
        assert done.returncode == 1
        assert b"not a codax file" in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20000", 20000),
        ("20k", 20000),
        ("20kb", 20000),
        ("20 KB", 20000),
        ("20KiB", 20480),
        ("20kib", 20480),
        ("1.5M", 1_500_000),
        ("1MiB", 1 << 20),
        ("0.5MB", 500_000),
        ("900B", 900),
        ("2e4", 20000),
    ],
)
def test_sizes(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "k", "20q", "-5k", "20iB", "0", "nan", "1.2.3k"])
def test_what_is_no_size(text, photo, capsys):
    assert main(["encode", "photo.png", f"--target-size={text}"]) == 2
    assert "is no size; try 20000, 20k, 20KiB or 1.5M" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "quality 75"),
        (["-q", "33.3"], "quality 33.5"),
        (["-q", "40"], "quality 40"),
        (["--target-size", "2k"], "quality "),
    ],
)
def test_the_quality_is_said(flags, said, photo, capsys):
    assert main(["encode", "photo.png", "--no-fallback", *flags]) == 0
    assert said in capsys.readouterr().err
