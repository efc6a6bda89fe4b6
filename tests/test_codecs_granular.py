"""Grains by rank, and files whose bytes are known before they are made."""

from pathlib import Path

import numpy as np
import pytest
from small_codecs import photo, small_codec, synthetic

from codax.codecs.granular import GRAIN_BITS, MOST, TOKEN_BITS, GranularConfig, detail
from codax.entropy.coder import SymbolEncoder
from codax.entropy.product_codes import codes_of, fit_levels, sizes_of
from codax.entropy.ranks import WHOLE, counts_of, ranked, stream_bytes
from codax.errors import ConfigError, UnsupportedError
from codax.face.codec import Codec
from codax.face.foreseen import file_bytes
from codax.files import container

GOLDEN = Path(__file__).parent / "golden" / "granular"


def pictures(random, height, width):
    """One picture each of noise, of one colour, of a photo and of waves."""
    yield random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    yield np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
    yield photo()[random.integers(400) :, random.integers(400) :][:height, :width]
    yield synthetic(height, width, int(random.integers(1000)))


def test_bytes_of_files_are_foreseen():
    codec = small_codec("granular")
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(16):
        height, width = (int(side) for side in random.integers(1, 129, 2))
        quality = int(random.integers(0, 201)) / 2
        expected = file_bytes(codec, height, width, quality)
        for rgb in pictures(random, height, width):
            data = codec.encode(rgb, quality, metadata="none", fallback=False)
            assert len(data) == expected, (height, width, quality)
        seen.add(expected)
    assert len(seen) > 12


def test_bytes_are_foreseen_by_both_runtimes():
    onnx, jax = (Codec.from_folder(GOLDEN, runtime=r) for r in ("onnx", "jax"))
    for quality in (0, 33.5, 100):
        expected = file_bytes(jax, 90, 75, quality)
        assert file_bytes(onnx, 90, 75, quality) == expected
        rgb = photo()[:90, :75]
        data = onnx.encode(rgb, quality, metadata="none", fallback=False)
        assert len(data) == expected
        assert np.array_equal(onnx.file_tokens(data), jax.file_tokens(data))


@pytest.mark.parametrize("kind", ["random", "lowest", "highest"])
def test_streams_of_equal_tables_have_one_length(kind):
    tables = small_codec("granular").coder.tables(100)["coarse"]
    random = np.random.default_rng(1)
    for _ in range(300):
        cells, tokens = (int(n) for n in random.integers((1, 0), (60, 90)))
        index = np.repeat([0, 1], [cells, tokens])
        index[cells:] = random.integers(1, 4, tokens)
        top = tables.count[index]
        symbols = {"random": random.integers(0, top), "lowest": 0 * top}
        symbols["highest"] = top - 1
        encoder = SymbolEncoder()
        encoder.put(symbols[kind][:cells], index[:cells], tables)
        encoder.put(symbols[kind][cells:], index[cells:], tables)
        bits = GRAIN_BITS * cells + TOKEN_BITS * tokens
        assert len(encoder.finish()) == stream_bytes(bits)


def test_bytes_grow_by_three_percent_at_most():
    """So that a size that is asked for is met."""
    codec = small_codec("granular")
    sizes = [file_bytes(codec, 512, 768, half / 2) for half in range(201)]
    assert sizes == sorted(sizes)
    # The header and the first steps, of few bytes, apart.
    steps = np.divide(sizes[1:], sizes[:-1])
    assert steps.max() < 1.03
    rgb = photo()[:96, :128]
    for size in (400, 900):
        data = codec.encode(rgb, target_size=size, metadata="none", fallback=False)
        quality = container.read(data).quality / 2
        assert len(data) == file_bytes(codec, 96, 128, quality) <= size
        assert file_bytes(codec, 96, 128, quality + 0.5) > size


def test_ranks_are_those_of_scores_and_of_equals_the_first():
    scores = np.array([[5.0, 1.0, 5.0, 9.0], [1.0, 1.0, 7.0, 0.0]])[None, ..., None]
    # Two of eight are fine, three medium.
    shares = np.array([3 * WHOLE // 8]), np.array([2 * WHOLE // 8])
    expected = [[1, 1, 1, 2], [0, 0, 2, 0]]
    import jax.numpy as jnp

    for own in (scores, jnp.asarray(scores)):
        found = np.asarray(ranked(own, *shares))
        assert found[0, ..., 0].tolist() == expected
    for cells in range(1, 50):
        medium, fine = counts_of(cells, np.int64(2000), np.int64(2096))
        assert medium + fine <= cells


def test_detail_is_a_whole_number_that_float32_holds():
    noisy = np.where(np.indices((32, 32)).sum(0) % 2, 255.0, 0.0)[None, ..., None]
    x = np.repeat(noisy, 3, 3).astype(np.float32)
    assert np.all(np.asarray(detail(x)) == 2 * 15 * 16 * 3 * 255)
    assert np.all(np.asarray(detail(x * 0 + 7)) == 0)
    own = photo()[:16, :16].astype(np.int64)
    by_hand = sum(np.abs(np.diff(own, axis=axis)).sum() for axis in (0, 1))
    assert float(detail(own[None].astype(np.float32))[0, 0, 0, 0]) == by_hand


def test_levels_and_codes():
    random = np.random.default_rng(0)
    sizes = sizes_of(np.array([900.0, 300.0, 30.0, 20.0, 0.1]), MOST, 32)
    assert 0.9 * MOST < np.prod(sizes) <= MOST
    assert list(sizes) == sorted(sizes, reverse=True)
    values = random.laplace(0, 10, 5000)
    levels = fit_levels(values, 8)
    nearest = levels[np.abs(values[:, None] - levels).argmin(1)]
    even = np.linspace(-40, 40, 8)
    rounded = even[np.abs(values[:, None] - even).argmin(1)]
    assert np.mean((nearest - values) ** 2) < np.mean((rounded - values) ** 2)
    codes, thresholds = codes_of([np.array([-1.0, 0.0, 3.0]), np.array([-2.0, 2.0])])
    assert codes.tolist()[:4] == [[-1, -2], [0, -2], [3, -2], [-1, 2]]
    assert thresholds[0].tolist() == [-0.5, 1.5]
    assert thresholds[1].tolist() == [0.0, 1e6]


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(ConfigError, match=r"0.5 \+ 0.2 \+ 0.2 of .* add up to 0.9"):
        GranularConfig(
            coarse_shares=(1.0, 0.5), medium_shares=(0.0, 0.2), fine_shares=(0.0, 0.2)
        )
    with pytest.raises(ConfigError, match="from 0 that add up to 1"):
        GranularConfig(
            coarse_shares=(1.0, 1.5), medium_shares=(0.0, -0.5), fine_shares=(0.0, 0.0)
        )
    with pytest.raises(ConfigError, match="got 2, 2, 1 of coarse, medium and fine"):
        GranularConfig(
            coarse_shares=(1.0, 1.0), medium_shares=(0.0, 0.0), fine_shares=(0.0,)
        )
    with pytest.raises(UnsupportedError, match="bytes depend on the picture"):
        file_bytes(small_codec("fsq"), 64, 64, 50)
    codec = small_codec("granular")
    tokens = np.zeros((1, 2, 2, 17), np.int32)
    codec.from_tokens(tokens)
    tokens[0, 1, 0, 0] = 3
    with pytest.raises(ConfigError, match=r"token 3 at \[0, 1, 0, 0\]; .* 0 to 2"):
        codec.from_tokens(tokens)
