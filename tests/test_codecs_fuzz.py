"""A small run of tools/fuzz.py, and proof that it would notice."""

from pathlib import Path

import numpy as np
import pytest
from fake_codec import install
from PIL import Image

from codax.face.encoding import encode_image
from codax.files.scripts import run_file

TOOL = Path(__file__).parent.parent / "tools" / "fuzz.py"


@pytest.fixture(scope="module")
def tool():
    return run_file(TOOL, "tool")


@pytest.fixture
def codec(monkeypatch, tmp_path):
    return install(monkeypatch, tmp_path)


@pytest.fixture
def originals(codec):
    y, x = np.mgrid[:20, :31]
    image = Image.fromarray(np.stack([x, y, x * y % 256], -1).astype(np.uint8))
    image.info["exif"] = b"Exif\0\0" + bytes(40)
    alpha = image.copy()
    alpha.putalpha(Image.fromarray((x * 8).astype(np.uint8)))
    pictures = [image, alpha, alpha.quantize(12), image.convert("1")]
    coded = [encode_image(codec, p, quality=70, fallback=False) for p in pictures]
    return coded + [encode_image(codec, p, target_size=10**6) for p in pictures]


def test_mutants_break_no_promise(tool, originals):
    report = tool.fuzz(originals, range(1500))
    assert report.failures == []
    assert not any("foreign" in outcome for outcome in report.outcomes)
    assert "wrong checksum: decoded" not in report.outcomes
    # Both halves went where they should: not all repaired ones died in the container.
    assert report.outcomes["repaired: decoded"] > 50
    assert report.outcomes["wrong checksum: FormatError"] > 500


def test_mutants_are_repeatable(tool, originals):
    first = [
        tool.mutate(originals[1], np.random.default_rng((5, i)), repair=i % 2 == 1)
        for i in range(40)
    ]
    second = [
        tool.mutate(originals[1], np.random.default_rng((5, i)), repair=i % 2 == 1)
        for i in range(40)
    ]
    assert first == second
    assert len(set(first)) > 35


def test_a_foreign_exception_and_a_hang_are_noticed(
    tool, codec, originals, monkeypatch, tmp_path
):
    good = codec.coder.decompress
    monkeypatch.setattr(tool, "HANG_SECONDS", 1)

    def poor(stream, height, width, quality, **options):
        if (height, width) == (20, 31) and quality == 140:
            return good(stream, height, width, quality, **options)
        if quality == 140:
            raise KeyError("foreign")
        while True:
            pass

    monkeypatch.setattr(codec, "decompress", poor)
    numbers = _numbers(tool, originals)
    report = tool.fuzz(originals, numbers, keep=tmp_path / "kept")
    assert any("KeyError" in line for line in report.failures)
    assert any("more than 1 s" in line for line in report.failures)
    assert len(list((tmp_path / "kept").iterdir())) == len(report.failures)


def _numbers(tool, originals):
    """Finds one mutant of another size and one of another quality."""
    sizes, qualities = [], []
    for number in range(1, 2000, 2):
        rng = np.random.default_rng((0, number))
        data = tool.mutate(originals[rng.integers(len(originals))], rng, repair=True)
        try:
            file = tool.container.read(data)
        except tool.CodaxError:
            continue
        if file.codec_id != 250 or file.weights_hash != b"fake01":
            continue
        if file.quality != 140:
            qualities.append(number)
        elif (file.height, file.width) != (20, 31):
            sizes.append(number)
        if len(sizes) > 3 and len(qualities) > 1:
            break
    return sizes[:4] + qualities[:2]
