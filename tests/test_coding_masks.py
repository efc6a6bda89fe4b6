"""Masks: which latents a step codes, as data."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codax.coding.masks import Mask, channels, checkerboard
from codax.errors import ModelError

MASKS = {
    "slice": channels(range(2, 5)),
    "picked": channels((0, 3, 4)),
    "some places": channels((1,), (1, 2)),
    "picked at some places": channels((1, 5), (3,)),
    "checkerboard": checkerboard(range(1, 3), range(3, 5)),
    "quarters": Mask(((0, 1), (2, 3), (4, 5), (2, 3))),
}
SHAPE = (2, 4, 6, 6)


def coded(mask: Mask) -> np.ndarray:
    """What a mask codes in an array of SHAPE, by the definition alone."""
    found = np.zeros(SHAPE, bool)
    for row in range(SHAPE[1]):
        for column in range(SHAPE[2]):
            own = mask.places[2 * (row % 2) + column % 2]
            found[:, row, column, list(own)] = True
    return found


@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
@pytest.mark.parametrize("name", MASKS)
def test_take_and_put_follow_the_places(name, xp):
    mask = MASKS[name]
    whole = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    taken = np.asarray(mask.take(xp.asarray(whole)))
    assert taken.shape == (*SHAPE[:3], mask.width)
    where = mask.where(*SHAPE[1:3])
    positions = np.ones(SHAPE[1:3], bool) if where is None else where
    own = coded(mask)
    # In order of rows, columns and channels, as a stream holds them.
    assert np.array_equal(taken[:, positions].ravel(), whole[own])
    known = -np.ones(SHAPE, np.float32)
    put = np.asarray(mask.put(xp.asarray(known), xp.asarray(taken)))
    assert np.array_equal(put, np.where(own, whole, known))
    assert np.array_equal(known, -np.ones(SHAPE)), "the array given has changed"


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("some", [False, True])
def test_what_is_written_in_place_is_what_is_put(name, some):
    mask, random = MASKS[name], np.random.default_rng(0)
    whole = random.normal(size=(1, *SHAPE[1:])).astype(np.float32)
    rows, columns = 3, 5  # The picture's own; the rest of the array is left alone.
    where = mask.where(rows, columns)
    if some:
        picked = random.random((rows, columns)) < 0.5
        where = picked if where is None else where & picked
    expected = np.zeros_like(whole)
    values = mask.take(whole)
    expected[0, :rows, :columns] = mask.put(expected, values)[0, :rows, :columns]
    values = values[0, :rows, :columns]
    if where is not None:
        expected[0, :rows, :columns] *= where[..., None]
        values = values[where]
    found = np.zeros_like(whole)
    mask.write(found, values, where)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_data(name):
    mask = MASKS[name]
    assert Mask.read(json.loads(json.dumps(mask.describe()))) == mask
    cell = coded(mask)[0, :2, :2]
    assert np.array_equal(mask.coded(SHAPE[3]), cell)


def test_runs_are_short():
    assert channels(range(3, 90)).describe() == [[[3, 90]]] * 4


@given(st.lists(st.integers(0, 40), min_size=1, unique=True).map(sorted))
def test_any_channels_survive_as_runs(picked):
    assert Mask.read(channels(picked).describe()) == channels(picked)


@pytest.mark.parametrize(
    "places",
    [
        ((0,), (0,), (0,)),
        ((0, 1), (0,), (0,), (0,)),
        ((), (), (), ()),
        ((1, 0), (1, 0), (1, 0), (1, 0)),
        ((0, 0), (0, 0), (0, 0), (0, 0)),
    ],
    ids=["three places", "uneven", "nothing", "falling", "twice"],
)
def test_other_places_are_refused(places):
    with pytest.raises(ModelError, match="equally many rising channels"):
        Mask(places)


@pytest.mark.parametrize(
    "places",
    [((0, 1), (1, 2), (0, 1), (1, 2)), ((0, 1), (), (2, 3), (4, 5))],
    ids=["they overlap", "one codes nothing"],
)
def test_places_that_differ_code_blocks(places):
    odd = Mask(places)
    with pytest.raises(ModelError, match="one block of channels"):
        odd.take(np.zeros(SHAPE))
