"""The Bjontegaard delta rate over a fixed interval of quality.

The headline rule: `bjontegaard`, PCHIP on the logarithm of the rate, over 28 to 40 dB
of mean RGB PSNR; other metrics have intervals of their own in the table of metrics. An
interval is fixed so that no codec picks its own; a curve that does not span it is
compared over the common part, and the result says which part. So is a metric without
an interval.

Sources:
    G. Bjontegaard, "Calculation of average PSNR differences between RD-curves",
    VCEG-M33, 2001.
    C. Herglotz et al., "The Bjontegaard bible: why your way of comparing video codecs
    may be wrong", IEEE TIP 2024, for the package and the choice of interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from codax.errors import ConfigError
from codax.evaluation.curves import Curve
from codax.evaluation.extras import require
from codax.evaluation.metric_table import Metric
from codax.evaluation.outside_metrics import find_metric

__all__ = [
    "METHOD",
    "BdRate",
    "PictureBdRate",
    "bd_rate",
    "bd_rate_pictures",
]

METHOD = "PCHIP on the logarithm of the rate (package bjontegaard)"
MIN_POINTS = 4
LEAST_SHARE = 0.1
"""Of the interval; of a part that is shorter, the ends of two curves decide."""


@dataclass(frozen=True, kw_only=True)
class BdRate:
    """A BD-rate and the part of the interval that it rests on.

    Attributes:
        percent: change of the rate at equal quality; below 0: the test is smaller.
            None if the two curves share less than a tenth of the interval.
        low: lower end of the part used, on the scale of the metric.
        high: upper end.
        spans: whether the whole interval of the metric was used.
        notes: warnings for the reader.
        part: `low` to `high` in words, such as "28.0 to 39.6 dB"; empty for none.
    """

    percent: float | None
    low: float
    high: float
    spans: bool
    notes: tuple[str, ...] = ()
    part: str = ""

    def __str__(self) -> str:
        """Such as "+35.8 %", or "+67.0 % (28.0 to 39.6 dB)" for a part."""
        if self.percent is None:
            return f"too small a part ({self.part})" if self.part else "no common part"
        text = f"{self.percent:+.1f} %"
        return text if self.spans else f"{text} ({self.part})"


@dataclass(frozen=True, kw_only=True)
class PictureBdRate:
    """BD-rates of single pictures, and their mean with a bootstrap interval.

    Attributes:
        pictures: percent by picture; pictures without a common part are absent.
        mean: percent, mean over `pictures`.
        low: lower end of the 95 % interval of the mean, percent.
        high: upper end.
    """

    pictures: dict[str, float]
    mean: float
    low: float
    high: float


def bd_rate(
    anchor: Curve, test: Curve, interval: tuple[float, float] | None = None
) -> BdRate:
    """The mean change of rate from the anchor to the test at equal quality.

    Args:
        anchor: the curve of comparison.
        test: the curve that is judged, of the same metric.
        interval: from and to, on the scale of the metric; None takes the metric's own,
            and without one all that the curves cover, of which what they share counts.

    Returns:
        The figure in percent, with the part of the interval both curves span.

    Raises:
        ConfigError: fewer than four points in a curve, or two metrics mixed.
        UnsupportedError: the package bjontegaard is not installed.
    """
    require(["bjontegaard"], "a BD-rate")
    import bjontegaard

    metric, other = find_metric(anchor.metric), find_metric(test.metric)
    if metric.name != other.name:
        raise ConfigError(
            f"BD-rate of {test.name} ({other.name}) against {anchor.name} "
            f"({metric.name}): expected curves of one metric"
        )
    wanted = interval or metric.interval
    # Where lower values are better, their negatives rise with the quality.
    sign = 1 if metric.higher_is_better else -1
    bounds = sorted(sign * end for end in wanted or (-math.inf, math.inf))
    notes: list[str] = []
    anchor_bpp, anchor_values = _rising(anchor, metric, sign, notes)
    test_bpp, test_values = _rising(test, metric, sign, notes)
    low = max(bounds[0], anchor_values[0], test_values[0])
    high = min(bounds[1], anchor_values[-1], test_values[-1])
    ends = sorted((sign * low, sign * high))
    result = BdRate(
        percent=None,
        low=ends[0],
        high=ends[1],
        spans=False,
        notes=tuple(notes),
        part=metric.part(*ends) if low < high else "",
    )
    covered = (
        min(anchor_values[0], test_values[0]),
        max(anchor_values[-1], test_values[-1]),
    )
    first, last = bounds if wanted else covered
    if high - low < LEAST_SHARE * (last - first):
        much = "no part" if low >= high else "less than a tenth"
        note = (
            f"{test.name} ({_ends(test_values, metric, sign)}) and {anchor.name} "
            f"({_ends(anchor_values, metric, sign)}) share {much}"
        )
        if wanted:
            note += " of " + metric.with_unit(f"{wanted[0]:g} to {wanted[1]:g}")
        return replace(result, notes=(*notes, note))
    # The package integrates over the whole common range; its own interpolators are
    # asked for the integral over the interval instead.
    _, anchor_fit, test_fit = bjontegaard.bd_rate(
        anchor_bpp,
        anchor_values,
        test_bpp,
        test_values,
        method="pchip",
        require_matching_points=False,
        interpolators=True,
        min_overlap=0,
    )
    difference = test_fit.integrate(low, high) - anchor_fit.integrate(low, high)
    percent = 100 * (10 ** (float(difference) / (high - low)) - 1)
    return replace(result, percent=percent, spans=[low, high] == bounds)


def bd_rate_pictures(
    anchors: Mapping[str, Curve],
    tests: Mapping[str, Curve],
    interval: tuple[float, float] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> PictureBdRate | None:
    """BD-rates picture by picture, each over the part of the interval it spans.

    Args:
        anchors: curves of the anchor by picture.
        tests: curves of the test by picture.
        interval: as for `bd_rate`.
        resamples: of the pictures, for the interval of the mean.
        seed: of the resampling.

    Returns:
        The figures; None if no picture has a common part.

    Raises:
        ConfigError: as `bd_rate`.
    """
    found = {
        picture: bd_rate(anchors[picture], tests[picture], interval).percent
        for picture in sorted(anchors.keys() & tests.keys())
    }
    pictures = {name: value for name, value in found.items() if value is not None}
    if not pictures:
        return None
    values = np.array(list(pictures.values()))
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (resamples, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return PictureBdRate(
        pictures=pictures, mean=float(values.mean()), low=float(low), high=float(high)
    )


def _rising(
    curve: Curve, metric: Metric, sign: int, notes: list[str]
) -> tuple[list[float], list[float]]:
    """The points whose quality rises with the rate; notes say what was left out.

    Args:
        curve: the points.
        metric: of the curve.
        sign: that its values are taken by, so that higher is better.
        notes: to add to.

    Returns:
        Rates and values with that sign, both rising.

    Raises:
        ConfigError: fewer than four points are left.
    """
    bpp: list[float] = []
    values: list[float] = []
    for rate, found in zip(curve.bpp, curve.db, strict=True):
        value = sign * found
        if math.isfinite(value) and (not values or value > values[-1]):
            bpp.append(rate)
            values.append(value)
    if len(bpp) < len(curve.bpp):
        notes.append(
            f"{curve.name}: {len(curve.bpp) - len(bpp)} of {len(curve.bpp)} points "
            "left out, which spend more bits without better quality"
        )
    if len(bpp) < MIN_POINTS:
        raise ConfigError(_too_few(curve, metric, sign, len(bpp)))
    if metric.saturates is not None and values[-1] > sign * metric.saturates:
        limit = metric.with_unit(f"{metric.saturates:g}")
        notes.append(f"{curve.name}: {metric.label} saturates above {limit}")
    return bpp, values


def _too_few(curve: Curve, metric: Metric, sign: int, usable: int) -> str:
    """Why no BD-rate can be had: few points, or a metric that is taken upside down."""
    found = [sign * value for value in curve.db if math.isfinite(value)]
    if len(found) >= MIN_POINTS and found[-1] < found[0]:
        ways = {1: ("falls", False), -1: ("rises", True)}
        way, meant = ways[sign]
        return (
            f"curve {curve.name}: {metric.label} {way} as files grow, from "
            f"{sign * found[0]:g} to {sign * found[-1]:g}, so {usable} of "
            f"{len(found)} points can be used; if that is better, the metric needs "
            f"higher_is_better={meant}"
        )
    return (
        f"curve {curve.name} has {usable} usable points: a BD-rate needs at least "
        f"{MIN_POINTS}; measure more qualities"
    )


def _ends(values: list[float], metric: Metric, sign: int) -> str:
    """The range of a curve in words."""
    return metric.part(*sorted((sign * values[0], sign * values[-1])))
