"""Wavelets: against PyWavelets, against JPEG 2000's formulas, and back again."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import pywt
from hypothesis import given, settings
from hypothesis import strategies as st

from codax.errors import ConfigError
from codax.transforms.wavelet import (
    dwt2,
    idwt2,
    ipacket2,
    packet2,
    wavedec2,
    waverec2,
)

# Without jit every primitive of every shape would be compiled by itself.
FAST_COMPILE = {"xla_backend_optimization_level": 0}
jit_dwt2 = jax.jit(dwt2, static_argnums=(1, 2), compiler_options=FAST_COMPILE)
quick_jit = partial(jax.jit, static_argnums=(1, 2, 3), compiler_options=FAST_COMPILE)
jit_wavedec2 = quick_jit(wavedec2)
jit_packet2 = quick_jit(packet2)

NAMES = {"haar": "haar", "cdf53": "bior2.2", "cdf97": "bior4.4"}
BORDERS = ["symmetric", "periodic"]
every_wavelet = pytest.mark.parametrize("wavelet", NAMES)
every_border = pytest.mark.parametrize("border", BORDERS)


def random_floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_integers(*shape, low=0, high=256, seed=0):
    values = np.random.default_rng(seed).integers(low, high, size=shape)
    return values.astype(np.int32)


def floor_53(x):
    """JPEG 2000's reversible 5/3 of one signal, sample by sample."""
    side = len(x)
    if side == 1:
        return x, x[:0]

    def at(i):  # mirrored about the outermost samples
        i = abs(i) % (2 * (side - 1))
        return int(x[min(i, 2 * (side - 1) - i)])

    def high(k):
        return at(2 * k + 1) - (at(2 * k) + at(2 * k + 2)) // 2

    low = [at(2 * k) + (high(k - 1) + high(k) + 2) // 4 for k in range((side + 1) // 2)]
    return np.array(low), np.array([high(k) for k in range(side // 2)])


@every_wavelet
@pytest.mark.parametrize("shape", [(32, 48), (2, 6), (4, 2)])
def test_periodic_equals_pywavelets(wavelet, shape):
    x = random_floats(*shape)
    low, details = pywt.dwt2(x, NAMES[wavelet], "periodization")
    bands = jit_dwt2(x[None, ..., None], wavelet, "periodic")
    for ours, theirs in zip(bands, (low, *details), strict=True):
        np.testing.assert_allclose(ours[0, ..., 0], theirs, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Level value")  # PyWavelets': the border is all
@every_wavelet
def test_periodic_levels_equal_pywavelets(wavelet):
    x = random_floats(48, 32, 3)
    theirs = pywt.wavedec2(x, NAMES[wavelet], "periodization", 3, axes=(0, 1))
    low, details = jit_wavedec2(x[None], 3, wavelet, "periodic")
    np.testing.assert_allclose(low[0], theirs[0], atol=2e-5)
    for ours, level in zip(details, theirs[1:], strict=True):
        for a, b in zip(ours, level, strict=True):
            np.testing.assert_allclose(a[0], b, atol=2e-5)


@every_wavelet
def test_packets_equal_pywavelets(wavelet):
    x = random_floats(16, 32)
    tree = pywt.WaveletPacket2D(x, NAMES[wavelet], "periodization", maxlevel=2)
    bands = jit_packet2(x[None, ..., None], 2, wavelet, "periodic")
    paths = [first + second for first in "ahvd" for second in "ahvd"]
    for ours, path in zip(bands, paths, strict=True):
        np.testing.assert_allclose(ours[0, ..., 0], tree[path].data, atol=2e-5)


@every_wavelet
@pytest.mark.parametrize("shape", [(40, 33), (31, 64)])
def test_symmetric_equals_pywavelets_in_the_interior(wavelet, shape):
    x = random_floats(*shape)
    shift = (pywt.Wavelet(NAMES[wavelet]).dec_len - 2) // 4
    low, details = pywt.dwt2(x, NAMES[wavelet], "reflect")
    bands = jit_dwt2(x[None, ..., None], wavelet, "symmetric")
    for ours, theirs in zip(bands, (low, *details), strict=True):
        rows, columns = ours.shape[1:3]
        part = theirs[shift : shift + rows, shift : shift + columns]
        inner = np.s_[4:-4, 4:-4]
        np.testing.assert_allclose(ours[0, ..., 0][inner], part[inner], atol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8])
def test_integer_53_is_jpeg_2000s(side):
    x = random_integers(side, low=-300, high=300)
    low, high = floor_53(x)
    bands = jit_dwt2(x[None, None, :, None], "cdf53")
    assert np.array_equal(bands.ll[0, 0, :, 0], low)
    assert np.array_equal(bands.hl[0, 0, :, 0], high)
    bands = jit_dwt2(x[None, :, None, None], "cdf53")
    assert np.array_equal(bands.ll[0, :, 0, 0], low)
    assert np.array_equal(bands.lh[0, :, 0, 0], high)


@every_wavelet
@every_border
def test_integer_forms_follow_the_unscaled_float_forms(wavelet, border):
    x = random_integers(1, 32, 24, 2)
    whole = jit_dwt2(x, wavelet, border)
    real = jit_dwt2(x.astype(np.float32), wavelet, border)
    low, high = {
        "haar": (2**0.5, -(2**-0.5)),
        "cdf53": (2**0.5, -(2**-0.5)),
        "cdf97": (1.149604398860241, -0.869864451624781),
    }[wavelet]
    gains = (low * low, low * high, low * high, high * high)
    for a, b, gain in zip(whole, real, gains, strict=True):
        assert a.dtype == jnp.int32
        np.testing.assert_allclose(a, b / gain, atol=4)


@quick_jit
def there_and_back(x, levels, wavelet, border):
    bands = wavedec2(x, levels, wavelet, border)
    return bands, waverec2(*bands, wavelet, border)


# Each new shape is compiled, so the examples are few.
@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 3),
    st.sampled_from(list(NAMES)),
    st.sampled_from(BORDERS),
)
def test_integer_round_trip_is_exact(height, width, levels, wavelet, border):
    for bound in (1, 2**8, 2**16, 2**31 - 1):
        x = random_integers(1, height, width, 1, low=-bound, high=bound, seed=height)
        (low, details), back = there_and_back(x, levels, wavelet, border)
        assert low.dtype == jnp.int32
        assert np.array_equal(back, x)
        details = jax.tree.leaves(details)
        assert low.size + sum(band.size for band in details) == x.size


@every_wavelet
@every_border
def test_float_round_trip(wavelet, border):
    x = random_floats(1, 17, 22, 2)
    _, back = there_and_back(x, 3, wavelet, border)
    np.testing.assert_allclose(back, x, atol=2e-5, rtol=1e-5)


@every_border
def test_every_small_side_round_trips(border):
    @partial(jax.jit, compiler_options=FAST_COMPILE)
    def rows_and_columns(signals):
        return [
            [idwt2(dwt2(x, w, border), w, border) for x in (s, s.swapaxes(1, 2))]
            for s in signals
            for w in NAMES
        ]

    signals = [random_integers(1, 1, side, 1, seed=side) for side in range(1, 8)]
    results = iter(rows_and_columns(signals))
    for x in signals:
        for _ in NAMES:
            across, down = next(results)
            assert np.array_equal(across, x)
            assert np.array_equal(down, x.swapaxes(1, 2))


@every_border
def test_packet_round_trip(border):
    @partial(jax.jit, compiler_options=FAST_COMPILE)
    def packets(x):
        bands = packet2(x, 2, "cdf53", border)
        return bands, ipacket2(bands, "cdf53", border)

    x = random_integers(2, 19, 13, 3)
    bands, back = packets(x)
    assert len(bands) == 16
    assert np.array_equal(back, x)


def test_packets_of_even_sides_have_one_shape():
    bands = jax.eval_shape(lambda: packet2(random_integers(1, 24, 16, 1), 3))
    assert {band.shape for band in bands} == {(1, 3, 2, 1)}


@every_wavelet
@every_border
@pytest.mark.parametrize("shape", [(7, 5), (1, 6), (1, 1)])
def test_constant_pictures_have_empty_details(wavelet, border, shape):
    bands = jit_dwt2(np.full((1, *shape, 1), 3.0, np.float32), wavelet, border)
    np.testing.assert_allclose(bands.ll, 6, atol=1e-5)  # 2 = root 2 on either axis
    for band in bands[1:]:
        np.testing.assert_allclose(band, 0, atol=1e-5)


def test_haar_is_orthonormal_and_the_others_nearly():
    x = random_floats(1, 64, 64, 1)
    for wavelet, tolerance in (("haar", 1e-5), ("cdf97", 0.1), ("cdf53", 0.5)):
        energy = sum(
            float(jnp.sum(band**2)) for band in jit_dwt2(x, wavelet, "periodic")
        )
        assert abs(energy / np.sum(x**2) - 1) < tolerance


@every_wavelet
@every_border
def test_jit_vmap_and_grad(wavelet, border):
    x = random_floats(3, 5, 6, 2)

    def forward(x):
        return dwt2(x, wavelet, border)

    plain = jax.tree.leaves(jit_dwt2(x, wavelet, border))
    mapped = jax.jit(jax.vmap(forward), compiler_options=FAST_COMPILE)(x[:, None])
    for whole, part in zip(plain, jax.tree.leaves(mapped), strict=True):
        np.testing.assert_allclose(part[:, 0], whole, atol=1e-5)
    # Linear: the gradient of <W x, y> is W' y, and <W x, y> = <x, W' y>.
    y = [random_floats(*leaf.shape, seed=i) for i, leaf in enumerate(plain)]

    def product(x):
        leaves = jax.tree.leaves(forward(x))
        return sum(jnp.vdot(a, b) for a, b in zip(leaves, y, strict=True))

    fast = partial(jax.jit, compiler_options=FAST_COMPILE)
    value, gradient = fast(jax.value_and_grad(product))(x)
    np.testing.assert_allclose(jnp.vdot(gradient, x), value, rtol=1e-3, atol=1e-3)


@every_wavelet
@every_border
def test_slices_and_adds_only(wavelet, border):
    x = random_floats(1, 12, 10, 3)

    def energy(x):
        return jnp.sum(waverec2(*wavedec2(x, 2, wavelet, border), wavelet, border) ** 2)

    text = str(jax.make_jaxpr(jax.grad(energy))(x))
    assert "slice" in text
    for banned in ("gather", "scatter", "conv_general", "dot_general", "while", "scan"):
        assert banned not in text


def test_small_integers_are_widened():
    bands = jit_dwt2(np.full((1, 4, 4, 1), 255, np.uint8), "cdf53")
    assert bands.ll.dtype == jnp.int32
    assert np.all(bands.ll == 255)


def test_the_last_levels_may_be_left_out():
    x = random_floats(1, 16, 16, 1)
    low, details = jit_wavedec2(x, 2, "haar", "symmetric")
    half = waverec2(low, details[:-1], "haar")
    np.testing.assert_allclose(half, jit_dwt2(x, "haar").ll, atol=1e-5)


def test_bad_requests_are_one_line_errors():
    x = random_floats(1, 8, 8, 1)
    with pytest.raises(ConfigError, match="'db4', expected one of haar, cdf53, cdf97"):
        dwt2(x, "db4")
    with pytest.raises(ConfigError, match="'zero', expected symmetric or periodic"):
        dwt2(x, "haar", "zero")
    with pytest.raises(ConfigError, match=r"shape \(8, 8\), expected \[N H W C\]"):
        dwt2(x[0, ..., 0])
    with pytest.raises(ConfigError, match="levels: -1"):
        wavedec2(x, -1)
    with pytest.raises(ConfigError, match="expected at least 16"):
        packet2(x, 4)
    with pytest.raises(ConfigError, match="5 of them, expected a power of four"):
        ipacket2([x] * 5)
    with pytest.raises(ConfigError, match="expected those that dwt2 gives"):
        idwt2((x, x[:, :4], x, x))
