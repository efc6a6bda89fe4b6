"""Plots of a report, in one style that stays legible in print and without colour.

matplotlib's object interface only: no pyplot, no global state, no display.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codax.errors import ImageError
from codax.evaluation.bdrate import BdRate
from codax.evaluation.curves import Curve
from codax.evaluation.extras import require
from codax.evaluation.outside_metrics import find_metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "bd_bars",
    "bits_over_picture",
    "rate_distortion",
    "rate_time",
    "scatter",
    "to_png",
    "to_svg",
]

# Okabe and Ito's colours, which colour-blind readers can tell apart, darkest first so
# that neighbours differ in grey too; with a marker each.
_COLOURS = (
    "#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
    "#7F7F7F",
)  # fmt: skip
_MARKERS = "osD^vPX*"


def rate_distortion(
    curves: Sequence[Curve], *, title: str = "", max_bpp: float = 2.5
) -> Figure:
    """Quality over rate, a line for each codec; published curves are dashed.

    Args:
        curves: of one metric.
        title: above the plot.
        max_bpp: right end of the axis.

    Returns:
        The figure.
    """
    figure, axes = _figure(title)
    for index, curve in enumerate(curves):
        axes.plot(
            curve.bpp,
            curve.db,
            linestyle="--" if curve.source else "-",
            label=curve.name,
            **_style(index),
        )
    shown = [
        (rate, value)
        for curve in curves
        for rate, value in zip(curve.bpp, curve.db, strict=True)
        if rate <= max_bpp
    ]
    if shown:
        values = [value for _, value in shown]
        room = 0.03 * (max(values) - min(values)) or 0.5
        axes.set_xlim(0, max_bpp)
        axes.set_ylim(min(values) - room, max(values) + room)
    axes.set_xlabel("bits per pixel")
    rises = True
    if curves:
        metric = find_metric(curves[0].metric)
        rises = metric.higher_is_better
        axes.set_ylabel(metric.axis)
    axes.legend(
        loc="lower right" if rises else "upper right", fontsize=8, framealpha=0.9
    )
    return figure


def bd_bars(rates: Mapping[str, BdRate], *, anchor: str, title: str = "") -> Figure:
    """BD-rates as bars, best above; partly spanned ones are hatched.

    Args:
        rates: by codec name; those without a number are left out.
        anchor: what they are against.
        title: above the plot.

    Returns:
        The figure.
    """
    bars = {name: rate for name, rate in rates.items() if rate.percent is not None}
    names = sorted(bars, key=lambda name: bars[name].percent or 0.0, reverse=True)
    percents = [bars[name].percent or 0.0 for name in names]
    figure, axes = _figure(title, height=1.2 + 0.32 * max(len(names), 2))
    drawn = axes.barh(names, percents, color="#0072B2", edgecolor="black", height=0.7)
    for bar, name in zip(drawn, names, strict=True):
        if not bars[name].spans:
            bar.set_hatch("//")
            bar.set_facecolor("#56B4E9")
    axes.bar_label(drawn, labels=[f"{p:+.1f}" for p in percents], padding=3, fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.15)
    axes.set_xlabel(f"BD-rate against {anchor} (%); hatched: part of the interval")
    return figure


def rate_time(
    points: Mapping[str, tuple[float, float]], *, anchor: str, title: str = ""
) -> Figure:
    """BD-rate over decoding time, a point for each codec.

    Args:
        points: by codec: median seconds of decoding a picture, BD-rate in percent.
        anchor: what the BD-rates are against.
        title: above the plot.

    Returns:
        The figure.
    """
    require(["matplotlib"], "a plot")
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = _figure(title)
    for index, (name, (seconds, percent)) in enumerate(points.items()):
        axes.plot([seconds], [percent], linestyle="", label=name, **_style(index))
        axes.annotate(
            name, (seconds, percent), (5, 4), textcoords="offset points", fontsize=8
        )
    axes.set_xscale("log")
    seconds_of = [seconds for seconds, _ in points.values()]
    # Over many decades there is room for the powers of ten only.
    few = not points or max(seconds_of) < 30 * min(seconds_of)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.25, y=0.12)
    axes.set_xlabel("seconds to decode a picture (median, this machine)")
    axes.set_ylabel(f"BD-rate against {anchor} (%)")
    return figure


def scatter(
    pictures: Mapping[str, Mapping[str, float]], *, anchor: str, title: str = ""
) -> Figure:
    """BD-rates of single pictures, a row of points for each codec and its mean.

    Args:
        pictures: by codec, by picture: percent.
        anchor: what they are against.
        title: above the plot.

    Returns:
        The figure.
    """
    names = list(pictures)[::-1]
    figure, axes = _figure(title, height=1.2 + 0.4 * max(len(names), 2))
    for place, name in enumerate(names):
        values = np.array(list(pictures[name].values()))
        # A fixed zigzag keeps equal values apart without chance.
        heights = place + 0.12 * (np.arange(len(values)) % 3 - 1)
        axes.plot(values, heights, "o", color="#0072B2", alpha=0.6, markersize=4)
        axes.plot(
            [values.mean()], [place], "|", color="#D55E00", markersize=20, mew=2.5
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(f"BD-rate of a picture against {anchor} (%); bar: mean")
    return figure


def bits_over_picture(
    picture: Image.Image | NDArray[np.uint8],
    per_pixel: NDArray[np.float64],
    *,
    title: str = "",
) -> Figure:
    """Bits as colour over the picture: hue says how many, brightness is the picture's.

    Args:
        picture: Pillow picture, or uint8[H W 3] or uint8[H W].
        per_pixel: float64[H W], of `codax.evaluation.bits_map`.
        title: above the plot.

    Returns:
        The figure.

    Raises:
        ImageError: a map of another size than the picture.
    """
    colours = np.asarray(picture)
    if colours.shape[:2] != per_pixel.shape:
        raise ImageError(
            f"map of {list(per_pixel.shape)} over a picture of "
            f"{list(colours.shape[:2])} rows and columns: expected equal sides"
        )
    require(["matplotlib"], "a plot")
    from matplotlib.cm import ScalarMappable

    height, width = per_pixel.shape
    figure, axes = _figure(title, height=min(6 * height / width, 8) + 0.4)
    axes.set_axis_off()
    # A few cells, often at an edge, would otherwise make all others pale.
    top = max(float(np.quantile(per_pixel, 0.995)), 1e-3)
    heat = ScalarMappable(cmap="YlOrRd")
    heat.set_clim(0, top)
    grey = colours if colours.ndim == 2 else colours[..., :3].mean(-1)
    light = 0.4 + 0.6 * grey / 255
    axes.imshow(heat.to_rgba(per_pixel)[..., :3] * light[..., None])
    bar = figure.colorbar(heat, ax=axes, shrink=0.8, extend="max")
    bar.set_label("bits per pixel")
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as SVG that scales with the page and is equal for equal figures."""
    import matplotlib

    buffer = io.StringIO()
    # Without a salt the identifiers in it would differ from run to run.
    with matplotlib.rc_context({"svg.hashsalt": "codax"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def to_png(figure: Figure) -> bytes:
    """The figure as PNG at 150 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _figure(title: str, *, height: float = 4.4) -> tuple[Figure, Axes]:
    require(["matplotlib"], "a plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _style(index: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[(index + index // len(_COLOURS)) % len(_MARKERS)],
        "markersize": 4.5,
        "linewidth": 1.4,
    }
