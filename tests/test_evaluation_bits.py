"""Bits by step and place: they are the file's, and lie where the picture is busy."""

import io

import numpy as np
import pytest
from PIL import Image
from small_codecs import photo, small_codec, synthetic

from codax.codecs.families import FAMILIES
from codax.coding.order import layers_at
from codax.errors import ConfigError, ImageError
from codax.evaluation import bits_map
from codax.evaluation.plots import bits_over_picture, to_png

PICTURES = {"photo": photo()[:160, :200], "synthetic": synthetic(75, 131)}


@pytest.mark.parametrize(
    ("name", "picture"),
    [*((name, "synthetic") for name in FAMILIES), ("quadtree", "photo")],
)
def test_bits_agree_with_the_file(name, picture):
    codec, rgb = small_codec(name), PICTURES[picture]
    low, high = codec.coder.qualities
    for quality in (max(low, min(q, high)) for q in (10, 50, 92.5)):
        found = bits_map(codec, rgb, quality)
        size = len(codec.encode(rgb, quality, fallback=False))
        assert found.file_bytes == size
        assert abs(found.total_bits / 8 - size) <= 0.01 * size + 64
        layers = layers_at(round(2 * quality), codec.coder.layers)
        steps = codec.model.prior.steps
        coded = [s.name for s in steps if s.coded and s.layer < layers]
        assert list(found.steps) == coded
        assert all(bits.min() >= 0 for bits in found.steps.values())
        assert found.per_pixel.shape == rgb.shape[:2]
        assert found.per_pixel.sum() == pytest.approx(found.total_bits)


def test_each_position_covers_its_pixels():
    found = bits_map(small_codec("hyperprior"), PICTURES["synthetic"], 60)
    assert found.steps["z"].shape == (2, 3)
    assert found.steps["y"].shape == (5, 9)
    # The last position of y stands for 11 rows and 3 columns, that of z for the same
    # and more: 75 - 64 rows and 131 - 128 columns.
    y, z = (found.steps[name][-1, -1] for name in ("y", "z"))
    corner = found.per_pixel[64:, 128:]
    assert corner.sum() == pytest.approx(y + z)
    assert np.ptp(corner) == 0


@pytest.mark.parametrize("name", ["factorized", "quadtree"])
def test_bits_lie_in_the_noisy_half(name):
    random = np.random.default_rng(0)
    rgb = np.full((128, 256, 3), 120, np.uint8)
    # The small codecs keep low frequencies only, so the noise is of 8x8 pixels.
    rgb[:, 128:] = np.kron(random.integers(0, 256, (16, 16, 3)), np.ones((8, 8, 1)))
    found = bits_map(small_codec(name), rgb, 70)
    flat, noisy = found.per_pixel[:, :128], found.per_pixel[:, 128:]
    # Random weights spend something on the flat half too.
    assert noisy.sum() > 2 * flat.sum()


def test_only_colours_count():
    codec = small_codec("factorized")
    rgb = Image.fromarray(PICTURES["photo"])
    plain = bits_map(codec, rgb, 30)
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(synthetic(160, 200)[..., 0]))
    assert bits_map(codec, rgba, 30).file_bytes == plain.file_bytes


def test_a_quality_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="0 to 100"):
        bits_map(small_codec("factorized"), PICTURES["photo"], 101)


def test_heat_is_drawn_where_the_bits_are():
    rgb = np.full((64, 96, 3), 200, np.uint8)
    bits = np.zeros((64, 96))
    bits[:, 48:] = 2.0
    with Image.open(io.BytesIO(to_png(bits_over_picture(rgb, bits)))) as p:
        drawn = np.asarray(p.convert("RGB")).astype(int)
    middle = drawn[drawn.shape[0] // 2]
    pale, red = middle[drawn.shape[1] // 5], middle[drawn.shape[1] * 3 // 5]
    assert pale[1] > red[1] + 60
    with pytest.raises(ImageError, match="equal sides"):
        bits_over_picture(rgb, bits[:, :50])
