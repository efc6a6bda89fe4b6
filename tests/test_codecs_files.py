"""A picture to the bytes of a file and back, with the targets and the sections."""

import json

import numpy as np
import pytest
from fake_codec import CARD, FakeCodec, install
from PIL import Image

from codax.errors import ConfigError, FormatError, ModelError, UnsupportedError
from codax.face.encoding import _highest, encode_image
from codax.face.loading import decode_image
from codax.files import container
from codax.files.container import Colour, Container, Tag
from codax.files.info import read_info
from codax.zoo import cards


@pytest.fixture
def codec():
    return FakeCodec()


@pytest.fixture
def pixels():
    noise = np.random.default_rng(0).integers(0, 40, (24, 33, 3))
    y, x = np.mgrid[:24, :33]
    return (noise + (4 * x + 3 * y)[..., None]).astype(np.uint8)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_quality_is_counted_in_half_steps(codec, pixels):
    for quality, half_steps in ((None, 150), (0, 0), (100, 200), (60.3, 121)):
        data = encode_image(codec, pixels, quality=quality)
        assert container.read(data).quality == half_steps


@pytest.mark.parametrize("limit", [600, 900, 1300, 10**6])
def test_size_is_met_as_closely_as_quality_allows(limit, codec, pixels):
    data = encode_image(codec, pixels, target_size=limit)
    half_steps = container.read(data).quality
    assert len(data) <= limit
    assert codec.calls <= 10
    if half_steps < 200:
        above = encode_image(codec, pixels, quality=(half_steps + 1) / 2)
        assert len(above) > limit


def test_bpp_counts_the_whole_file(codec, pixels):
    image = Image.fromarray(pixels)
    image.info["exif"] = b"Exif\0\0" + bytes(300)
    data = encode_image(codec, image, target_bpp=12)
    assert 11 < len(data) * 8 / (24 * 33) <= 12


@pytest.mark.parametrize("grey", [False, True])
def test_psnr_is_reached_at_the_lowest_quality(grey, codec, pixels):
    image = pixels[..., 0] if grey else pixels
    data = encode_image(codec, image, target_psnr=33)
    half_steps = container.read(data).quality
    assert psnr(image, np.asarray(codec.decode(data))) >= 33
    below = encode_image(codec, image, quality=(half_steps - 1) / 2)
    assert psnr(image, np.asarray(codec.decode(below))) < 33


@pytest.mark.parametrize(
    ("aim", "message"),
    [
        ({"target_size": 40}, "40 bytes is out of reach: quality 0 takes"),
        ({"target_bpp": 0.001}, "0 bytes is out of reach"),
        ({"target_psnr": 99}, "99 dB is out of reach: quality 100 gives 48.13"),
    ],
)
def test_targets_out_of_reach(aim, message, codec, pixels, monkeypatch):
    decoded = pixels ^ 1  # off by one everywhere: 48.13 dB
    monkeypatch.setattr(codec, "decompress", lambda *_, **__: decoded)
    with pytest.raises(UnsupportedError, match=message):
        encode_image(codec, pixels, **aim, fallback=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": -1}, "quality is -1; expected 0 to 100"),
        ({"quality": float("nan")}, "quality is nan"),
        ({"target_size": 0}, "target_size is 0; expected a positive number"),
        ({"target_bpp": 1, "target_size": 9}, "target_bpp and target_size exclude"),
        ({"metadata": "some"}, "expected one of all, icc, none"),
    ],
)
def test_wrong_options(options, message, codec, pixels):
    with pytest.raises(ConfigError, match=message):
        encode_image(codec, pixels, **options)


def test_metadata_levels(codec, pixels):
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = bytes(16) + b"RGB " + bytes(50)
    exif = Image.Exif()
    exif[0x0112] = 3
    image.info["exif"] = exif.tobytes()
    image.info["xmp"] = b"<x/>"
    expected = {
        "all": {Tag.ICC, Tag.EXIF, Tag.XMP},
        "icc": {Tag.ICC, Tag.ORIENTATION},
        "none": {Tag.ORIENTATION},
    }
    for metadata, tags in expected.items():
        opened = Image.fromarray(pixels)
        opened.info.update(image.info)
        data = encode_image(codec, opened, metadata=metadata)
        assert set(container.read(data).sections) == tags
        assert codec.decode(data).getexif()[0x0112] == 3


