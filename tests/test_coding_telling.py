"""What of long work is done is told within a large picture and within a search."""

import doctest
import threading

import pytest
from fake_codec import FakeCodec
from small_codecs import small_codec, synthetic

from codax.coding import telling
from codax.coding.telling import listening, part, tell


def test_the_example():
    assert doctest.testmod(telling).failed == 0


def test_no_one_listens():
    with part(0.0, 0.5):
        tell(0.5)


def test_parts_lie_in_parts_and_threads_apart():
    told, others = [], []

    def other():
        with listening(others.append):
            tell(0.5)

    with listening(told.append), part(0.5, 1.0):
        with part(0.0, 0.5):
            tell(0.5)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert told == [0.625, 0.75, 1.0]
    assert others == [0.5]


def test_a_large_picture_tells_what_is_done():
    """Of several tiles, both ways."""
    codec = small_codec("factorized", buckets=(32,))
    rgb = synthetic(600, 800)
    coding, decoding = [], []
    data = codec.encode(rgb, fallback=False, progress=coding.append)
    codec.decode(data, progress=decoding.append)
    for told in (coding, decoding):
        assert told == sorted(told)
        assert told[-1] == pytest.approx(1.0)
        assert len(set(told)) > 3
        assert max(b - a for a, b in zip([0.0, *told], told, strict=False)) < 0.5


@pytest.mark.parametrize("aim", [{"target_size": 900}, {"target_psnr": 35}])
def test_a_search_tells_what_is_done(aim):
    codec, told = FakeCodec(), []
    with listening(told.append):
        codec.encode(synthetic(20, 30), fallback=False, **aim)
    assert told == sorted(told)
    assert len(told) >= 7
    assert told[-1] == pytest.approx(1.0)
