"""Lossless coding: every mode and size to the last bit, and what is refused."""

import dataclasses
import io

import numpy as np
import pytest
from flax import nnx
from PIL import Image
from small_codecs import photo, small_codec, synthetic

from codax.codecs.lossless import LosslessConfig, lossless
from codax.coding.reversible import Prefix, from_bands, to_bands
from codax.coding.trees import flatten
from codax.errors import ConfigError, FormatError, UnsupportedError
from codax.face.codec import Codec
from codax.files import container
from codax.files.opening import open_image
from codax.files.pictures import from_image
from codax.train.config import TrainConfig
from codax.train.export import codec_of

NAME = "wavelet-lossless"
SIZES = [(1, 1), (1, 9), (13, 1), (17, 33), (50, 100)]


def deep(height, width):
    """16 bits grey: a ramp with noise in its low bits."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(1).integers(0, 40, (height, width))
    return (rows * 500 + columns * 300 + noise).astype(np.uint16)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bands_and_prefix_give_the_samples_back(height, width):
    rgb = synthetic(height, width)
    for samples in (rgb, rgb[..., :1], deep(height, width)[..., None]):
        prefix, high = Prefix.cut(samples, 5)
        assert all(np.abs(value).max(initial=0) <= 8191 for value in high.values())
        stream = prefix.write()
        assert len(stream) % 4 == 0
        found, rest = Prefix.read(stream + b"rest", height, width, 5)
        assert rest == b"rest"
        kept = {name: value[0] for name, value in high.items()}
        back = found.samples(found.whole(kept), height, width)
        assert back.dtype == samples.dtype
        assert np.array_equal(back, samples)


def test_a_colour_difference_is_zero_in_grey():
    grey = np.repeat(synthetic(20, 30)[None, ..., :1], 3, 3)
    bands = to_bands(grey, 3, 128)
    assert not any(np.any(v) for name, v in bands.items() if name.startswith("chroma"))
    assert np.array_equal(from_bands(bands, 20, 30, 128), grey)


def test_damaged_prefixes_are_refused():
    samples = deep(20, 30)[..., None]
    stream = Prefix.cut(samples, 5)[0].write()
    for damaged, message in (
        (b"\x01", "expected at least 4"),
        (b"\x02\x08\0\0", "2 colours of 8 bits"),
        (b"\x03\x10\0\0", "3 colours of 16 bits"),
        (b"\x01\x10\x20\0" + stream[4:], "no shifts of 0 to 15"),
        (b"\x01\x10\0\0", "no shifts"),
        (stream[:-4], "low bits truncated"),
    ):
        with pytest.raises(FormatError, match=message):
            Prefix.read(damaged, 20, 30, 5)
    bands = {name: v[0] + 999 for name, v in to_bands(samples[None], 5, 0).items()}
    with pytest.raises(FormatError, match="out of range"):
        Prefix(1, 8, {}, {}).samples(bands, 20, 30)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pictures_come_back_to_the_last_bit(mode):
    codec = small_codec(NAME)
    if mode == "I;16":
        image = Image.fromarray(deep(45, 70))
    else:
        image = Image.fromarray(
            np.dstack([photo()[:45, :70], synthetic(45, 70)[..., 0]])
        )
        image = image.quantize(64) if mode == "P" else image.convert(mode)
    data = codec.encode(image, lossless=True, fallback=False)
    assert container.read(data).quality == 200
    back = codec.decode(data)
    assert back.mode == mode
    same = "RGBA" if mode == "P" else mode
    assert back.convert(same).tobytes() == image.convert(same).tobytes()


def test_sizes_come_back_to_the_last_bit():
    codec = small_codec(NAME)
    for height, width in SIZES:
        rgb = photo()[: height or 1, :width]
        assert np.array_equal(
            np.asarray(codec.decode(codec.encode(rgb, fallback=False))), rgb
        )
        grey = deep(height, width)
        assert np.array_equal(
            np.asarray(codec.decode(codec.encode(grey, fallback=False))), grey
        )


def test_a_deep_png_is_read_whole():
    buffer = io.BytesIO()
    Image.fromarray(deep(5, 7)).save(buffer, "PNG")
    picture = from_image(open_image(buffer.getvalue()))
    assert np.array_equal(picture.samples[..., 0], deep(5, 7))


def test_what_is_not_lossless_is_refused():
    image = Image.fromarray(photo()[:20, :30])
    with pytest.raises(ConfigError, match="factorized-small-v1 has no lossless path"):
        small_codec("factorized").encode(image, lossless=True)
    with pytest.raises(UnsupportedError, match="16 bits a sample; factorized-small-v1"):
        small_codec("factorized").encode(deep(20, 30))
    codec = small_codec(NAME)
    with pytest.raises(UnsupportedError, match="mode 'CMYK' is coded as RGB"):
        codec.encode(image.convert("CMYK"), lossless=True)
    with pytest.raises(ConfigError, match="expected 100 to 100"):
        codec.encode(image, quality=50)


def test_a_header_that_contradicts_the_stream_is_refused():
    codec = small_codec(NAME)
    file = container.read(codec.encode(photo()[:20, :30, 0], fallback=False))
    for change in ({"colour": container.Colour.RGB}, {"bit_depth": 16}):
        data = container.write(dataclasses.replace(file, **change))
        with pytest.raises(FormatError, match="the stream holds 1 colours of 8 bits"):
            codec.decode(data)


def test_levels_beyond_the_cells_and_tiles():
    """Five levels, so that a grid is coarser than the cells; tiles and buckets."""
    config = TrainConfig(
        codec=NAME,
        preset="small",
        model=LosslessConfig(levels=5, split=1, channels=4, hidden=4),
    )
    model = lossless(config.model, rngs=nnx.Rngs(0))
    model.start(lambda count, side: np.stack([photo()[:side, :side]] * count))
    _, params, fixed = nnx.split(model, nnx.Param, ...)
    arrays = {f"ema/{path}": value for path, value in flatten(params).items()}
    arrays |= {f"fixed/{path}": value for path, value in flatten(fixed).items()}
    rgb = photo()[:450, 30:95]
    whole = codec_of(arrays, config, buckets=(32,))
    cut = codec_of(arrays, config, buckets=(24,))
    assert isinstance(whole, Codec)
    stream = cut.coder.compress(rgb, 200)
    assert stream == whole.coder.compress(rgb, 200)
    assert np.array_equal(whole.coder.decompress(stream, *rgb.shape[:2], 200), rgb)
