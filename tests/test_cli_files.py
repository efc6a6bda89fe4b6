"""`codax encode` and `decode`: where files go, what is said, what is refused."""

import io
import json
import sys
import time
import types

import numpy as np
import pytest
from fake_codec import work_in
from PIL import Image

from codax.cli import main, reporting
from codax.coding.telling import tell
from codax.files import container


@pytest.fixture
def codec(monkeypatch, tmp_path):
    return work_in(monkeypatch, tmp_path)


@pytest.fixture
def photo(codec, tmp_path):
    y, x = np.mgrid[:20, :30]
    pixels = np.stack([8 * x, 12 * y, x * y % 256], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return pixels


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_there_and_back(photo, tmp_path, capsys):
    assert main(["encode", "photo.png", "-q", "100"]) == 0
    assert main(["decode", "photo.codax", "-o", "back.png"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("photo.png -> photo.codax  ")
    labels = (" B  ", " bpp  ", " % of input  ", " s  ", "stored without loss")
    assert all(label in first for label in labels)
    assert second.startswith("photo.codax -> back.png  30x20 RGB")
    assert np.array_equal(np.asarray(opened("back.png")), photo)
    assert names(tmp_path) == ["back.png", "photo.codax", "photo.png"]


def test_lossless_needs_a_codec_that_is(photo, tmp_path, capsys):
    assert main(["encode", "photo.png", "--lossless"]) == 2
    assert "no lossless codec is installed" in capsys.readouterr().err
    assert main(["encode", "photo.png", "--lossless", "-m", "fake-tiny"]) == 2
    assert "fake-tiny-v1 has no lossless path" in capsys.readouterr().err
    assert main(["encode", "photo.png", "--lossless", "-q", "90"]) == 2
    assert "not allowed with" in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]


def test_existing_output_needs_force(photo, tmp_path, capsys):
    (tmp_path / "photo.codax").write_bytes(b"precious")
    assert main(["encode", "photo.png"]) == 1
    assert "photo.codax exists; add -f" in capsys.readouterr().err
    assert (tmp_path / "photo.codax").read_bytes() == b"precious"
    assert main(["encode", "photo.png", "-f", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert (tmp_path / "photo.codax").read_bytes()[:4] == container.SIGNATURE


def test_unwritable_output_is_known_before_encoding(photo, codec, tmp_path, capsys):
    assert main(["encode", "photo.png", "-o", "photo.png/x.codax"]) == 1
    assert main(["encode", "photo.png", "-o", "photo.png/deep/x.codax"]) == 1
    assert codec.calls == 0
    for line in capsys.readouterr().err.splitlines():
        assert line.endswith("x.codax cannot be written: Not a directory")


def test_missing_folders_are_made_and_go_with_a_failure(photo, tmp_path):
    assert main(["encode", "photo.png", "-o", "a/b/x.codax"]) == 0
    assert names(tmp_path / "a" / "b") == ["x.codax"]
    (tmp_path / "text.png").write_text("no picture")
    assert main(["encode", "text.png", "-o", "c/d/x.codax"]) == 1
    assert not (tmp_path / "c").exists()


def test_no_partial_output(photo, codec, monkeypatch, tmp_path, capsys):
    def fail(rgb, quality, **effort):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(codec, "compress", fail)
    assert main(["encode", "photo.png"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "unexpected RuntimeError: first line second line" in err
    assert names(tmp_path) == ["photo.png"]
    assert main(["encode", "photo.png", "-vv"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interruption_leaves_nothing(photo, codec, monkeypatch, tmp_path):
    def stop(rgb, quality, **effort):
        raise KeyboardInterrupt

    monkeypatch.setattr(codec, "compress", stop)
    assert main(["encode", "photo.png"]) == 130
    assert names(tmp_path) == ["photo.png"]


def test_many_inputs_go_on_after_a_failure(photo, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(photo[:5]).save(tmp_path / "other.png")
    words = ["photo.png", "text.png", "missing.png", "other.png"]
    assert main(["encode", *words, "-o", "out"]) == 1
    assert names(tmp_path / "out") == ["other.codax", "photo.codax"]
    err = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("codax: ") for line in err) == 2
    assert err[-1].startswith("2 files done, ") or err[-1].startswith("2 of 4 files")
    assert "codax: missing.png: No such file or directory" in err
    assert any(line.startswith("codax: text.png: not a picture") for line in err)


def test_folders_are_searched_with_r(photo, tmp_path, capsys):
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    Image.fromarray(photo).save(folder / "a.png")
    (folder / "notes.txt").write_text("skipped")
    assert main(["encode", "in"]) == 1
    assert "in: Is a directory; encode and decode take what is in it with -r" in (
        capsys.readouterr().err
    )
    assert main(["encode", "photo.png", "in", "new/"]) == 1
    err = capsys.readouterr().err
    assert "new/: No such file or directory; an output folder is named with -o" in err
    assert "photo.codax" in names(tmp_path)
    assert main(["decode", "photo.png"]) == 1
    assert "photo.png: not a codax file" in capsys.readouterr().err
    assert main(["help", "encode"]) == 0
    assert "usage: codax encode" in capsys.readouterr().out
    assert main(["encode", "-r", "in", "-o", "out"]) == 0
    assert names(tmp_path / "out" / "deep") == ["a.codax"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "photo.png", "-q", "101"], "'101' is no quality"),
        (["encode", "photo.png", "-q", "nan"], "'nan' is no quality"),
        (["encode", "photo.png", "-q", "5", "--target-bpp", "1"], "not allowed with"),
        (["encode", "photo.png", "--target-size", "20q"], "'20q' is no size"),
        (["encode", "photo.png", "-e", "10"], "'10' is no effort; expected 1 to 9"),
        (["encode", "photo.png", "-m", "fkae-tiny"], "did you mean fake-tiny-v1?"),
        (["encode", "photo.png", "--json", "-o", "-"], "--json and -o -"),
        (["encode", "-", "photo.png"], "stdin"),
        (["encode", "photo.png", "-o", "x.jpg"], "name it x.codax"),
        (["encode", "photo.png", "-f", "--skip-existing"], "not allowed with"),
        (
            ["encode", "photo.png", "--speed", "5"],
            "mean --effort? usage: codax",
        ),
        (["encode", "photo.png", "-lossless"], "did you mean --lossless?"),
        (["encode", "photo.png", "--qualty=5"], "did you mean --quality?"),
        (["encode", "photo.png", "-quality", "5"], "did you mean --quality?"),
        (["encode", "photo.png", "--zzz"], "no flag --zzz; usage: codax encode"),
        (["plot", "a", "b"], "'b' is one name too many; usage: codax plot"),
        (["compare", "a.png", "b.png", "-o", "d.jpg"], "name it d.png"),
        (["truncate", "a.codax", "--layers", "1", "-o", "b.png"], "name it b.codax"),
        (["encode"], "no input; name one"),
        (["encode", "--hlep"], "did you mean --help?"),
        (["decode", "x.codax", "-o", "x.gif"], "codax writes png, ppm, jpeg"),
        (["decode", "x.codax", "--region", "1,2,3"], "expected X,Y,W,H"),
        (["decode", "x.codax", "-o", "x.ppm", "--format", "png"], "says another"),
        (["models", "fake-tiny-v9"], "did you mean fake-tiny-v1?"),
        (
            ["models", "--bogus"],
            "models has no flag --bogus; usage: codax models",
        ),
    ],
)
def test_wrong_usage(words, message, photo, tmp_path, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert names(tmp_path) == ["photo.png"]


@pytest.mark.parametrize(
    ("flags", "key", "check"),
    [
        (["--target-size", "900"], "bytes", lambda value: 400 < value <= 900),
        (["--target-bpp", "9"], "bpp", lambda value: 5 < value <= 9),
        (["--target-psnr", "35"], "quality", lambda value: 20 < value < 100),
        ([], "quality", lambda value: value == 75),
    ],
)
def test_targets(flags, key, check, photo, capsys):
    assert main(["encode", "photo.png", "--no-fallback", "--json", *flags]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    fields = json.loads(out)
    assert fields["model"] == "fake-tiny-v1"
    assert check(fields[key]), fields


def test_target_out_of_reach(photo, tmp_path, capsys):
    assert main(["encode", "photo.png", "--target-size", "50"]) == 1
    assert "out of reach: quality 0 takes" in capsys.readouterr().err
    assert names(tmp_path) == ["photo.png"]


def test_streams(photo, monkeypatch, tmp_path):
    data = pipe(monkeypatch, ["encode", "-"], (tmp_path / "photo.png").read_bytes())
    assert data[:4] == container.SIGNATURE
    png = pipe(monkeypatch, ["decode", "-", "-o", "-"], data)
    assert Image.open(io.BytesIO(png)).size == (30, 20)
    ppm = pipe(monkeypatch, ["decode", "-", "--format", "ppm"], data)
    assert ppm[:2] == b"P6"


def pipe(monkeypatch, words, data):
    """Runs a command with `data` on stdin and returns its stdout."""
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    monkeypatch.setattr(sys, "stdout", out)
    assert main(words) == 0
    return out.buffer.getvalue()


def test_binary_to_a_terminal_is_refused(photo, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["encode", "photo.png", "-o", "-"]) == 2
    assert "terminal" in capsys.readouterr().err


def test_metadata_survives_to_png(photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    picture = opened("photo.png")
    picture.save("photo.jpg", exif=exif, xmp=b"<x:xmpmeta/>", quality=95)
    assert main(["encode", "photo.jpg", "-o", "a.codax"]) == 0
    assert main(["decode", "a.codax"]) == 0
    back = opened("a.png")
    assert back.size == (30, 20)  # pixels as stored: the tag turns them, once.
    assert back.getexif()[0x0112] == 6
    assert back.getexif()[0x010F] == "maker"
    assert back.info["xmp"] == b"<x:xmpmeta/>"
    assert main(["encode", "photo.jpg", "-o", "b.codax", "--metadata", "none"]) == 0
    assert main(["decode", "b.codax"]) == 0
    back = opened("b.png")
    assert dict(back.getexif()) == {0x0112: 6}


def test_ppm_refuses_alpha(photo, tmp_path, capsys):
    picture = opened("photo.png")
    picture.putalpha(7)
    picture.save("alpha.png")
    assert main(["encode", "alpha.png"]) == 0
    assert main(["decode", "alpha.codax", "--format", "ppm"]) == 1
    assert "alpha, which ppm cannot hold" in capsys.readouterr().err
    assert "alpha.ppm" not in names(tmp_path)


def test_wrong_weights_are_named(photo, tmp_path, capsys):
    main(["encode", "photo.png", "--no-fallback"])
    file = container.read((tmp_path / "photo.codax").read_bytes())
    fields = {**vars(file), "weights_hash": b"fake00"}
    (tmp_path / "old.codax").write_bytes(container.write(container.Container(**fields)))
    capsys.readouterr()
    assert main(["decode", "old.codax"]) == 1
    said = capsys.readouterr().err
    assert "the file wants fake-tiny-v0 (weights 66616b653030), a draft" in said
    assert "pass it with --weights PATH" in said
    assert main(["decode", "old.codax", "--weights", "fake-tiny"]) == 1
    assert "got fake-tiny-v1" in capsys.readouterr().err
    assert names(tmp_path) == ["old.codax", "photo.codax", "photo.png"]


def test_max_pixels(photo, capsys):
    main(["encode", "photo.png"])
    assert main(["decode", "photo.codax", "-f", "--max-pixels", "599"]) == 1
    err = capsys.readouterr().err
    assert "600 pixels; the limit is 599; raise it with --max-pixels N if" in err


def test_a_profile_that_png_readers_refuse_is_left_out_and_said(
    photo, codec, tmp_path, capsys
):
    image = Image.fromarray(photo)
    image.info["icc_profile"] = bytes(16) + b"RGB " + bytes(1_100_000)
    (tmp_path / "big.codax").write_bytes(codec.encode(image))
    assert main(["decode", "big.codax"]) == 0
    assert "not kept: a colour profile of 1100020 bytes" in capsys.readouterr().err
    with Image.open("big.png") as back:
        assert back.size == image.size


def test_what_a_picture_file_does_not_hold_is_said(photo, codec, capsys):
    image = Image.fromarray(photo).convert("CMYK")
    image.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\0"
    with open("a.codax", "wb") as file:
        file.write(codec.encode(image))
    assert main(["decode", "a.codax", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["not_kept"] == ["the mode CMYK (written as RGB)"]
    assert "note: a.codax: not kept: the mode CMYK" in err
    assert main(["decode", "a.codax", "--json", "--format", "ppm"]) == 0
    assert json.loads(capsys.readouterr().out)["not_kept"][1:] == ["EXIF"]


def test_animation_says_that_one_frame_is_coded(photo, capsys):
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    frames[0].save("move.gif", save_all=True, append_images=frames[1:])
    assert main(["encode", "move.gif"]) == 0
    assert "note: move.gif: not kept: 1 more frame\n" in capsys.readouterr().err


def test_what_is_not_kept_is_one_note_and_in_json(photo, capsys):
    frames = [Image.fromarray(photo), Image.fromarray(255 - photo)]
    options = {"save_all": True, "append_images": frames[1:], "comment": b"words"}
    frames[0].save("move.gif", **options)
    assert main(["encode", "move.gif", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["not_kept"] == ["1 more frame", "a comment"]
    assert err == "codax: note: move.gif: not kept: 1 more frame, a comment\n"
    # Whoever asks for less is not told that there is less.
    assert main(["encode", "move.gif", "-f", "--metadata", "none"]) == 0
    assert "not kept: 1 more frame\n" in capsys.readouterr().err


def test_info_and_models(photo, capsys):
    main(["encode", "photo.png", "--no-fallback"])
    capsys.readouterr()
    assert main(["info", "photo.codax", "photo.png", "--json"]) == 1
    out, err = capsys.readouterr()
    fields, failure = map(json.loads, out.splitlines())
    assert (fields["width"], fields["height"], fields["quality"]) == (30, 20, 75)
    assert fields["model"] == "fake-tiny-v1"
    assert "not a codax file" in failure["error"]
    assert err == f"codax: photo.png: {failure['error']}\n"
    assert main(["info", "photo.codax"]) == 0
    assert "30x20 RGB, 8 bits" in capsys.readouterr().out
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "* fake-tiny-v1  9.8.7    0..100   0.10..2.50  1.5 + 2.5" in out
    assert main(["models", "fake-tiny"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("fake-tiny-v1  (the default)\n")
    assert "  quality  0 to 100, 0.10 to 2.50 bpp on Kodak" in out
    assert "  licence  CC0-1.0" in out
    assert "{" not in out, "for people, not JSON"
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["codec_id"] == 250


def test_a_terminal_is_told_what_is_waited_for(photo, codec, monkeypatch, capsys):
    good = codec.coder.compress

    def slow(rgb, quality, **effort):
        tell(0.5)
        time.sleep(0.2)
        return good(rgb, quality, **effort)

    monkeypatch.setattr(codec, "compress", slow)
    monkeypatch.setattr(reporting, "_PATIENCE", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["encode", "photo.png"]) == 0
    assert "encoding 1 of 1" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main(["encode", "photo.png", "-f"]) == 0
    err = capsys.readouterr().err
    assert "encoding 1 of 1: photo.png ... 50%" in err
    assert "compil" not in err  # Nothing is.
    assert main(["encode", "photo.png", "-f", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
