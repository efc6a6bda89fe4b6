"""The table of metrics: all that the bench knows of a metric stands in its row.

Sweep, curves, BD-rates, plots, page, tables and commands read these rows and nothing
else, so that a metric from outside is treated as one of ours. A value is taken of one
picture at a time; means are taken of the values; a scale is applied to the mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codax.errors import CodaxError, ConfigError
from codax.evaluation.metrics import ms_ssim, ms_ssim_db, psnr, ssim
from codax.evaluation.ssimulacra2 import ssimulacra2
from codax.transforms.ssim_constants import MIN_SIDE, WINDOW

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Metric",
    "MetricFunction",
    "in_one_line",
    "metrics_in",
]

MetricFunction = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Any]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
# What rows and the tables of a report hold besides the values of metrics.
_FIELDS = {
    "picture", "codec", "quality", "sha256", "settings", "width", "height", "bytes",
    "bpp", "encode_s", "decode_s", "commit", "machine", "error", "anchor", "pictures",
    "by_picture", "single",
}  # fmt: skip
_ENDINGS = ("_reason", "_version", "_text")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the table.

    Attributes:
        name: what rows, files and commands call it: letters, digits, `_`, `.`, `-`.
        function: (reference, decoded), both uint8[H W 3] of 0..255, to a number; what
            `float()` takes will do, such as a tensor with one element.
        higher_is_better: of the values on the scale.
        scale: the mean value to what curves, plots and BD-rates use; None: itself.
        interval: of BD-rates, from and to, on the scale; None: what two curves share.
        label: for people; empty: the name.
        unit: of the values on the scale, such as "dB".
        smallest_side: pixels; smaller pictures have no value, and the row says why.
        digits: decimals of a value as people see it.
        stored_digits: decimals that rows keep; None: all.
        saturates: on the scale; beyond it rounding of 8-bit pictures decides.
        compared: whether there are curves and BD-rates; otherwise values stand in rows
            and tables only.
        note: a line for the report's page.
        version: rows measured under another version are measured again.
    """

    name: str
    function: MetricFunction
    higher_is_better: bool = True
    scale: Callable[[float], float] | None = None
    interval: tuple[float, float] | None = None
    label: str = ""
    unit: str = ""
    smallest_side: int = 1
    digits: int = 4
    stored_digits: int | None = None
    saturates: float | None = None
    compared: bool = True
    note: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        """Fills in the label; refuses names and intervals that cannot be used."""
        taken = self.name in _FIELDS or self.name.endswith(_ENDINGS)
        if not _NAME.fullmatch(self.name) or taken:
            raise ConfigError(
                f"metric name {self.name!r}: expected letters, digits, _, . or -, "
                "and no field of a row such as bpp"
            )
        if not callable(self.function):
            raise ConfigError(
                f"metric {self.name}: function is {type(self.function).__name__}; "
                "expected a function(reference, decoded)"
            )
        if self.interval is not None and not self.interval[0] < self.interval[1]:
            raise ConfigError(
                f"metric {self.name}: interval {self.interval}; expected from < to"
            )
        if not self.label:
            object.__setattr__(self, "label", self.name)

    def __call__(self, reference: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> Any:
        """The value of two pictures of at least the smallest side.

        Args:
            reference: uint8[H W 3], 0..255.
            decoded: uint8[H W 3].

        Returns:
            A float; infinite only if the function says so.

        Raises:
            ConfigError: the function fails, or gives no number or NaN.
            CodaxError: what the function raises of this family.
        """
        try:
            found = self.function(reference, decoded)
        except CodaxError:
            raise
        except Exception as error:
            raise ConfigError(
                f"metric {self.name} failed with {in_one_line(error)}"
            ) from error
        try:
            # A text is no number, even one that float() would read.
            value = math.nan if isinstance(found, str | bytes) else float(found)
        except (TypeError, ValueError, RuntimeError):
            value = math.nan
        if math.isnan(value):
            text = "NaN" if isinstance(found, float) else type(found).__name__
            raise ConfigError(f"metric {self.name} returned {text}; expected a number")
        return value

    @property
    def too_small(self) -> str:
        """Why a picture with a side below the smallest has no value."""
        return f"{self.label} is not defined below {self.smallest_side} pixels a side"

    @property
    def axis(self) -> str:
        """What stands at the axis of a plot."""
        unit = f" ({self.unit}, RGB)" if self.unit else ""
        return f"{self.label}{unit}" + (
            "" if self.higher_is_better else ", lower is better"
        )

    @property
    def span(self) -> str:
        """The interval of BD-rates in words, such as "28 to 40 dB"."""
        if self.interval is None:
            return "as far as both curves go"
        low, high = self.interval
        return self.with_unit(f"{low:g} to {high:g}")

    def with_unit(self, text: str) -> str:
        """A text with the unit behind it."""
        return f"{text} {self.unit}" if self.unit else text

    def part(self, low: float, high: float) -> str:
        """A part of the scale in words, such as "28.0 to 39.6 dB"."""
        wide = self.interval is not None and self.interval[1] - self.interval[0] >= 2
        digits = 1 if wide else 3
        return self.with_unit(f"{low:.{digits}f} to {high:.{digits}f}")

    def on_scale(self, value: float) -> float:
        """A value, or a mean of values, on the scale of curves and BD-rates.

        Raises:
            ConfigError: the scale fails on it.
        """
        if self.scale is None:
            return value
        try:
            return float(self.scale(value))
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ConfigError(
                f"metric {self.name}: its scale fails at {value:g}: {error}"
            ) from error

    def text(self, value: float) -> str:
        """A value for people, such as "31.23 dB" or "0.98765 (19.08 dB)"."""
        number = f"{value:.{self.digits}f}"
        if self.scale is None:
            return self.with_unit(number)
        return f"{number} ({self.with_unit(f'{self.on_scale(value):.2f}')})"


def in_one_line(error: BaseException) -> str:
    """The kind of an exception that is not ours, and its text without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _ms_ssim_decibels(value: float) -> float:
    """-10 log10(1 - value): the scale on which MS-SSIM is published."""
    return float(ms_ssim_db(value) or 0.0)


# The interval of MS-SSIM is what VTM and JPEG cover between 28 and 40 dB of PSNR. JPEG
# has 33 to 88 of SSIMULACRA2 there, and WebP 25 to 86; by its author 30 is low quality
# and 85 cannot be told from the original side by side.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="psnr",
            function=psnr,
            interval=(28.0, 40.0),
            label="PSNR",
            unit="dB",
            digits=2,
            stored_digits=4,
        ),
        Metric(
            name="ms_ssim",
            function=ms_ssim,
            scale=_ms_ssim_decibels,
            interval=(11.0, 21.0),
            label="MS-SSIM",
            unit="dB",
            smallest_side=MIN_SIDE,
            digits=5,
            stored_digits=7,
            # 0.9997: beyond it the rounding of 8-bit pictures decides.
            saturates=35.0,
            note="in dB it is -10 log10(1 - mean)",
        ),
        Metric(
            name="ssim",
            function=ssim,
            label="SSIM",
            smallest_side=len(WINDOW),
            digits=5,
            stored_digits=7,
            compared=False,
        ),
        Metric(
            name="ssimulacra2",
            function=ssimulacra2,
            interval=(30.0, 85.0),
            label="SSIMULACRA2",
            # Smaller ones lack a scale, and the weights of the others move: a JPEG of
            # quality 40 has 91 at 57 pixels a side.
            smallest_side=113,
            digits=2,
            stored_digits=4,
            note="up to 100; 30 is low, 50 medium, 70 high, 90 visually lossless",
        ),
    )
}
DEFAULT_METRICS = ("psnr", "ms_ssim", "ssim")


def metrics_in(rows: Iterable[Mapping[str, Any]]) -> tuple[Metric, ...]:
    """The metrics of the table that rows hold, in the order of the table."""
    fields = set().union(*(row.keys() for row in rows))
    return tuple(metric for metric in METRICS.values() if metric.name in fields)
