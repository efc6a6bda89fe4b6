"""Latents to learn on: whole numbers, those of the file, the same everywhere."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_codecs import photo, small_codec, synthetic

from codax.codecs.families import FAMILIES
from codax.codecs.walloc import WallocConfig, compand, expand
from codax.entropy.units import EXACT_LIMIT
from codax.errors import ConfigError, UnsupportedError
from codax.face.codec import Codec
from codax.face.file_latents import LARGEST
from codax.transforms import packets
from codax.zoo.cards import list_cards
from codax.zoo.weights import read_checkpoint

GOLDEN = Path(__file__).parent / "golden" / "walloc"
SHIPPED = [card.folder for card in list_cards() if card.codec == "walloc"]
SIZES = [(1, 7), (71, 100)]


def slow_split(rgb: np.ndarray) -> np.ndarray:
    """Bands by int64 arithmetic, along whole signals; the products that occur, too."""
    bands = (rgb.astype(np.int64) - 128) * packets.SCALE
    most = 0
    for _ in range(3):
        for axis in (1, 0):
            x = np.moveaxis(bands, axis, 0)
            even, odd = x[::2].copy(), x[1::2].copy()
            for k, (numerator, shift) in enumerate(packets.STEPS):
                if k % 2 == 0:
                    total = even + np.concatenate([even[1:], even[-1:]])
                else:
                    total = odd + np.concatenate([odd[:1], odd[:-1]])
                most = max(most, int(np.abs(total * numerator).max()))
                change = (total * numerator + (1 << (shift - 1))) >> shift
                even, odd = (even, odd + change) if k % 2 == 0 else (even + change, odd)
            parts = [np.moveaxis(part, 0, axis) for part in (even, odd)]
            bands = np.concatenate(parts, -1)
    assert most < packets.LIMIT
    return bands


def padded(rgb: np.ndarray) -> np.ndarray:
    missing = [(0, -side % 16) for side in rgb.shape[:2]]
    return np.pad(rgb, (*missing, (0, 0)), mode="edge")


@pytest.mark.parametrize("folder", [GOLDEN, *SHIPPED], ids=lambda path: path.name)
def test_latents_of_a_file_are_those_of_the_picture(folder):
    on_jax, on_onnx = (Codec.from_folder(folder, runtime=r) for r in ("jax", "onnx"))
    packed, _ = read_checkpoint(folder)
    matrix = packed["g_a/matrix"].astype(np.int64)
    unit = packed["g_a/unit"].astype(np.float64)
    for height, width in SIZES:
        rgb = photo()[60 : 60 + height, 90 : 90 + width]
        found = on_jax.latents(rgb[None])
        assert found.dtype == jnp.int8
        sides = (2 * -(-side // 16) for side in rgb.shape[:2])
        assert found.shape == (1, *sides, matrix.shape[1])
        data = on_jax.encode(rgb, fallback=False)
        assert on_onnx.encode(rgb, fallback=False) == data
        for codec in (on_jax, on_onnx):
            stored = codec.file_latents(data)
            assert stored.dtype == np.int8
            assert np.array_equal(stored, found)
        # And what NumPy's integers give.
        steps = (slow_split(padded(rgb)) @ matrix) * unit
        assert np.array_equal(np.asarray(compand(jnp.asarray(steps))), found[0])


def test_latents_of_tiles_are_those_of_the_whole():
    """One bucket holds the picture and more, the other cuts it."""
    rgb = synthetic(230, 130)
    found = []
    for buckets in ((32,), (12,)):
        codec = Codec.from_folder(GOLDEN, runtime="jax", buckets=buckets)
        y = codec.coder.runtime.analyse(rgb, 150)["y"][0, :15, :9]
        found.append(y)
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("kind", ["noise", "stripes"])
def test_no_picture_leaves_what_float32_holds(kind):
    random = np.random.default_rng(0)
    rgb = random.integers(0, 2, (64, 64, 3)).astype(np.uint8) * 255
    if kind == "stripes":
        rgb = np.where(np.indices((64, 64)).sum(0) % 2, 255, 0)[..., None]
        rgb = np.repeat(rgb, 3, 2).astype(np.uint8)
    expected = slow_split(rgb)
    found = jax.jit(packets.split)(rgb[None].astype(np.float32))[0]
    assert np.array_equal(found, expected)
    assert (np.abs(expected).max((0, 1)) <= packets.limits()).all()


def test_sums_of_the_matrix_stay_exact():
    for folder in (GOLDEN, *SHIPPED):
        matrix = read_checkpoint(folder)[0]["g_a/matrix"].astype(np.float64)
        assert np.array_equal(matrix, np.round(matrix))
        assert (packets.limits() @ np.abs(matrix)).max() < EXACT_LIMIT
        assert np.abs(matrix).max() > 64


def test_the_companding_ends_where_latents_do():
    every = jnp.arange(-LARGEST, LARGEST + 1, dtype=jnp.float32)
    assert np.array_equal(compand(expand(every)), every)
    steps = jnp.arange(-400, 400, 0.125, dtype=jnp.float32)
    found = np.asarray(compand(steps))
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[-1]) == (-LARGEST, LARGEST)
    near = np.abs(steps) < 64
    assert (np.abs(np.asarray(expand(jnp.asarray(found))) - steps)[near] <= 0.5).all()


def test_latents_under_jit_and_vmap_and_back():
    codec = small_codec("walloc")
    pictures = np.stack([photo()[:64, :64], photo()[200:264, 100:164]])
    plain = codec.latents(pictures)
    assert np.array_equal(plain, jax.jit(lambda x: codec.latents(x) + 0)(pictures))
    mapped = jax.vmap(lambda x: codec.latents(x[None])[0])(pictures)
    assert np.array_equal(plain, mapped)
    back = np.asarray(jax.jit(codec.from_latents)(plain), int)
    assert back.shape == pictures.shape
    decoded = codec.decode(codec.encode(pictures[1], fallback=False))
    # The same arithmetic in another program: a level may differ.
    assert np.abs(back[1] - np.asarray(decoded, int)).max() <= 1


def test_wrong_latents_are_refused_in_one_line():
    codec = small_codec("walloc")
    good = np.zeros((1, 2, 4, 12), np.int8)
    codec.from_latents(good)
    with pytest.raises(ConfigError, match="latents: got int32, expected int8"):
        codec.from_latents(good.astype(np.int32))
    for shape in ((2, 4, 12), (1, 3, 4, 12), (1, 2, 4, 11), (1, 0, 4, 12)):
        with pytest.raises(ConfigError, match=r"expected \[N h w 12\] with even h"):
            codec.from_latents(np.zeros(shape, np.int8))
    beyond = good.copy()
    beyond[0, 1, 2, 3] = -128
    with pytest.raises(ConfigError, match=r"latent -128 at \[0, 1, 2, 3\]"):
        codec.from_latents(beyond)
    with pytest.raises(ConfigError, match="images: got shape"):
        codec.latents(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ConfigError, match="images: got int64, expected uint8"):
        codec.latents(np.zeros((1, 4, 4, 3), np.int64))
    with pytest.raises(UnsupportedError, match="has no latents to learn on; codecs"):
        small_codec("factorized").latents(np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(UnsupportedError, match="walloc-small-v1 has no tokens"):
        _ = codec.vocabulary
    with pytest.raises(ConfigError, match="quality is 80; expected 75 to 75"):
        codec.encode(photo()[:16, :16], 80)
    for values, said in (({"latents": 193}, "1 to 192"), ({"step": 0.5}, "1 to 256")):
        with pytest.raises(ConfigError, match=said):
            WallocConfig(**values)


def test_one_quality_each():
    assert FAMILIES["walloc"].qualities == (75, 75)
