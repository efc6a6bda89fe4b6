"""The contract between Pillow and its formats, as programs rely on it, for `.codax`.

Files of a codec and stored ones, since they keep palettes in different places.
"""

import copy
import io
import pickle
import warnings
import zlib

import numpy as np
import pytest
from fake_codec import install
from PIL import Image, ImageFile, ImageOps, ImageSequence, UnidentifiedImageError

from codax.errors import (
    CodaxError,
    FormatError,
    ImageError,
    ModelError,
    UnsupportedError,
)
from codax.files import container
from codax.pillow import CodaxImageFile  # Teaches Pillow.

MODES = ["1", "L", "LA", "P", "P with alpha", "RGB", "RGBA", "CMYK", "YCbCr"]
ICC = bytes(16) + b"RGB " + bytes(100)
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


@pytest.fixture(params=["coded", "stored"])
def kind(request):
    return request.param


@pytest.fixture
def codec(monkeypatch, tmp_path):
    """A codec whose files are larger than stored ones, where those are asked for."""
    codec = install(monkeypatch, tmp_path)
    compress = codec.compress

    def loosely(rgb, quality, **options):
        return zlib.compress(zlib.decompress(compress(rgb, quality, **options)), 0)

    monkeypatch.setattr(codec, "compress", loosely)
    return codec


