"""Files with dependent quantisation: beside plain ones, damaged, under the oracle."""

import functools
from copy import copy
from functools import partial

import jax
import numpy as np
import pytest
from small_codecs import packed_codec, photo, traced, with_trellis

from codax.errors import ConfigError, FormatError
from codax.face.codec import Codec
from codax.files import container
from codax.files.info import read_info
from codax.train.counting import fit_scales, fit_trellis

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiles in a third of the time what runs only once."""
START = 100
"""Half steps, from which the small codec's files have it."""


@functools.cache
def codec(trellis: bool = True) -> Codec:
    """A small codec with one shape of tiles, so that little is compiled."""
    packed, card = packed_codec("quadtree")
    if trellis:
        return traced(*with_trellis(packed, card, start=START), buckets=(24,))
    found = Codec(packed, card, buckets=(24,))
    found.coder.runtime = codec().coder.runtime  # Compiled already.
    return found


def equal(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (70, 200)])
def test_files_from_a_quality_on_say_so_and_decode_by_what_they_say(size):
    rgb = photo()[40 : 40 + size[0], 200 : 200 + size[1]]
    for quality in (START - 1, START, 200):
        data = codec().encode(rgb, quality=quality / 2, fallback=False)
        file = container.read(data)
        assert file.trellis == read_info(data)["trellis"] == (quality >= START)
        assert data[5] == 4 * file.trellis
        whole = codec().coder.decode_latents(
            file.stream, *size, quality, trellis=file.trellis
        )
        oracle = codec().coder.decode_latents(
            file.stream, *size, quality, trellis=file.trellis, oracle=True
        )
        assert equal(whole, oracle)
        assert np.asarray(codec().decode(data)).shape == rgb.shape


def test_an_encoder_may_leave_it_and_the_plain_file_is_that_of_the_old_weights():
    rgb = photo()[:90, 200:300]
    plain = codec().coder.compress(rgb, 160, search=False)
    assert plain == codec(False).coder.compress(rgb, 160, search=False)
    assert plain != codec().coder.compress(rgb, 160)
    found = codec().coder.decode_latents(plain, 90, 100, 160, trellis=False)
    assert equal(found, codec(False).coder.decode_latents(plain, 90, 100, 160))
    # Below its beginning a file may have it all the same: the header decides.
    assert not codec().coder.dependent(START - 1)
    assert not codec().coder.dependent(200, search=False)
    assert not codec().coder.dependent(200, refine=10)


def test_estimate_costs_and_file_agree():
    rgb = photo()[:128, 200:328]

    model, trellis = codec().model, codec().coder.trellis
    model.trellis = trellis  # As training has it.

    @partial(jax.jit, compiler_options=QUICK)
    def estimate(x, quality):
        bits, kept = codec().rate(codec().analysis(x, quality / 2), quality / 2)
        told = trellis.told(quality)[None]
        paid = model.forward(x, told, None, exact=True)[0]
        return *(sum(b[0] for b in part.values()) / 8 for part in (bits, paid)), kept

    for quality in (START - 1, START, 190):
        stream = codec().coder.compress(rgb, quality)
        size, paid, kept = estimate(rgb[None].astype(np.float32), np.int32(quality))
        looked = codec().coder.compress(rgb, quality, passes=1)
        assert abs(float(paid) - len(looked)) < 0.01 * len(looked) + 64
        assert abs(float(size) - len(stream)) < 0.01 * len(stream) + 64
        decoded = codec().coder.decode_latents(stream, 128, 128, quality)["y"]
        # Latents of other shapes of tiles differ by float rounding, few by a point.
        assert np.mean(np.asarray(kept["y"][0]) * 16 == decoded) > 0.9
        costs = codec().coder.costs(rgb, quality)
        assert [part.shape for part in costs.values()] == [(2, 2)] + [(8, 8)] * 4
        total = sum(part.sum() for part in costs.values()) / 8
        assert abs(total - len(stream)) < 8


def test_damage_gives_another_picture_or_a_format_error():
    rgb = photo()[:60, :90]
    data = codec().encode(rgb, quality=90, fallback=False)
    file = container.read(data)
    random = np.random.default_rng(0)
    for _ in range(25):
        stream = bytearray(file.stream)
        for place in random.integers(0, len(stream), 3):
            stream[place] ^= int(random.integers(1, 256))
        cut = random.integers(0, len(stream) + 1) if random.random() < 0.3 else None
        try:
            found = codec().coder.decompress(bytes(stream[:cut]), 60, 90, 180)
        except FormatError:
            continue
        assert found.shape == rgb.shape


def test_the_flag_without_tables_is_refused():
    rgb = photo()[:60, :90]
    data = codec(False).encode(rgb, quality=90, fallback=False)
    fields = vars(container.read(data))
    marked = container.write(container.Container(**fields | {"trellis": True}))
    with pytest.raises(FormatError, match="no tables for that; the file is damaged"):
        codec(False).decode(marked)


def test_tables_are_counted_for_weights_that_have_none():
    coder = copy(codec(False).coder)
    rgb = photo()[:128, 200:328]
    options = {"qualities": (120, 190), "start": START}
    fit_trellis(coder, [rgb], rounds=0, **options)
    first = len(coder.compress(rgb, 190))
    arrays = fit_trellis(coder, [rgb], rounds=2, **options)
    assert len(coder.compress(rgb, 190)) < first
    assert arrays["tables/trellis/settings"].tolist()[1] == START
    packed = packed_codec("quadtree")[0] | fit_scales(coder, [rgb], qualities=(120,))
    (tables,) = coder.order.sources["y"].load(packed)
    assert np.array_equal(tables.count, coder.tables(0)["y"].count)
    coder._sets = coder._sets | {"y": [tables]}
    plain = codec(False).coder.compress(rgb, 120, search=False)
    assert len(coder.compress(rgb, 120, search=False)) < len(plain)
    with pytest.raises(ConfigError, match="no pictures"):
        fit_trellis(coder, [], **options)
