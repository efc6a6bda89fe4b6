"""Buckets and tiles: they cover every side, line up, and change no result."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_codecs import packed_codec

from codax.coding.tiles import BUCKETS, check_buckets, run_tiles, spans
from codax.errors import ConfigError
from codax.face.codec import Codec


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.integers(1, 900),
    st.sampled_from([0, 4, 8]),
    st.sampled_from([BUCKETS, (20,), (24,), (8, 28), (64, 96)]),
)
def test_spans_cover_a_side_once(side, halo, buckets):
    tiles = spans(side, halo, buckets)
    assert tiles[0].low == 0
    assert tiles[-1].high == side
    for tile in tiles:
        assert tile.size in buckets
        assert tile.begin % 4 == 0
        assert tile.begin <= tile.low < tile.high <= tile.begin + tile.size
        # What is kept is a halo away from any cut through the picture.
        assert tile.begin == 0 or tile.low - tile.begin >= halo
        end = tile.begin + tile.size
        assert end >= side or end - tile.high >= halo
    for left, right in pairwise(tiles):
        assert left.high == right.low


def test_small_sides_take_the_smallest_bucket():
    assert [spans(side, 8)[0].size for side in (1, 8, 9, 33, 64)] == [8, 8, 16, 48, 64]


def test_large_sides_take_the_bucket_that_wastes_least():
    def sides(side, halo):
        return [tile.size for tile in spans(side, halo)]

    assert sides(85, 4) == [48, 48]  # two of 64 would hold 43 cells of nothing
    assert sides(85, 8) == [64, 64]  # three of 48 are more
    assert sides(120, 4) == [64, 64]
    assert sides(128, 0) == [64, 64]


@pytest.mark.parametrize(
    ("buckets", "message"),
    [
        ((), "rising positive"),
        ((16, 8), "rising positive"),
        ((0, 32), "rising positive"),
        ((32, 32), "rising positive"),
        ((8, 30), "multiples of 4"),
        ((8, 16), "largest is 16, expected at least 20"),
    ],
)
def test_buckets_that_cannot_hold_a_picture_are_refused(buckets, message):
    with pytest.raises(ConfigError, match=message):
        check_buckets(buckets, 8)
    packed, card = packed_codec("quadtree")
    with pytest.raises(ConfigError, match=message):
        Codec(packed, card, buckets=buckets)


def test_too_small_a_bucket_raises_instead_of_looping():
    with pytest.raises(ConfigError, match="at least 20"):
        spans(100, 8, (16,))


@pytest.mark.parametrize("grid", [(5, 7), (30, 21), (61, 90)])
@pytest.mark.parametrize("buckets", [BUCKETS, (24,), (8, 28)])
@pytest.mark.parametrize("halo", [4, 5])
def test_a_local_function_does_not_see_the_tiles(grid, buckets, halo):
    """A sum over a 9x9 neighbourhood, with the edge rule: exact, so equal."""
    random = np.random.default_rng(0)
    padded = [-(-side // 4) * 4 for side in grid]
    whole = np.zeros((1, *padded, 3), np.float32)
    whole[:, : grid[0], : grid[1]] = random.integers(-9, 9, (1, *grid, 3))

    def network(window, extent):
        window = window.copy()
        window[:, extent[0] :] = 0
        window[:, :, extent[1] :] = 0
        big = np.pad(window, ((0, 0), (4, 4), (4, 4), (0, 0)))
        h, w = window.shape[1:3]
        parts = [big[:, i : i + h, j : j + w] for i in range(9) for j in range(9)]
        return (np.sum(parts, 0),)

    out = np.zeros_like(whole)
    run_tiles(network, [(whole, 1.0)], [(out, 1.0)], grid, halo, buckets)
    (expected,) = network(whole, np.array(grid))
    own = np.s_[:, : grid[0], : grid[1]]
    assert np.array_equal(out[own], expected[own])


def test_coarser_and_finer_grids_line_up():
    """Cells at 1/64 in, pixels of 16 a cell out."""
    grid = (70, 41)
    coarse = np.arange(18 * 11, dtype=np.float32).reshape(1, 18, 11, 1)
    out = np.zeros((1, 70 * 16 - 5, 41 * 16 - 3, 1), np.float32)

    def network(window, extent):
        return (np.repeat(np.repeat(window, 64, 1), 64, 2),)

    run_tiles(network, [(coarse, 0.25)], [(out, 16.0)], grid, 8, (24,))
    rows, columns = np.arange(out.shape[1]) // 64, np.arange(out.shape[2]) // 64
    assert np.array_equal(out[0, :, :, 0], coarse[0][rows][:, columns, 0])


def test_pictures_are_padded_by_their_edge():
    picture = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(1, 5, 6, 3)
    seen = []

    def network(window, extent):
        seen.append((window, extent))
        return ()

    run_tiles(network, [(picture, 16.0)], [], (1, 1), 8, (24,), edge=True)
    ((window, extent),) = seen
    assert window.shape == (1, 384, 384, 3)
    assert extent.tolist() == [1, 1]
    assert np.array_equal(
        window[0, 5:, :6], np.broadcast_to(picture[0, 4], (379, 6, 3))
    )
    assert np.all(window[0, :5, 6:] == picture[0, :, 5:])