def sample(mode="RGB"):
    """A small picture of a mode: few colours, an edge, all levels of alpha."""
    y, x = np.mgrid[:9, :14]
    rgb = np.stack([60 * (x // 4), 60 * (y // 3), 0 * x + 9], -1).astype(np.uint8)
    image = Image.fromarray(rgb)
    if mode == "P with alpha":
        image = image.quantize(16)
        image.info["transparency"] = bytes(range(0, 240, 15))
        return image
    if mode == "P":
        return image.quantize(16)
    image = image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray((17 * x).astype(np.uint8)))
    return image


def exif(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    found[0x010F] = "maker"
    return found


def written(image, kind="coded", **options):
    """The bytes of a file with a picture that comes back exactly."""
    file = io.BytesIO()
    options = {"quality": 100, "fallback": kind == "stored", **options}
    image.save(file, "CODAX", **options)
    converted = image.mode in ("CMYK", "YCbCr")  # which have no stored form
    stored = container.read(file.getvalue()).stored
    assert stored == (kind == "stored" and not converted)
    return file.getvalue()


def opened(image, kind="coded", **options):
    return Image.open(io.BytesIO(written(image, kind, **options)))


# Opening and loading.


@pytest.mark.parametrize("mode", MODES)
def test_all_but_pixels_is_known_at_open(mode, kind, codec):
    picture = sample(mode)
    picture.info |= {"exif": exif(6).tobytes(), "xmp": XMP}
    if picture.mode not in ("1", "L", "LA", "CMYK"):
        picture.info["icc_profile"] = ICC
    image = opened(picture, kind)
    before = dict(image.info), image.mode, image.size, image.has_transparency_data
    orientation = image.getexif()[0x0112]
    assert (image.mode, image.size) == (picture.mode, picture.size)
    assert image.info["exif"] == picture.info["exif"]
    assert image.info["xmp"] == XMP
    assert image.info.get("icc_profile") == picture.info.get("icc_profile")
    assert image.has_transparency_data == picture.has_transparency_data
    assert orientation == 6
    image.load()
    assert before == (image.info, image.mode, image.size, image.has_transparency_data)
    alone = opened(picture, kind, metadata="none")
    assert alone.info.keys() <= {"exif", "transparency"}
    assert alone.getexif() == {0x0112: 6}
    back, there = (im.convert("RGBA") for im in (image, picture))
    # YCbCr is coded as RGB, which rounds twice.
    assert np.abs(np.subtract(back, there, dtype=int)).max() <= 3


def test_pixels_are_decoded_when_they_are_needed_and_once(codec, monkeypatch):
    calls = []
    decompress = codec.decompress
    monkeypatch.setattr(
        codec, "decompress", lambda *a, **k: calls.append(1) or decompress(*a, **k)
    )
    image = opened(sample())
    assert (image.size, image.getbands(), image.getexif()) == (
        (14, 9),
        tuple("RGB"),
        {},
    )
    assert not calls
    assert image.getpixel((0, 0)) == (0, 0, 9)
    image.load()
    np.asarray(image)
    assert calls == [1]


def test_files_are_closed(codec, tmp_path):
    path = tmp_path / "x.codax"
    path.write_bytes(written(sample()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # ResourceWarning
        image = Image.open(path)
        file = image.fp
        image.load()
        assert file.closed
        assert image.fp is None
        with Image.open(path) as image:
            file = image.fp
        assert file.closed
        image = Image.open(path)
        path.unlink()  # The bytes are in memory.
        assert image.getpixel((0, 0)) == (0, 0, 9)
    own = io.BytesIO(written(sample()))
    Image.open(own).load()
    assert not own.closed


def test_after_close_there_are_no_pixels(codec):
    for load_first in (True, False):
        image = opened(sample())
        if load_first:
            image.load()
        image.close()
        with pytest.raises((ValueError, OSError)):
            image.getpixel((0, 0))


def test_what_others_do_with_an_opened_picture(kind, codec):
    """`verify`, `draft`, `thumbnail`, frames, changing pixels, turning upright."""
    image = opened(sample(), kind)
    assert image.verify() is None
    assert image.get_format_mimetype() == "image/x-codax"
    image = opened(sample(), kind)
    assert image.draft("L", (4, 4)) is None
    image.thumbnail((7, 7))
    image.load()
    assert image.size == (7, 5)
    image = opened(sample(), kind)
    image.seek(0)
    with pytest.raises(EOFError):
        image.seek(1)
    assert image.tell() == 0
    assert len(list(ImageSequence.Iterator(image))) == 1
    image.putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) == (1, 2, 3)
    picture = sample()
    picture.info["exif"] = exif(6).tobytes()
    turned = ImageOps.exif_transpose(opened(picture, kind))
    assert turned.size == (9, 14)
    assert 0x0112 not in turned.getexif()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("load_first", [True, False])
def test_copies(mode, load_first, kind, codec):
    picture = sample(mode)
    picture.info["exif"] = exif(3).tobytes()
    for copied in (
        lambda image: pickle.loads(pickle.dumps(image)),
        copy.deepcopy,
        copy.copy,
        lambda image: image.copy(),
    ):
        image = opened(picture, kind)
        if load_first:
            image.load()
        other = copied(image)
        assert (other.mode, other.size, other.info) == (
            image.mode,
            image.size,
            image.info,
        )
        other.load()
        assert other.tobytes() == image.tobytes()
        assert other.getpalette() == image.getpalette()
        assert other.getexif()[0x0112] == 3


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_parser_is_fed_in_pieces(piece, kind, codec):
    data = written(sample(), kind)
    parser = ImageFile.Parser()
    for start in range(0, len(data), piece):
        parser.feed(data[start : start + piece])
        assert (parser.image is None) == (start + piece < len(data))
    assert np.array_equal(parser.close(), sample())


def test_parser_says_that_a_file_is_not_whole(codec):
    parser = ImageFile.Parser()
    parser.feed(written(sample())[:-1])
    with pytest.raises(OSError, match="cannot parse"):
        parser.close()


def test_damage_is_what_other_programs_catch(kind, codec):
    data = written(sample("P"), kind)
    for end in (4, 20, len(data) - 1):
        with pytest.raises(UnidentifiedImageError, match="damaged") as caught:
            Image.open(io.BytesIO(data[:end]))
        assert isinstance(caught.value.__cause__, FormatError)
        assert str(caught.value) == str(caught.value.__cause__)
    image = opened(sample())
    image._data = image._data.replace(b"fake01", b"fake99")  # other weights
    for _ in range(2):
        with pytest.raises(OSError, match="checksum") as caught:
            image.load()
        assert isinstance(caught.value.__cause__, CodaxError)


# Saving.


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK"])
def test_save_and_open(mode, codec, tmp_path):
    picture = sample(mode)
    picture.save(tmp_path / "x.codax", quality=100)
    with Image.open(tmp_path / "x.codax") as back:
        assert (back.format, back.size) == ("CODAX", picture.size)
        assert isinstance(back, CodaxImageFile)
        assert back.mode == mode
        difference = np.subtract(back.convert("RGB"), picture.convert("RGB"), dtype=int)
    assert np.abs(difference).max() <= 1


def test_a_file_is_saved_over_itself(codec, tmp_path):
    path = tmp_path / "x.codax"
    path.write_bytes(written(sample()))
    image = Image.open(path)
    image.save(path, quality=100)
    assert np.array_equal(Image.open(path), sample())


def test_quality_and_model_reach_the_codec(codec, tmp_path):
    for quality in (0, 100):
        data = written(sample(), quality=quality, model="fake-tiny")
        assert container.read(data).quality == 2 * quality
    with pytest.raises(ModelError, match="fake-tiny-v1"):
        sample().save(tmp_path / "y.codax", model="fake-tinny")
    assert not (tmp_path / "y.codax").exists()


@pytest.mark.parametrize("given", [exif(1), exif(1).tobytes(), exif(1).tobytes()[6:]])
def test_what_save_is_given_goes_before_what_the_picture_carries(given, codec):
    picture = sample()
    own = {"exif": exif(6).tobytes(), "icc_profile": ICC, "xmp": XMP}
    picture.info |= own
    other = {"icc_profile": ICC + b"!", "xmp": XMP.decode() + " ", "exif": given}
    assert opened(picture).info == own
    found = opened(picture, **other)
    assert found.getexif() == exif(1)
    assert found.info["icc_profile"] == ICC + b"!"
    assert found.info["xmp"] == XMP + b" "
    assert opened(picture, **other).getexif()[0x0112] == 1
    assert picture.info == own, "the picture is as it was"


@pytest.mark.parametrize("empty", [b"", None])
def test_what_save_is_given_empty_is_taken_away(empty, codec):
    picture = sample()
    own = {"exif": exif(6).tobytes(), "icc_profile": ICC, "xmp": XMP}
    picture.info |= own
    for name in own:
        assert opened(picture, **{name: empty}).info.keys() == own.keys() - {name}
    assert opened(picture, exif=Image.Exif(), xmp="", icc_profile=empty).info == {}
    with pytest.raises(ImageError, match="exif is int; expected bytes"):
        written(picture, exif=3)


def test_only_one_picture_is_saved(codec, tmp_path):
    picture, other = sample(), sample("L")
    picture.save(tmp_path / "x.codax", save_all=True)
    for options in (
        {"save_all": True, "append_images": [other]},
        {"append_images": iter([other])},
    ):
        with pytest.raises(UnsupportedError, match="holds one picture, got 2 frames"):
            picture.save(tmp_path / "y.codax", **options)
    file = io.BytesIO()
    picture.save(file, "GIF", save_all=True, append_images=[other])
    with pytest.raises(UnsupportedError, match="got 2 frames"):
        Image.open(file).save(tmp_path / "y.codax", save_all=True)
    assert not (tmp_path / "y.codax").exists()
    Image.open(file).save(tmp_path / "y.codax")  # the current one
