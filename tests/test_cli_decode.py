"""`codax decode` to known formats and of parts, and `codax verify`."""

import io
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_codec import work_in
from PIL import Image, ImageCms, features

import codax
from codax.cli import main
from codax.cli.pictures import FORMATS, is_ours, picture_bytes, unkept
from codax.errors import ConfigError, FormatError, ImageError
from codax.files import container

ROOT = Path(__file__).parents[1]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr", "LAB", "HSV")


def picture(mode):
    """A picture of a mode with all that it can carry."""
    ramp = np.linspace(0, 255, 48 * 40 * 3).reshape(48, 40, 3).astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(ramp[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(ramp)
        image = image.convert("RGBA" if mode == "LA" else "RGB").convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(ramp[..., 1]))
    exif = Image.Exif()
    exif[0x010E] = "a ramp"
    image.info |= {"exif": exif.tobytes(), "icc_profile": PROFILE, "xmp": b"<x/>"}
    return image


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_formats_hold_what_they_say(form, mode, tmp_path):
    if form == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image, facts = picture(mode), FORMATS[form]
    refused = (not facts.alpha and mode in ("LA", "RGBA")) or (
        mode == "I;16" and mode not in facts.modes
    )
    if refused:
        with pytest.raises(ImageError, match=f"which {form} cannot hold"):
            picture_bytes(image, form)
        return
    data, lost = picture_bytes(image, form), unkept(image, form)
    back = Image.open(io.BytesIO(data))
    back.load()
    assert back.size == image.size
    if mode in facts.modes:
        assert back.mode == mode or (form, back.mode) == ("ppm", "I")
    elif mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        assert any(f"the mode {mode}" in words for words in lost)
    expected = np.asarray(image.convert(back.mode)).astype(int)
    difference = np.abs(np.asarray(back).astype(int) - expected)
    if facts.exact:
        assert difference.max() == 0
    else:
        assert difference.mean() < 4
        assert any("the exact samples" in words for words in lost)
    if facts.metadata:
        own = mode in facts.modes or mode in ("1", "L", "LA", "P", "I;16")
        assert (back.info.get("icc_profile") == PROFILE) == own
        assert back.getexif()[0x010E] == "a ramp"
        xmp = back.info.get("xmp") or back.info.get("XML:com.adobe.xmp")
        assert xmp.rstrip(b"\0") == b"<x/>"
    else:
        assert {"EXIF", "XMP", "the colour profile"} <= set(lost)


@pytest.mark.parametrize("form", FORMATS)
def test_pictures_say_who_wrote_them(form, tmp_path):
    if form == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / f"x{FORMATS[form].endings[0]}"
    image = Image.fromarray(np.asarray(picture("RGB")))
    path.write_bytes(picture_bytes(image, form))
    assert is_ours(str(path))
    Image.open(path).convert("RGB").save(path)
    assert not is_ours(str(path))
    path.write_bytes(b"no picture")
    assert not is_ours(str(path))


def camera_exif(**structural):
    """EXIF as a camera writes it: a description, and IFDs within."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8825)[0x0001] = "N"
    for tag, value in structural.items():
        exif[int(tag[1:], 16)] = value
    return exif.tobytes()


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "avif", "tiff"])
def test_exif_of_a_camera_is_kept_and_says_nothing_of_the_file(form):
    image = picture("RGB")
    wrong = {"x100": 400, "x101": 300, "x102": (16,), "x106": 6, "x115": 4, "x11c": 2}
    image.info["exif"] = camera_exif(**(wrong if form == "tiff" else {}))
    back = Image.open(io.BytesIO(picture_bytes(image, form)))
    exif = back.getexif()
    assert exif[0x010F] == "Maker"
    assert exif.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
    assert exif.get_ifd(0x8825)[0x0001] == "N"
    if form == "tiff":  # Pillow turns it when it loads it.
        assert back.size == (48, 40)[::-1] or back.size == (48, 40)
        turned = np.asarray(image.rotate(-90, expand=True))
        assert np.array_equal(np.asarray(back), turned)


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_exif_and_long_metadata_are_left_out_or_kept(form):
    image = Image.fromarray(np.asarray(picture("RGB")))
    image.info["exif"] = b"Exif\0\0garbage!!!"
    assert picture_bytes(image, form)
    damaged = any("cannot be read" in words for words in unkept(image, form))
    assert damaged == (form in ("avif", "tiff"))
    exif = Image.Exif()
    exif[0x010E] = "x" * 70000
    image.info |= {"exif": exif.tobytes(), "xmp": b"<x>" + b" " * 70000 + b"</x>"}
    assert picture_bytes(image, form)
    long = [words for words in unkept(image, form) if "JPEG does not hold" in words]
    assert len(long) == (2 if form == "jpeg" else 0)


@pytest.mark.parametrize(("form", "side"), [("webp", 16384), ("jpeg", 65501)])
def test_pictures_too_long_for_a_format(form, side):
    with pytest.raises(ImageError, match=f"{form} holds sides up to {side - 1}"):
        picture_bytes(Image.new("L", (side, 1)), form)


def test_a_profile_goes_with_its_samples():
    image = picture("LAB")
    assert Image.open(io.BytesIO(picture_bytes(image, "tiff"))).info["icc_profile"]
    assert "icc_profile" not in Image.open(io.BytesIO(picture_bytes(image, "png"))).info


def test_transparency_of_palettes_and_grey(tmp_path):
    image = Image.new("P", (4, 4))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.info["transparency"] = b"\x00\xff"
    for form in ("png", "webp", "tiff"):
        back = Image.open(io.BytesIO(picture_bytes(image, form))).convert("RGBA")
        assert np.asarray(back)[0, 0].tolist() == [0, 0, 0, 0], form
    with pytest.raises(ImageError, match="alpha"):
        picture_bytes(image, "jpeg")


def test_endings_and_format_flag(tmp_path, monkeypatch, capsys):
    work_in(monkeypatch, tmp_path)
    Image.new("RGB", (9, 7), (90, 10, 200)).save("a.png")
    assert main(["encode", "a.png", "--no-fallback"]) == 0
    for name in ("b.jpg", "b.jpeg", "b.webp", "b.tif", "b.tiff", "b.ppm"):
        assert main(["decode", "a.codax", name]) == 0
        with Image.open(name) as back:
            assert back.size == (9, 7)
    assert main(["decode", "a.codax", "--format", "tiff", "-o", "out/"]) == 0
    assert Path("out/a.tiff").is_file()
    assert main(["decode", "a.codax", "--format", "jpeg", "c.webp"]) == 2
    assert "--format jpeg says another" in capsys.readouterr().err


def test_a_region_by_flag_and_from_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo = Image.open(ROOT / "tests" / "fixtures" / "guitar.png").convert("RGBA")
    photo = photo.crop((0, 0, 150, 100))
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    stored = codax.encode(photo, lossless=True)
    coded = codax.encode(photo, 60, model="factorized-tiny", fallback=False)
    box = (20, 30, 33, 44)
    for data in (stored, coded):
        whole = codax.decode(data).crop((20, 30, 53, 74))
        part = codax.decode(data, region=box)
        assert part.mode == whole.mode == "RGBA"
        difference = np.asarray(part).astype(int) - np.asarray(whole)
        assert np.abs(difference).max() <= 1
        assert np.array_equal(np.asarray(part)[..., 3], np.asarray(whole)[..., 3])
    Path("x.codax").write_bytes(coded)
    assert main(["decode", "x.codax", "--region", "20,30,33,44", "y.png"]) == 0
    with Image.open("y.png") as back:
        assert back.size == (33, 44)
    for wrong in ("0,0,151,1", "-1,0,5,5", "0,0,0,5"):
        assert main(["decode", "x.codax", f"--region={wrong}", "z.png"]) == 1
        assert "expected a part of the picture of 150x100" in capsys.readouterr().err
        assert not Path("z.png").exists()
    assert main(["decode", "x.codax", "--region", "-1,0,5,5", "z.png"]) == 1
    assert "region is -1,0,5,5; expected a part" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="region is 0,0,1,101"):
        codax.decode(coded, region=(0, 0, 1, 101))


def test_verify(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo = Image.open(ROOT / "tests" / "fixtures" / "guitar.png").crop((0, 0, 99, 80))
    good = codax.encode(photo, 60, model="factorized-tiny", fallback=False)
    file = container.read(good)
    longer = container.write(replace(file, stream=file.stream + bytes(4)))
    stored = codax.encode(Image.new("RGB", (9, 9)), lossless=True)
    names = {"good": good, "longer": longer, "stored": stored, "cut": good[:-9]}
    for name, data in names.items():
        Path(name).write_bytes(data)
    Path("empty").write_bytes(b"")
    assert main(["verify", "good", "stored"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("good: good, 99x80, ")
    assert "factorized-tiny" in out[0]
    assert "stored" in out[1]
    assert main(["verify", "--json", *names, "empty", "absent"]) == 1
    told = capsys.readouterr()
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [row["input"] for row in rows if "error" not in row] == ["good", "stored"]
    assert "its symbols make" in told.err
    assert "absent: No such file" in told.err
    for name, status, word in (("good", 0, "model"), ("cut", 1, "error")):
        stream = io.TextIOWrapper(io.BytesIO(names[name]))
        with stream, monkeypatch.context() as patch:
            patch.setattr("sys.stdin", stream)
            assert main(["verify", "--json", "-"]) == status
        row = json.loads(capsys.readouterr().out)
        assert row["input"] == "-"
        assert word in row
    assert main(["verify", str(tmp_path)]) == 1
    assert "Is a directory; name the files in it" in capsys.readouterr().err
    codax.decode(longer)  # damaged, but not so that a decoder must see it
    with pytest.raises(FormatError):
        codax.decode(good[:-9])


def test_desktops_are_told_the_signature_and_the_ending():
    """`packaging/codax.xml`, by the specification of shared-mime-info."""
    (kind,) = ElementTree.parse(ROOT / "packaging" / "codax.xml").getroot()
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    match = kind.find(f"{space}magic/{space}match")
    value = match.get("value").encode().decode("unicode_escape").encode("latin-1")
    assert value == container.SIGNATURE
    assert kind.find(f"{space}glob").get("pattern") == "*.codax"
    import codax.pillow

    assert kind.get("type") == Image.MIME[codax.pillow.CodaxImageFile.format]
