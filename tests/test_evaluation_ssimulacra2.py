"""SSIMULACRA2 against values of libjxl's own program."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codax.errors import UnsupportedError
from codax.evaluation.metric_table import METRICS
from codax.evaluation.ssimulacra2 import ssimulacra2

ROOT = Path(__file__).parents[1]
GUITAR = "tests/fixtures/guitar.png"


def pair(path, box, quality):
    """A picture or a part of it, and what Pillow's JPEG leaves of it."""
    picture = Image.open(ROOT / path).convert("RGB").crop(box)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return np.asarray(picture), np.asarray(Image.open(buffer))


# `ssimulacra2 a.png b.png` of Debian 13, package libjxl-devtools 0.11.2-0.1~deb13u3, on
# both pictures of `pair` saved as PNG; Pillow 13.0.0 with libjpeg-turbo 3.2.0. The
# package ssimulacra2 0.3.0 alone gives 50.46, 80.04, 47.60, 79.19, 8.04 and 71.11.
@pytest.mark.parametrize(
    ("path", "box", "quality", "value"),
    [
        (GUITAR, None, 40, 50.89591928),
        (GUITAR, None, 90, 79.88174881),
        (GUITAR, (100, 150, 300, 300), 30, 36.45322154),
        ("notebooks/pictures/dog.webp", None, 75, 79.77191723),
        ("notebooks/pictures/flowers.webp", None, 10, 13.17982191),
        ("notebooks/pictures/sumac.webp", (0, 0, 319, 257), 60, 71.91382185),
    ],
)
def test_values_are_those_of_libjxl(path, box, quality, value):
    assert ssimulacra2(*pair(path, box, quality)) == pytest.approx(value, abs=0.1)


def test_equal_pictures_have_100():
    picture, _ = pair(GUITAR, (0, 0, 130, 120), 50)
    assert METRICS["ssimulacra2"](picture, picture) == 100


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'codax\[evaluation\]'"):
        METRICS["ssimulacra2"](*pair(GUITAR, (0, 0, 130, 120), 50))
