"""Tokens of pictures, of files and back; files cut after every layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_codecs import photo, small_codec

from codax.entropy.clusters import usage
from codax.errors import ConfigError, FormatError, UnsupportedError
from codax.face.codec import Codec
from codax.files import container
from codax.files.layers import truncate

TOKENIZERS = ("fsq", "rvq", "granular", "mcquic", "prefix")
LAYERED = ("rvq", "mcquic", "prefix")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_of_a_file_are_those_of_the_picture(name):
    codec = small_codec(name)
    low, high = codec.coder.qualities
    for quality in (low + 0.3 * (high - low), high):
        rgb = photo()[60:131, 90:190]
        data = codec.encode(rgb, quality=quality, fallback=False)
        stored = codec.file_tokens(data)
        found = codec.tokens(rgb[None], quality)
        assert found.dtype == jnp.int32
        h, w = (-(-side // codec.token_cell) for side in (71, 100))
        assert found.shape == stored.shape == (1, h, w, stored.shape[-1])
        assert np.array_equal(found, stored)
        given = quality if name == "fsq" else None
        picture = np.asarray(codec.from_tokens(stored, given, (71, 100)))[0]
        decoded = np.asarray(codec.decode(data))
        # The same arithmetic in another program: a level may differ.
        assert np.abs(picture.astype(int) - decoded).max() <= 1


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_under_jit_and_vmap(name):
    codec = small_codec(name)
    pictures = np.stack([photo()[:64, :64], photo()[200:264, 100:164]])
    plain = codec.tokens(pictures)
    jitted = jax.jit(codec.tokens)(pictures)
    mapped = jax.vmap(lambda x: codec.tokens(x[None])[0])(pictures)
    cells = 64 // codec.token_cell
    assert plain.shape == (2, cells, cells, len(codec.vocabulary))
    assert np.array_equal(plain, jitted)
    assert np.array_equal(plain, mapped)
    back = jax.jit(codec.from_tokens)(plain)
    each = jax.vmap(lambda t: codec.from_tokens(t[None])[0])(plain)
    assert back.shape == pictures.shape
    assert back.dtype == jnp.uint8
    assert np.abs(np.asarray(back, int) - np.asarray(each, int)).max() <= 1
    error = np.mean((np.asarray(back, float) - pictures) ** 2)
    # Six tokens for 64x64 pixels say less.
    share = 0.2 if name == "prefix" else 0.1
    assert error < share * photo().astype(float).var()


def test_wrong_tokens_are_refused_in_one_line():
    codec = small_codec("rvq")
    good = np.zeros((1, 2, 3, len(codec.vocabulary)), np.int32)
    codec.from_tokens(good)
    beyond = good.copy()
    beyond[0, 1, 2, 3] = 16
    with pytest.raises(
        ConfigError, match=r"token 16 at \[0, 1, 2, 3\]; .* 16: 0 to 15"
    ):
        codec.from_tokens(beyond)
    with pytest.raises(ConfigError, match="token -1 at"):
        codec.from_tokens(good - 1)
    for shape in ((2, 3, 10), (1, 2, 3, 4), (1, 2, 3, 11)):
        with pytest.raises(
            ConfigError, match=r"expected \[N h w L\] with L of 1, 2, 6"
        ):
            codec.from_tokens(np.zeros(shape, np.int32))
    with pytest.raises(ConfigError, match="expected integers"):
        codec.from_tokens(good.astype(np.float32))
    with pytest.raises(ConfigError, match="leave it out"):
        codec.from_tokens(good, 50)
    with pytest.raises(
        ConfigError, match=r"size is 32x32; 3x2 cells .* 33x17 to 48x32"
    ):
        codec.from_tokens(good, size=(32, 32))
    with pytest.raises(ConfigError, match="images: got shape"):
        codec.tokens(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ConfigError, match="quality is 70; expected 0 to 60"):
        small_codec("fsq").tokens(np.zeros((1, 4, 4, 3), np.uint8), 70)
    with pytest.raises(ConfigError, match="quality is 'high'; expected a number of 0"):
        small_codec("fsq").tokens(np.zeros((1, 4, 4, 3), np.uint8), "high")
    with pytest.raises(UnsupportedError, match="factorized-small-v1 has no tokens"):
        _ = small_codec("factorized").vocabulary


@pytest.mark.parametrize("name", LAYERED)
def test_files_can_be_cut_after_every_layer(name):
    codec = small_codec(name)
    has = codec.coder.layers
    rgb = photo()[30:130, 200:350]
    whole = codec.encode(rgb, quality=100, fallback=False)
    assert container.read(whole).layered
    errors, sizes = [], []
    for layers in range(1, codec.coder.layers + 1):
        cut = truncate(whole, layers=layers)
        # The cut file is the one that encoding with so many layers gives.
        quality = container.read(cut).quality / 2
        assert cut == codec.encode(rgb, quality=quality, fallback=False)
        decoded = np.asarray(codec.decode(cut), float)
        errors.append(float(np.mean((decoded - rgb) ** 2)))
        sizes.append(len(cut))
        assert truncate(whole, target_size=len(cut)) == cut
        first = codec.file_tokens(cut)
        assert np.array_equal(codec.file_tokens(whole)[..., : first.shape[-1]], first)
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert cut == whole
    with pytest.raises(UnsupportedError, match=f"one layer takes {sizes[0]}"):
        truncate(whole, target_size=sizes[0] - 1)
    for layers in (0, codec.coder.layers + 1):
        with pytest.raises(
            ConfigError, match=f"layers is {layers}; the file has {has}"
        ):
            truncate(whole, layers=layers)
    with pytest.raises(ConfigError, match="layers is 3; the file has 2: 1 to 2"):
        truncate(truncate(whole, layers=2), layers=3)
    with pytest.raises(ConfigError, match="either"):
        truncate(whole)
    plain = small_codec("factorized").encode(rgb, quality=50, fallback=False)
    with pytest.raises(UnsupportedError, match="cannot be cut"):
        truncate(plain, layers=1)


def test_layers_and_quality_must_agree():
    codec = small_codec("rvq")
    stream = codec.coder.compress(photo()[:40, :40], 200)
    with pytest.raises(FormatError, match="4 layers at quality 50, expected 2 of"):
        codec.coder.decode_latents(stream, 40, 40, 100)
    data = codec.encode(photo()[:40, :40], quality=100, fallback=False)
    file = container.read(data)
    bare = container.write(
        container.Container(
            codec_id=file.codec_id,
            weights_hash=file.weights_hash,
            width=file.width,
            height=file.height,
            quality=file.quality,
            stream=file.stream,
        )
    )
    with pytest.raises(FormatError, match="the file has no layers"):
        codec.decode(bare)


@pytest.mark.parametrize("name", LAYERED)
def test_more_than_half_of_the_codes_are_used(name):
    codec = small_codec(name)
    assert isinstance(codec, Codec)
    tokens = np.asarray(codec.tokens(photo()[None]))
    for place, size in enumerate(codec.vocabulary):
        assert usage(tokens[..., place], size)[0] >= 0.5
