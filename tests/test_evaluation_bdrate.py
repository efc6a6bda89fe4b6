"""The headline BD-rate rule against published anchors, and its edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codax.errors import ConfigError
from codax.evaluation.bdrate import bd_rate, bd_rate_pictures
from codax.evaluation.curves import (
    Curve,
    curve_of,
    picture_curves,
    published,
    published_ids,
)
from codax.evaluation.metric_table import METRICS, Metric


def curve(db, bpp, name="test", metric="psnr"):
    return Curve(name=name, metric=metric, bpp=tuple(bpp), db=tuple(db))


@pytest.mark.parametrize(
    ("curve_id", "percent", "low", "high"),
    [
        ("compressai/hm", 26, 28, 40),
        ("compressai-8bit/mbt2018-mean_mse", 22, 28, 40),
        ("compressai-8bit/bmshj2018-hyperprior_mse", 31, 28, 40),
        ("compressai-8bit/bmshj2018-factorized_mse", 67, 28, 39.57),
        ("evc/EncS_DecS", 7, 32.32, 37.4),
        ("cool-chic/v5.0", -6, 28, 40),
    ],
)
def test_published_anchors(curve_id, percent, low, high):
    result = bd_rate(published("compressai/vtm"), published(curve_id))
    assert result.percent == pytest.approx(percent, abs=0.5)
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.01)
    assert result.spans == ((low, high) == (28, 40))
    assert result.notes == ()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(
    start=st.floats(-2, 3),
    steps=st.lists(st.floats(0.5, 4), min_size=5, max_size=12),
    factor=st.floats(0.3, 3),
)
def test_a_curve_against_itself_and_against_a_multiple(start, steps, factor):
    db = 28 + start + np.cumsum(steps)
    bpp = 0.1 * 2 ** ((db - db[0]) / 5)
    anchor = curve(db, bpp)
    assert bd_rate(anchor, anchor).percent == pytest.approx(0, abs=1e-9)
    scaled = bd_rate(anchor, curve(db, bpp * factor)).percent
    assert scaled == pytest.approx(100 * (factor - 1), abs=1e-6)


def test_a_part_is_marked_and_printed():
    anchor = curve([25, 30, 35, 42], [0.1, 0.3, 0.8, 2])
    test = curve([30, 32, 34, 36], [0.4, 0.5, 0.7, 1.0])
    result = bd_rate(anchor, test)
    assert not result.spans
    assert str(result).endswith("(30.0 to 36.0 dB)")


def test_points_without_gain_are_left_out_with_a_note():
    anchor = curve([25, 30, 35, 41], [0.1, 0.3, 0.8, 2])
    bent = curve([25, 30, 29, 35, 41], [0.1, 0.3, 0.5, 0.8, 2])
    result = bd_rate(anchor, bent)
    assert result.percent == pytest.approx(0, abs=1e-9)
    assert "1 of 5 points" in result.notes[0]


def test_no_common_part_gives_no_number():
    anchor = curve([25, 26, 27, 29], [0.1, 0.2, 0.3, 0.4])
    test = curve([30, 32, 34, 36], [0.4, 0.5, 0.7, 1.0])
    result = bd_rate(anchor, test)
    assert result.percent is None
    assert "share no part" in result.notes[0]


@pytest.mark.parametrize(
    ("start", "number"), [(38.7, True), (38.9, False), (39.99, False)]
)
def test_less_than_a_tenth_of_the_interval_gives_no_number(start, number):
    """Of 28 to 40 dB, a tenth is 1.2."""
    anchor = curve([25, 30, 35, 41], [0.1, 0.3, 0.8, 2])
    test = curve([start, 40.5, 41, 42], [1.0, 1.5, 2.0, 3.0])
    result = bd_rate(anchor, test)
    assert (result.percent is not None) == number
    if not number:
        assert str(result) == f"too small a part ({result.part})"
        assert "share less than a tenth of 28 to 40 dB" in result.notes[0]


def test_without_an_interval_a_tenth_of_both_curves_counts():
    metric = Metric(name="own", function=lambda a, b: 1.0)
    anchor = curve([0, 1, 2, 10], [0.1, 0.3, 0.8, 2], metric=metric)
    near = curve([8, 12, 13, 14], [1.0, 1.5, 2.0, 3.0], metric=metric)
    far = curve([8, 12, 13, 40], [1.0, 1.5, 2.0, 3.0], metric=metric)
    assert bd_rate(anchor, near).percent is not None
    assert bd_rate(anchor, far).percent is None


def test_too_few_points_and_mixed_metrics_are_refused():
    anchor = curve([25, 30, 35, 41], [0.1, 0.3, 0.8, 2])
    with pytest.raises(ConfigError, match="at least 4"):
        bd_rate(anchor, curve([33], [0.5]))
    with pytest.raises(ConfigError, match="one metric"):
        bd_rate(anchor, curve(anchor.db, anchor.bpp, metric="ms_ssim"))


@pytest.mark.parametrize(("higher", "way"), [(True, "falls"), (False, "rises")])
def test_a_metric_taken_upside_down_says_so(higher, way, monkeypatch):
    errors = Metric(
        name="errors",
        label="Errors",
        function=lambda a, b: 0.0,
        higher_is_better=higher,
        compared=True,
    )
    monkeypatch.setitem(METRICS, "errors", errors)
    values = (9.0, 6.0, 4.0, 3.0, 2.5) if higher else (2.5, 3.0, 4.0, 6.0, 9.0)
    test = curve(values, (0.1, 0.2, 0.4, 0.8, 1.6), metric="errors")
    expected = (
        f"Errors {way} as files grow, from {values[0]:g} to {values[-1]:g}, so 1 of 5 "
        f"points can be used; .* higher_is_better={not higher}"
    )
    with pytest.raises(ConfigError, match=expected):
        bd_rate(test, test)


def test_saturation_is_noted():
    full = curve([12, 15, 20, 36], [0.1, 0.3, 0.8, 9], metric="ms_ssim")
    assert any("saturates" in note for note in bd_rate(full, full).notes)


def test_pictures_mean_and_bootstrap_interval():
    db = [26, 30, 35, 41]
    base = np.array([0.1, 0.3, 0.8, 2])
    anchors = {f"p{i}": curve(db, base * (1 + i / 9)) for i in range(8)}
    factors = np.linspace(1.1, 1.5, 8)
    tests = {f"p{i}": curve(db, base * (1 + i / 9) * factors[i]) for i in range(8)} | {
        "other": curve(db, base)
    }
    result = bd_rate_pictures(anchors, tests)
    assert result.mean == pytest.approx(30)
    assert list(result.pictures) == sorted(anchors)
    spread = 1.96 * np.std(100 * factors) / np.sqrt(8)
    assert result.low == pytest.approx(30 - spread, abs=1.5)
    assert result.high == pytest.approx(30 + spread, abs=1.5)
    assert bd_rate_pictures({}, tests) is None


def row(picture, quality, bpp, psnr, ms_ssim=0.99):
    return {
        "picture": picture, "codec": "x", "quality": quality, "bpp": bpp,
        "psnr": psnr, "ms_ssim": ms_ssim,
    }  # fmt: skip


def test_curve_of_rows_takes_the_mean_over_equal_pictures():
    rows = [
        row("a", 1, 0.1, 30), row("b", 1, 0.3, 32), row("a", 2, 0.5, 35, 0.9),
        row("b", 2, 0.7, 35, 0.99), row("c", 2, 9, 50),
    ]  # fmt: skip
    mean = curve_of(rows, "x")
    assert mean.bpp == pytest.approx((0.2, 0.6))
    assert mean.db == pytest.approx((31, 35))
    # In dB of the mean, not the mean of dB.
    assert curve_of(rows, "x", "ms_ssim").db[1] == pytest.approx(-10 * np.log10(0.055))
    assert list(picture_curves(rows, "x")) == ["a", "b"]
    assert curve_of(rows, "y") is None
    assert curve_of([row("a", 1, 1, 30, None)], "x", "ms_ssim") is None


def test_published_curves_all_load():
    ids = published_ids()
    assert len(ids) > 90
    assert len(ids) == len(set(ids))
    for curve_id in ids:
        curves = [published(curve_id, metric) for metric in ("psnr", "ms_ssim")]
        assert any(curves)
        assert all("/" in c.source for c in curves if c)


def test_an_unknown_published_curve_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean compressai/vtm"):
        published("compressai/vtn")


def test_curve_refuses_impossible_rates():
    with pytest.raises(ConfigError, match="above 0"):
        curve([30, 31], [0.0, 0.1])
    with pytest.raises(ConfigError, match="as many"):
        curve([30, 31], [0.1])
