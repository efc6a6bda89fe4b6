"""The Bjontegaard delta rate over a fixed interval of quality.

The headline rule: `bjontegaard`, PCHIP on the logarithm of the rate, over 28 to 40 dB
of mean RGB PSNR. The interval is fixed so that no codec picks its own; a curve that
does not span it is compared over the common part, and the result says which part.

Sources:
    G. Bjontegaard, "Calculation of average PSNR differences between RD-curves",
    VCEG-M33, 2001.
    C. Herglotz et al., "The Bjontegaard bible: why your way of comparing video codecs
    may be wrong", IEEE TIP 2024, for the package and the choice of interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codax.errors import ConfigError
from codax.evaluation.curves import Curve

__all__ = [
    "INTERVALS",
    "METHOD",
    "BdRate",
    "PictureBdRate",
    "bd_rate",
    "bd_rate_pictures",
]

# dB. The MS-SSIM interval is what VTM and JPEG cover between 28 and 40 dB of PSNR.
INTERVALS = {"psnr": (28.0, 40.0), "ms_ssim": (11.0, 21.0)}
METHOD = "PCHIP on the logarithm of the rate (package bjontegaard)"
MIN_POINTS = 4
# Above this MS-SSIM in dB (0.9997) rounding of 8-bit pictures decides the figure.
_SATURATED = 35.0


@dataclass(frozen=True, kw_only=True)
class BdRate:
    """A BD-rate and the part of the interval that it rests on.

    Attributes:
        percent: change of the rate at equal quality; below 0: the test is smaller.
            None if the two curves share no part of the interval.
        low: lower end of the part used, dB.
        high: upper end, dB.
        spans: whether the whole interval was used.
        notes: warnings for the reader.
    """

    percent: float | None
    low: float
    high: float
    spans: bool
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Such as "+35.8 %", or "+67.0 % (28.0 to 39.6 dB)" for a part."""
        if self.percent is None:
            return "no common part"
        text = f"{self.percent:+.1f} %"
        return text if self.spans else f"{text} ({self.low:.1f} to {self.high:.1f} dB)"


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
        interval: dB from and to; None takes the metric's own of `INTERVALS`.

    Returns:
        The figure in percent, with the part of the interval both curves span.

    Raises:
        ConfigError: fewer than four points in a curve, or two metrics mixed.
    """
    import bjontegaard

    if anchor.metric != test.metric:
        raise ConfigError(
            f"BD-rate of {test.name} ({test.metric}) against {anchor.name} "
            f"({anchor.metric}): expected curves of one metric"
        )
    low, high = interval or INTERVALS[anchor.metric]
    notes: list[str] = []
    anchor_bpp, anchor_db = _rising(anchor, notes)
    test_bpp, test_db = _rising(test, notes)
    part_low = max(low, anchor_db[0], test_db[0])
    part_high = min(high, anchor_db[-1], test_db[-1])
    if part_low >= part_high:
        notes.append(
            f"{test.name} ({test_db[0]:.1f} to {test_db[-1]:.1f} dB) and {anchor.name} "
            f"({anchor_db[0]:.1f} to {anchor_db[-1]:.1f} dB) share no part of "
            f"{low:g} to {high:g} dB"
        )
        return BdRate(
            percent=None, low=part_low, high=part_high, spans=False, notes=tuple(notes)
        )
    # The package integrates over the whole common range; its own interpolators are
    # asked for the integral over the interval instead.
    _, anchor_fit, test_fit = bjontegaard.bd_rate(
        anchor_bpp,
        anchor_db,
        test_bpp,
        test_db,
        method="pchip",
        require_matching_points=False,
        interpolators=True,
        min_overlap=0,
    )
    difference = test_fit.integrate(part_low, part_high) - anchor_fit.integrate(
        part_low, part_high
    )
    log10_ratio = float(difference) / (part_high - part_low)
    return BdRate(
        percent=100 * (10**log10_ratio - 1),
        low=part_low,
        high=part_high,
        spans=part_low == low and part_high == high,
        notes=tuple(notes),
    )


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


def _rising(curve: Curve, notes: list[str]) -> tuple[list[float], list[float]]:
    """The points whose quality rises with the rate; notes say what was left out."""
    bpp: list[float] = []
    db: list[float] = []
    for rate, value in zip(curve.bpp, curve.db, strict=True):
        if math.isfinite(value) and (not db or value > db[-1]):
            bpp.append(rate)
            db.append(value)
    if len(bpp) < len(curve.bpp):
        notes.append(
            f"{curve.name}: {len(curve.bpp) - len(bpp)} of {len(curve.bpp)} points "
            "left out, which spend more bits without better quality"
        )
    if len(bpp) < MIN_POINTS:
        raise ConfigError(
            f"curve {curve.name} has {len(bpp)} usable points: a BD-rate needs at "
            f"least {MIN_POINTS}; measure more qualities"
        )
    if curve.metric == "ms_ssim" and db[-1] > _SATURATED:
        notes.append(f"{curve.name}: MS-SSIM saturates above {_SATURATED:g} dB")
    return bpp, db
