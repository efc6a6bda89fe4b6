"""Metrics against independent implementations, and their edges."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from codax.errors import ImageError
from codax.evaluation.bdrate import bd_rate
from codax.evaluation.classical import classical
from codax.evaluation.curves import Curve, published
from codax.evaluation.metrics import ms_ssim, ms_ssim_db, psnr, ssim
from codax.evaluation.sweep import find_pictures, open_picture


def pictures(height, width, noise, seed=0):
    """A smooth picture with edges and its noisy copy."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 7 + c) + np.cos(y / (9 + c)) for c in range(3)], -1)
    clean = 128 + 50 * waves + 40 * ((x // 16 + y // 16) % 2)[..., None]
    noisy = clean + rng.normal(0, noise, clean.shape)
    return tuple(np.clip(np.round(p), 0, 255).astype(np.uint8) for p in (clean, noisy))


def direct_ms_ssim(a, b):
    """MS-SSIM in float64 by FFT with the two-dimensional window, nothing shared."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    values = []
    for channel in range(3):
        x, y = a[..., channel].astype(float), b[..., channel].astype(float)
        value = 1.0
        for scale, weight in enumerate(weights):

            def blur(p):
                return fftconvolve(p, window, "valid")

            mx, my = blur(x), blur(y)
            vx, vy = blur(x**2) - mx**2, blur(y**2) - my**2
            term = (2 * (blur(x * y) - mx * my) + 58.5225) / (vx + vy + 58.5225)
            if scale == 4:
                term = term * (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            value *= max(term.mean(), 0) ** weight
            x, y = (
                np.pad(p, [(0, s % 2) for s in p.shape], "symmetric") for p in (x, y)
            )
            x, y = (
                p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2).mean((1, 3))
                for p in (x, y)
            )
        values.append(value)
    return float(np.mean(values))


def test_psnr_equals_scikit_image():
    a, b = pictures(64, 96, 9)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b), abs=1e-9)
    assert psnr(a, a) == math.inf


def test_psnr_of_large_errors_does_not_overflow():
    black = np.zeros((300, 300, 3), np.uint8)
    assert psnr(black, black + 255) == pytest.approx(0)


def test_ssim_equals_scikit_image():
    a, b = pictures(100, 90, 12)
    _, full = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2,
        full=True,
    )
    # Scikit-image extends the picture at its edges; the valid part is the same.
    assert ssim(a, b) == pytest.approx(full[5:-5, 5:-5].mean(), abs=2e-6)
    assert ssim(a, a) == pytest.approx(1)


@pytest.mark.parametrize(("height", "width"), [(176, 192), (161, 201)])
@pytest.mark.parametrize("noise", [2, 40])
def test_ms_ssim_equals_direct_formula(height, width, noise):
    a, b = pictures(height, width, noise)
    assert ms_ssim(a, b) == pytest.approx(direct_ms_ssim(a, b), abs=1e-6)


def test_ms_ssim_of_an_inverted_picture_is_zero_not_nan():
    a, _ = pictures(176, 176, 1)
    assert ms_ssim(a, 255 - a) == 0


def test_ms_ssim_is_none_for_small_pictures():
    a, b = pictures(160, 300, 5)
    assert ms_ssim(a, b) is None
    assert ms_ssim_db(None) is None


def test_ms_ssim_db():
    assert ms_ssim_db(0.99) == pytest.approx(20)
    assert ms_ssim_db(1.0) == math.inf


def test_grey_equals_replicated_colour():
    a, b = pictures(170, 170, 5)
    grey_a, grey_b = a[..., 0], b[..., 0]
    colour_a, colour_b = (np.repeat(p[..., None], 3, 2) for p in (grey_a, grey_b))
    for metric in (psnr, ssim, ms_ssim):
        assert metric(grey_a, grey_b) == pytest.approx(metric(colour_a, colour_b))


@pytest.mark.parametrize(
    "bad",
    [np.zeros((4, 4, 3)), np.zeros((4, 5, 3), np.uint8), np.zeros((0, 4), np.uint8)],
)
def test_bad_pictures_are_named(bad):
    with pytest.raises(ImageError, match="expected"):
        psnr(np.zeros((4, 4, 3), np.uint8), bad)


def test_ssim_of_a_tiny_picture_is_refused():
    tiny = np.zeros((8, 30, 3), np.uint8)
    with pytest.raises(ImageError, match="at least 11"):
        ssim(tiny, tiny)


def test_anchors_on_kodak_are_near_their_known_places():
    """JPEG at +170 % of VTM; needs the pictures, a few seconds."""
    folder = Path(os.environ.get("CODAX_DATA", "")) / "kodak"
    if "CODAX_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("CODAX_DATA names no folder with kodak/ in it")
    codec = classical("jpeg")
    pictures = [open_picture(path) for path in find_pictures(folder)]
    assert len(pictures) == 24
    bpp, db = [], []
    for quality in codec.qualities:
        files = [codec.encode(picture, quality) for picture in pictures]
        rates = [
            len(f) * 8 / (p.width * p.height)
            for f, p in zip(files, pictures, strict=True)
        ]
        values = [
            psnr(np.asarray(p), np.asarray(codec.decode(f)))
            for f, p in zip(files, pictures, strict=True)
        ]
        bpp.append(float(np.mean(rates)))
        db.append(float(np.mean(values)))
    curve = Curve(name="jpeg", metric="psnr", bpp=tuple(bpp), db=tuple(db))
    rate = bd_rate(published("compressai/vtm"), curve)
    assert rate.percent == pytest.approx(170, abs=2)
