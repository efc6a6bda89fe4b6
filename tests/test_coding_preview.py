"""Small pictures by the linear path: as good as the decoded one, made smaller."""

import io

import numpy as np
import pytest
from PIL import Image
from small_codecs import photo

import codax.pillow  # noqa: F401  Teaches Pillow.
from codax.coding.preview import Preview
from codax.errors import UnsupportedError
from codax.evaluation.metrics import psnr
from codax.face.loading import load
from codax.files import container

NAMES = ("quadtree-base", "channelwise-tiny", "factorized-tiny")
SIZE = (330, 453)
QUALITIES = {16: (60, 75, 90), 8: (80, 90)}


def reduced(rgb, reduction):
    """Averages of blocks; those at the end of the picture have fewer pixels."""
    return np.asarray(Image.fromarray(rgb).reduce(reduction))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_within_a_decibel_of_the_decoded_picture_made_smaller(name):
    codec, rgb = load(name), photo()[100 : 100 + SIZE[0], 60 : 60 + SIZE[1]]
    for quality in sorted({q for own in QUALITIES.values() for q in own}):
        file = container.read(codec.encode(rgb, quality, effort=1, fallback=False))
        stream = file.stream, *SIZE, file.quality
        decoded = codec.coder.decompress(*stream, trellis=file.trellis)
        known = codec.coder.preview.reductions(file.quality)
        assert known == tuple(r for r, own in QUALITIES.items() if quality >= own[0])
        for reduction in known:
            found = codec.coder.reduced(*stream, reduction, trellis=file.trellis)
            expected = reduced(rgb, reduction)
            assert found.shape == expected.shape
            usual = psnr(expected, reduced(decoded, reduction))
            assert psnr(expected, found) > usual - 1.0, (quality, reduction)
    above = codec.coder.preview.reductions(200)
    assert above == (() if name == "quadtree-base" else (16, 8))
    assert codec.coder.preview.reductions(119) == ()


def opened(mode="RGB", **options):
    image = Image.fromarray(photo()[:320, :448]).convert(mode)
    file = io.BytesIO()
    options = {"model": "quadtree-tiny", "quality": 85, "fallback": False} | options
    image.save(file, "CODAX", **options)
    return image, Image.open(io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pillow_asks_for_it(mode, monkeypatch):
    whole, image = opened(mode)
    calls = []
    picture = Preview.picture
    monkeypatch.setattr(
        Preview, "picture", lambda *a: calls.append(a[3]) or picture(*a)
    )
    image.thumbnail((14, 10))
    assert calls == [16]
    assert (image.mode, image.size) == (mode, (14, 10))
    whole.thumbnail((14, 10))
    assert psnr(np.asarray(whole), np.asarray(image)) > 30
    drafted = opened(mode)[1]
    assert drafted.draft(None, (56, 40)) == (mode, (0, 0, 56.0, 40.0))
    assert drafted.draft(None, (7, 5)) is None, "once"
    assert drafted.size == (56, 40)
    assert np.asarray(drafted).shape[:2] == (40, 56)
    assert calls == [16, 8]


def test_where_there_is_none_the_picture_is_decoded_whole():
    for mode, options in (
        ("RGBA", {}),
        ("P", {}),
        ("RGB", {"fallback": True, "lossless": True, "quality": None, "model": None}),
        ("RGB", {"model": "wavelet-tiny"}),
    ):
        options = {key: value for key, value in options.items()}
        _, image = opened(mode, **options)
        assert image.draft(None, (10, 10)) is None
        assert image.size == (448, 320)
    _, image = opened()
    assert image.draft(None, (57, 40)) is None, "too large for a reduction"
    assert image.draft("L", None) is None
    assert opened(quality=50)[1].draft(None, (10, 10)) is None, "too coarse"
    coder = load("wavelet-tiny").coder
    stream = coder.compress(photo()[:64, :64], 100)
    with pytest.raises(UnsupportedError, match="no quick way to small pictures"):
        coder.reduced(stream, 64, 64, 100, 8)