def with_sections(codec, pixels, sections, colour=Colour.RGB):
    return container.write(
        Container(
            codec_id=codec.coder.codec_id,
            weights_hash=codec.coder.weights_hash,
            width=33,
            height=24,
            quality=200,
            stream=codec.coder.compress(pixels, 200),
            colour=colour,
            sections=sections,
        )
    )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({Tag.ALPHA: b""}, "no known predictor"),
        ({Tag.ALPHA: b"\x00\x01\x05\x00\x00"}, "coded bytes have 4 bytes"),
        ({Tag.MODE: b"P"}, "palette has 0 bytes"),
        ({Tag.MODE: b"P", Tag.PALETTE: bytes(7)}, "palette has 7 bytes"),
        ({Tag.MODE: b"I;16"}, "mode 'I;16' does not fit"),
        ({Tag.MODE: b"\xff\n"}, "does not fit"),
        ({Tag.ORIENTATION: b"\x09"}, "orientation is 09"),
        ({Tag.ORIENTATION: b""}, "orientation is "),
    ],
)
def test_hostile_sections(sections, message, codec, pixels):
    with pytest.raises(FormatError, match=message) as caught:
        codec.decode(with_sections(codec, pixels, sections))
    assert "\n" not in str(caught.value)


def test_unknown_optional_sections_are_skipped(codec, pixels):
    image = codec.decode(with_sections(codec, pixels, {0x70: b"later"}))
    assert np.array_equal(np.asarray(image), pixels)


def test_other_weights_are_refused(codec, pixels):
    data = codec.encode(pixels)
    codec.coder.weights_hash = b"other!"
    with pytest.raises(ModelError, match="wants codec 250 with weights 66616b653031"):
        codec.decode(data)


def test_codecs_are_found_by_hash(monkeypatch, tmp_path, pixels):
    codec = install(monkeypatch, tmp_path)
    data = codec.encode(pixels, 100, fallback=False)
    assert np.array_equal(np.asarray(decode_image(data)), pixels)
    assert read_info(data, cards.name_of)["model"] == "fake-tiny-v1"


def test_cards(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    newer = {**CARD, "name": "fake-tiny-v10", "version": 10, "default": False}
    (tmp_path / "fake-tiny-v10").mkdir()
    (tmp_path / "fake-tiny-v10" / "card.json").write_text(json.dumps(newer))
    assert cards.default_card().name == "fake-tiny-v1"
    assert cards.find_card("fake-tiny").name == "fake-tiny-v10"
    assert cards.find_card("fake-tiny-v1").version == 1
    assert cards.find_card(str(tmp_path / "fake-tiny-v1")).bd_rate == {"jpeg": -12.5}
    with pytest.raises(ModelError, match="did you mean fake-tiny-v1"):
        cards.find_card("fake-tinny-v1")
    # The name of a codec alone means its default size, not the nearest in letters.
    small = {**CARD, "name": "fake-s-v1", "preset": "s", "default": False}
    (tmp_path / "fake-s-v1").mkdir()
    (tmp_path / "fake-s-v1" / "card.json").write_text(json.dumps(small))
    with pytest.raises(ModelError, match="did you mean fake-tiny-v1"):
        cards.find_card("fake")
    with pytest.raises(ModelError, match=r"wants fake-tiny-v0 .* a draft of no"):
        cards.find_by_hash(250, b"fake00")
    with pytest.raises(ModelError, match=r"wants codec 7 with weights .*of no release"):
        cards.find_by_hash(7, b"fake00")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "field 'name' is absent"),
        ("[]", "wrong type"),
        (json.dumps({**CARD, "weights_hash": "12"}), "expected 12 hex digits"),
        (json.dumps({**CARD, "version": "one"}), "wrong type"),
    ],
)
def test_damaged_cards_are_named(text, message, tmp_path):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        cards.read_card(tmp_path)


@pytest.mark.parametrize("near", [None, 0, 60, 97, 100, 103, 200])
@pytest.mark.parametrize("border", [-1, 0, 1, 99, 100, 101, 199, 200])
def test_a_search_finds_the_border_from_anywhere(near, border):
    asked = []

    def holds(trial):
        asked.append(trial)
        return trial <= border

    assert _highest(holds, 0, 200, near) == border
    assert len(set(asked)) == len(asked)
    assert len(asked) <= (8 if near is None else 12)
    if near is not None and abs(near - border) <= 3:
        assert len(asked) <= 6
