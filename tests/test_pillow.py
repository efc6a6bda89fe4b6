"""`import codax.pillow` teaches Pillow to open and save `.codax`."""

import io

import numpy as np
import pytest
from fake_codec import install
from PIL import Image

from codax.errors import FormatError, ModelError
from codax.pillow import CodaxImageFile  # Teaches Pillow.


@pytest.fixture
def picture(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path)
    assert CodaxImageFile.format == "CODAX"
    y, x = np.mgrid[:9, :14]
    return Image.fromarray(np.stack([9 * x, 9 * y, x * y], -1).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK"])
def test_save_and_open(mode, picture, tmp_path):
    picture = picture.convert(mode)
    picture.save(tmp_path / "x.codax", quality=100)
    with Image.open(tmp_path / "x.codax") as back:
        assert (back.format, back.size) == ("CODAX", picture.size)
        assert back.mode == mode
        difference = np.asarray(back.convert("RGB")).astype(int) - picture.convert(
            "RGB"
        )
    assert np.abs(difference).max() <= 1
    assert back.fp is None


def test_quality_and_model_reach_the_codec(picture, tmp_path):
    sizes = []
    for quality in (0, 100):
        buffer = io.BytesIO()
        options = {"model": "fake-tiny", "fallback": False}
        picture.save(buffer, "CODAX", quality=quality, **options)
        sizes.append(len(buffer.getvalue()))
    assert sizes[0] < sizes[1]
    with pytest.raises(ModelError, match="fake-tiny-v1"):
        picture.save(tmp_path / "y.codax", model="fake-tinny")
    assert not (tmp_path / "y.codax").exists()


def test_profile_is_known_after_loading(picture, tmp_path):
    picture.info["icc_profile"] = bytes(16) + b"RGB " + bytes(100)
    picture.save(tmp_path / "x.codax")
    with Image.open(tmp_path / "x.codax") as back:
        back.load()
    assert back.info["icc_profile"] == picture.info["icc_profile"]


def test_damage_is_one_line(picture, tmp_path):
    picture.save(tmp_path / "x.codax")
    data = (tmp_path / "x.codax").read_bytes()
    with pytest.raises(FormatError, match="damaged"):
        Image.open(io.BytesIO(data[:-7]))
