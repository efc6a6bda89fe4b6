"""The public face: what a person tries first works, or gets one line."""

import io
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from fake_codec import install
from PIL import Image
from small_codecs import photo, small_codec, synthetic

import codax
from codax.errors import ConfigError, FormatError, ImageError, ModelError


@pytest.fixture
def fake(monkeypatch, tmp_path):
    return install(monkeypatch, tmp_path / "checkpoints")


def test_dir_shows_the_public_names_and_no_others():
    assert dir(codax) == sorted(codax.__all__)
    for name in codax.__all__:
        assert getattr(codax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = codax.lode


def test_the_public_names_load_no_jax_until_a_codec_is_built():
    script = (
        "import sys, codax; codax.load, codax.encode, codax.decode, codax.open;"
        "print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_picture_there_and_back(fake, tmp_path):
    rgb = synthetic(40, 60)
    path = tmp_path / "photo.png"
    Image.fromarray(rgb).save(path)
    png = path.read_bytes()
    for picture in (path, str(path), Image.open(path), rgb, png, io.BytesIO(png)):
        data = codax.encode(picture, quality=90)
        assert data == codax.encode(rgb, 90, model="fake-tiny")
    (tmp_path / "photo.codax").write_bytes(data)
    expected = np.asarray(fake.decode(data))
    for source in (data, bytearray(data), tmp_path / "photo.codax", io.BytesIO(data)):
        assert np.array_equal(np.asarray(codax.decode(source)), expected)
    opened = codax.open(tmp_path / "photo.codax")
    assert (opened.size, opened.mode) == ((60, 40), "RGB")
    assert np.array_equal(np.asarray(opened), expected)


def test_load_without_a_name_gives_the_default(fake):
    assert codax.load() is codax.load("fake-tiny") is fake


def test_targets_go_through(fake):
    rgb = synthetic(40, 60)
    assert len(codax.encode(rgb, target_size=2000)) <= 2000
    with pytest.raises(ModelError, match="no lossless codec is installed"):
        codax.encode(rgb, lossless=True)


def test_what_is_no_file_is_told(fake, tmp_path):
    with pytest.raises(FormatError, match="got ndarray; expected the bytes"):
        codax.decode(np.zeros(4))
    with pytest.raises(OSError, match="No such file"):
        codax.decode(tmp_path / "none.codax")
    with pytest.raises(ImageError, match=": is a folder; expected a picture"):
        codax.encode(tmp_path)
    for call in (codax.encode, codax.decode):
        with pytest.raises(FormatError, match="opened as text"):
            call(io.StringIO("words"))
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        codax.encode(tmp_path / "none.png")
    (tmp_path / "text.codax").write_text("words")
    with pytest.raises(FormatError):
        codax.open(tmp_path / "text.codax")


class ByArray:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class ByDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("wrap", [jnp.asarray, ByArray, ByDlpack])
def test_arrays_of_other_libraries_are_taken(fake, wrap):
    rgb = synthetic(40, 60)
    assert fake.encode(wrap(rgb)) == fake.encode(rgb)


def test_numbers_may_be_numpys(fake):
    rgb = synthetic(8, 8)
    expected = fake.encode(rgb, 60, effort=3)
    assert fake.encode(rgb, np.float32(60), effort=np.int64(3)) == expected


def test_16_bits_may_be_of_either_order():
    from codax.files.pictures import from_image

    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    for order in "<>":
        found = from_image(grey.astype(grey.dtype.newbyteorder(order)))
        assert np.array_equal(found.rgb[..., 0], grey)


CASES = {
    "floats, channels first": (
        np.zeros((3, 8, 8), np.float32),
        r"transpose\(1, 2, 0\); of samples 0\.\.1: \(255 \* array",
    ),
    "wide integers": (np.zeros((8, 8, 3), int), r"0\.\.255: array\.astype"),
    "truths": (np.zeros((8, 8), bool), r"black and white: \(255 \* array"),
    "a path": ("photo.png", "got the path 'photo.png'; .* `codax.encode` takes paths"),
    "a list": ([[1, 2]], "got list; expected a Pillow picture or an array"),
    "floats": (np.zeros((8, 8, 3)), r"float64\[8, 8, 3\].*255 \* array"),
    "channels first": (
        np.zeros((3, 8, 8), np.uint8),
        r"uint8\[3, 8, 8\].*transpose\(1, 2, 0\)",
    ),
    "a batch": (np.zeros((1, 8, 8, 3), np.uint8), "one picture at a time"),
    "grey with an axis": (np.zeros((8, 8, 1), np.uint8), "grey has two axes"),
}


@pytest.mark.parametrize("case", CASES)
def test_other_pictures_get_one_line(fake, case):
    picture, message = CASES[case]
    with pytest.raises(ImageError, match=message) as told:
        fake.encode(picture)
    assert "\n" not in str(told.value)


def test_changed_weights_are_loaded_anew(fake, tmp_path):
    """And weights that stay are not loaded again and again."""
    from codax.face.loading import shared
    from codax.zoo.cards import find_card

    assert shared(find_card("fake-tiny")) is shared(find_card("fake-tiny-v1"))
    path = tmp_path / "checkpoints" / "fake-tiny-v1" / "card.json"
    path.write_text(path.read_text().replace("66616b653031", "66616b653032"))
    before = shared.__globals__["_shared"].cache_info().misses
    shared(find_card("fake-tiny"))
    assert shared.__globals__["_shared"].cache_info().misses == before + 1


@pytest.mark.parametrize("limit", [float("nan"), None, "x", 0, 2.5])
def test_a_limit_of_pixels_is_a_number(fake, limit):
    data = codax.encode(synthetic(8, 8))
    with pytest.raises(ConfigError, match="max_pixels is"):
        codax.decode(data, max_pixels=limit)


@pytest.mark.parametrize("effort", ["3", None, 1.5, True, 0, 10, float("nan")])
def test_effort_is_a_level(fake, effort):
    with pytest.raises(ConfigError, match=r"effort is .*whole number of 1 to 9"):
        fake.encode(synthetic(8, 8), effort=effort)


def test_open_takes_a_path(fake):
    with pytest.raises(ConfigError, match="got bytes; expected the path"):
        codax.open(b"photo.codax")


@pytest.mark.parametrize("quality", ["75", "high", [75], True])
def test_quality_is_a_number(fake, quality):
    with pytest.raises(ConfigError, match="expected a number of 0 to 100"):
        fake.encode(synthetic(8, 8), quality=quality)


def test_a_target_is_a_number(fake):
    with pytest.raises(ConfigError, match="target_size is '20k'; expected"):
        fake.encode(synthetic(8, 8), target_size="20k")


def test_a_codec_names_itself():
    assert repr(small_codec("quadtree")) == (
        "<codax.Codec quadtree-small-v1, quality 0 to 100>"
    )
    assert "lossless" in repr(small_codec("wavelet-lossless"))


def test_quality_has_one_unit():
    """The pieces take 0..100, as files do."""
    codec = small_codec("quadtree")
    x = photo()[None, :64, :64].astype(np.float32)
    found = codec.analysis(x, 37.5)
    expected = codec.model.analysis(x, np.array([75], np.int32))
    assert np.array_equal(found["y"], expected["y"])
    _, decoded = codec.rate(found, [37.5])
    picture = codec.synthesis(decoded, 37.5)
    rgb = x[0].astype(np.uint8)
    file = codec.decode(codec.encode(rgb, 37.5, effort=2, fallback=False))
    error = np.asarray(file, np.float32) - np.clip(np.asarray(picture[0]), 0, 255)
    assert np.abs(error).max() <= 1.0


def test_pillow_still_reads_by_the_old_import(fake, tmp_path):
    import codax.pillow

    assert codax.pillow.CodaxImageFile.format == "CODAX"
    data = io.BytesIO(codax.encode(synthetic(8, 8)))
    assert Image.open(data).size == (8, 8)


@pytest.mark.parametrize(
    "region", [(0, 0, 1), "0,0,5,5", 5, (1.5, 0, 2, 2), ("a",) * 4]
)
def test_a_region_is_four_whole_numbers(region):
    data = codax.encode(np.zeros((8, 8, 3), np.uint8), lossless=True)
    with pytest.raises(ConfigError, match="expected whole numbers: left, top"):
        codax.decode(data, region=region)
    assert codax.decode(data, region=np.array([1, 2, 3, 4])).size == (3, 4)


def test_pieces_refuse_what_they_cannot_take():
    codec = codax.load("factorized-tiny")
    x = np.zeros((1, 64, 128, 3), np.float32)
    for quality in (101, -1):
        with pytest.raises(ConfigError, match="expected 0 to 100"):
            codec.analysis(x, quality)
    for wrong in (x[0], x[:, :63], x[..., :1]):
        with pytest.raises(ConfigError, match=r"expected \[N H W 3\]"):
            codec.analysis(wrong, 50)
