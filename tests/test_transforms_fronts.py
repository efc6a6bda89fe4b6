"""The fronts of the transforms: undone, mirrored at a picture's border, by octave."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from codax.errors import ConfigError
from codax.transforms.autoencoder import Analysis, Synthesis, TransformWidths
from codax.transforms.fronts import join_coarse, join_fine, octaves, split
from codax.transforms.klt import block_order, fit_groups

PICTURE = np.random.default_rng(0).normal(0, 50, (1, 64, 96, 3)).astype(np.float32)


def test_wavelets_are_undone():
    fine, coarse = split(PICTURE, "wavelet")
    assert fine.shape == (1, 8, 12, 192)
    assert coarse.shape == (1, 4, 6, 768)
    assert np.allclose(join_coarse(coarse, "wavelet"), fine, atol=1e-3)
    assert np.allclose(join_fine(fine, "wavelet"), PICTURE, atol=1e-3)


def test_blocks_are_undone():
    fine, coarse = split(PICTURE, "space-to-depth")
    ordered = coarse[..., block_order()]
    assert np.array_equal(join_coarse(ordered, "space-to-depth"), fine)
    assert np.array_equal(join_fine(fine, "space-to-depth"), PICTURE)


@pytest.mark.parametrize("cells", [(4, 6), (1, 1), (2, 5)])
def test_a_picture_in_a_larger_array_is_a_picture_alone(cells):
    rows, columns = (16 * side for side in cells)
    alone = PICTURE[:, :rows, :columns]
    larger = np.full((1, 112, 112, 3), 77, np.float32)
    larger[:, :rows, :columns] = alone

    @jax.jit
    def there_and_back(x, extent):
        fine, coarse = split(x, "wavelet", extent)
        inside = np.zeros((1, 7, 7, 1), np.float32)
        inside[:, : cells[0], : cells[1]] = 1  # all that a decoder has
        joined = join_coarse(coarse * inside, "wavelet", extent)
        return fine, coarse, join_fine(joined, "wavelet", extent)

    fine, coarse, back = there_and_back(jnp.asarray(larger), np.array(cells, np.int32))
    expected = split(alone, "wavelet")
    for found, own in zip((fine, coarse), expected, strict=True):
        h, w = own.shape[1:3]
        assert np.allclose(found[:, :h, :w], own, atol=1e-3)
    assert np.allclose(back[:, :rows, :columns], alone, atol=1e-3)


def test_octaves_are_those_of_frequency():
    groups = octaves()
    assert [group.size for group in groups] == [12, 36, 144, 576]
    assert np.array_equal(np.sort(np.concatenate(groups)), np.arange(768))
    x = np.arange(96, dtype=np.float32)[None, None, :, None] * np.ones((1, 64, 1, 3))
    for period, octave in ((2.5, 3), (5, 2), (10, 1), (64, 0)):
        wave = np.cos(2 * np.pi * x / period).astype(np.float32)
        _, bands = split(wave, "wavelet")
        energy = [float((bands[..., group] ** 2).sum()) for group in groups]
        assert int(np.argmax(energy)) == octave, period


def test_each_group_gets_a_transform_of_its_own():
    values = np.random.default_rng(1).normal(size=(500, 6)).astype(np.float32)
    values[:, 3] += 2 * values[:, 1]
    groups = [np.array([1, 3]), np.array([0, 2, 4, 5])]
    matrix, std = fit_groups(values, groups, (1, 2))
    assert matrix.shape == (6, 3)
    assert not np.any(matrix[groups[1], :1])
    assert not np.any(matrix[groups[0], 1:])
    assert np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-5)
    assert np.allclose((values @ matrix).std(0), std, rtol=0.05)


def test_an_unknown_front_is_refused():
    with pytest.raises(ConfigError, match="front: got 'fourier'"):
        TransformWidths(front="fourier")


def test_without_a_side_path_the_networks_are_all_there_is():
    widths = TransformWidths(
        latents=32,
        fine=16,
        coarse=16,
        analysis_fine=1,
        synthesis_fine=1,
        side_path=False,
    )
    analysis = Analysis(widths, rngs=nnx.Rngs(0))
    synthesis = Synthesis(widths, rngs=nnx.Rngs(1))

    def there_and_back(matrix):
        analysis.klt[...], synthesis.klt[...] = matrix, matrix.T
        quality = jnp.full((1,), 100, jnp.int32)
        y = jax.jit(lambda x: analysis(x, quality))(PICTURE + 128)
        return y, jax.jit(lambda y: synthesis(y, quality))(y)

    matrix = np.random.default_rng(1).normal(0, 1, (768, 32)).astype(np.float32)
    for found, without in zip(
        there_and_back(matrix), there_and_back(0 * matrix), strict=True
    ):
        assert np.array_equal(found, without)
        assert np.std(found) > 0.1
