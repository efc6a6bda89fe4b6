"""Transforms chosen for each cell: their inverses, their fit, the choice."""

import numpy as np
import pytest
from small_codecs import photo, small_types

from codax.transforms import cell_types
from codax.transforms.adaptive import Bases
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.cell_types import choose, fit_types

LARGE, SMALL = 2, 2


@pytest.fixture(scope="module")
def bases():
    found = Bases(LARGE, SMALL)
    found.set(small_types())
    return found


def one_hot(types):
    return (types[..., None] == np.arange(LARGE + SMALL)).astype(np.float32)


def test_every_type_keeps_everything(bases):
    x = photo()[None, :64, :96].astype(np.float32)
    for number, c in enumerate(bases.forward(x)):
        types = one_hot(np.full(c.shape[:3], number))
        blocks = bases.inverse(c, types)
        back = depth_to_space(depth_to_space(blocks, 2), 8) + bases.mean[...]
        assert np.abs(np.asarray(back) - x).max() < 0.01


def test_cells_of_several_types_stand_side_by_side(bases):
    x = photo()[None, :64, :96].astype(np.float32)
    found = bases.forward(x)
    types = one_hot(np.arange(24).reshape(1, 4, 6) % 4)
    c = sum(own * types[..., k, None] for k, own in enumerate(found))
    back = depth_to_space(depth_to_space(bases.inverse(c, types), 2), 8)
    assert np.abs(np.asarray(back + bases.mean[...]) - x).max() < 0.01


def test_fitted_types_are_orthonormal_and_differ(monkeypatch):
    monkeypatch.setattr(cell_types, "ROUNDS", 2)
    rgb = photo()[None].astype(np.float32)
    blocks = np.asarray(space_to_depth(rgb, 16)).reshape(-1, 768)
    fitted = fit_types(blocks, LARGE, SMALL)
    for matrix in (*fitted.large, *fitted.small):
        assert np.abs(matrix.T @ matrix - np.eye(len(matrix))).max() < 1e-4
    assert np.abs(fitted.large[0] - fitted.large[1]).max() > 0.1
    assert fitted.std.shape == (LARGE + SMALL, 768)
    assert np.isclose(fitted.share.sum(), 1)
    assert np.all(fitted.mixed[:, 0] == 1), "means of quarters are alike"


def test_the_cheapest_type_is_chosen_and_a_tail_where_it_pays():
    dense = np.full((1, 1, 1, 768), 1.2, np.float32)
    sparse = np.zeros_like(dense)
    sparse[..., 0] = 30.0
    silent = np.concatenate([sparse[..., :320], 0.2 + sparse[..., 320:]], -1)
    busy = np.concatenate([sparse[..., :320], 3.0 + sparse[..., 320:]], -1)
    types, flag = choose([dense, sparse, dense, dense], 320, LARGE)
    assert (int(types[0, 0, 0]), int(flag[0, 0, 0])) == (1, 0)
    for values, expected in ((silent, 0), (busy, 1)):
        _, flag = choose([values] * 4, 320, LARGE)
        assert int(flag[0, 0, 0]) == expected
