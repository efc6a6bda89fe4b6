"""Many pictures at once: a result or an error for each, whatever stands beside it."""

import numpy as np
import pytest
from small_codecs import small_codec, synthetic

from codax.coding.gathering import call_together, gathered
from codax.errors import ConfigError, FormatError, ImageError, ModelError
from codax.face.decoding import verify_file
from codax.face.loading import load

SIZES = ((40, 60), (70, 60), (40, 61), (64, 40), (40, 60))


@pytest.fixture(scope="module")
def photos():
    return [synthetic(*size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def batched(photos):
    """A codec on JAX and its files of the pictures, by threes."""
    codec = small_codec("hyperprior")
    return codec, codec.encode_many(photos, 60, batch=3, fallback=False)


def test_a_misspelt_option_is_the_calls_error():
    with pytest.raises(TypeError, match="unexpected keyword 'qualty'"):
        small_codec("factorized").encode_many([synthetic(8, 8)], qualty=3)


def test_bytes_depend_on_no_neighbour_and_no_place(batched, photos):
    codec, files = batched
    order = np.random.default_rng(0).permutation(len(photos))
    mixed = [photos[n] for n in order]
    mixed[2:2] = [np.zeros((4, 4)), synthetic(50, 60, 9)]
    again = codec.encode_many(mixed, 60, batch=3, fallback=False)
    assert isinstance(again[2], ImageError)
    del again[2:4]
    assert again == [files[n] for n in order]
    assert codec.encode_many(photos[1:2], 60, batch=3, fallback=False) == files[1:2]


def test_batches_decode_to_what_single_files_do(batched, photos):
    codec, files = batched
    together = codec.decode_many(files, batch=3)
    for data, photo, found in zip(files, photos, together, strict=True):
        # What batches wrote ends where its symbols do, by single networks.
        verify_file(data, lambda _: codec.coder)
        alone = np.asarray(codec.decode(data), int)
        assert np.abs(alone - np.asarray(found)).max() <= 1
        assert np.abs(alone - photo).mean() < 40
    # The bytes may differ where a latent lies at a rounding edge, no more.
    single = codec.encode_many(photos, 60, batch=1, fallback=False)
    assert single == [codec.encode(photo, 60, fallback=False) for photo in photos]
    assert sum(map(len, single)) == pytest.approx(sum(map(len, files)), rel=0.01)


def test_an_error_for_each_that_fails(photos):
    codec = load("factorized-tiny")
    files = codec.encode_many([photos[0], np.zeros((2, 2)), photos[1]], 60)
    assert files[0] == codec.encode(photos[0], 60)
    assert isinstance(files[1], ImageError)
    assert "array is float64[2, 2]" in str(files[1])
    files[1] = files[0][:-9]
    other = load("fsq-tiny").encode(photos[0], fallback=False)
    found = codec.decode_many([*files, other, b"no file", "a.codax"])
    kinds = [type(item) for item in found[1:2] + found[3:]]
    assert kinds == [FormatError, ModelError, FormatError, FormatError]
    assert str(found[-1]) == "got str; expected the bytes of a .codax file"
    assert np.array_equal(found[2], codec.decode(files[2]))
    for item in found[1:2] + found[3:]:
        assert "\n" not in str(item)
    assert codec.encode_many([]) == codec.decode_many([]) == []


def test_what_is_wrong_with_the_call_is_no_picture_s(photos):
    codec = load("factorized-tiny")
    with pytest.raises(ConfigError, match="quality is 101"):
        codec.encode_many(photos, 101)
    with pytest.raises(ConfigError, match="batch is 8; ONNX Runtime takes one"):
        codec.encode_many(photos, batch=8)
    with pytest.raises(ConfigError, match="max_pixels is 0"):
        codec.decode_many([b"no file"], max_pixels=0)
    for wrong in (0, 1.5, True):
        with pytest.raises(ConfigError, match="expected a whole number from 1 up"):
            codec.decode_many([], batch=wrong)


def test_calls_are_done_together_by_their_key():
    sizes = []

    def together(calls):
        sizes.append(len(calls))
        if 13 in calls:
            raise ValueError("13")
        return [2 * call for call in calls]

    def job(*calls):
        def run():
            try:
                return [call_together("", together, call) for call in calls]
            except ValueError as error:
                return str(error)

        return run

    assert gathered([job(1, 2, 3), job(4), job(), job(5, 6)]) == [
        [2, 4, 6],
        [8],
        [],
        [10, 12],
    ]
    assert sizes == [3, 2, 1]
    # What fails together is each one's error, and nobody waits for ever.
    assert gathered([job(13), job(1, 2)]) == ["13", "13"]
    assert call_together("", together, 7) == 14
