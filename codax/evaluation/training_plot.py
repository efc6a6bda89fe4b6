"""Plots of a training run: its log, and its evaluations through files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from codax.errors import ConfigError
from codax.evaluation.curves import Curve
from codax.evaluation.extras import require
from codax.evaluation.plots import rate_distortion, to_png

__all__ = ["log_plot", "read_lines", "watch_plot"]

_SMOOTH = 20  # reports that a running mean covers
_NEWEST = 4  # evaluations shown


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a file of JSON lines; a last line that was cut off is left out.

    Raises:
        ConfigError: the file is missing or holds no line.
    """
    try:
        texts = path.read_text().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a run's log") from error
    lines = []
    for text in texts:
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    if not lines:
        raise ConfigError(f"{path}: 0 lines, expected at least one")
    return lines


def log_plot(run: Path) -> bytes:
    """Loss, rate, PSNR and speed over the megapixels seen, as PNG.

    Args:
        run: a run's folder with `log.jsonl`.

    Raises:
        ConfigError: there is no log.
        UnsupportedError: matplotlib is not installed.
    """
    require(["matplotlib"], "a plot")
    from matplotlib.figure import Figure

    lines = read_lines(run / "log.jsonl")
    x = np.array([line["megapixels"] for line in lines])
    branch = np.array([line["phase"] == "branch" for line in lines])
    figure = Figure(figsize=(9, 6), layout="constrained")
    names = {
        "loss": "loss, weighted",
        "bpp": "bits per pixel (estimate)",
        "psnr": "PSNR of crops (dB)",
        "pictures_per_second": "crops per second",
    }
    for axes, (name, label) in zip(
        figure.subplots(2, 2).ravel(), names.items(), strict=True
    ):
        y = np.array([line[name] for line in lines])
        axes.plot(x, y, ".", color="#BBBBBB", markersize=3)
        axes.plot(x, _running_mean(y), color="#0072B2", linewidth=1.4)
        if branch.any():
            axes.axvspan(x[branch].min(), x[branch].max(), color="#E69F00", alpha=0.15)
        axes.set_xlabel("megapixels seen")
        axes.set_ylabel(label)
        axes.grid(True, color="#DDDDDD", linewidth=0.6)
    hours = lines[-1]["seconds"] / 3600
    figure.suptitle(
        f"{run.name}: {lines[-1]['step']} steps, {hours:.2f} h (shaded: decay branch)",
        fontsize=11,
    )
    return to_png(figure)


def _running_mean(y: np.ndarray) -> np.ndarray:
    """Mean of the last few values at each place."""
    sums = np.concatenate([[0.0], np.cumsum(y)])
    ends = np.arange(1, len(y) + 1)
    starts = np.maximum(ends - _SMOOTH, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def watch_plot(run: Path, anchor: Curve) -> bytes:
    """Curves of a run's newest evaluations beside an anchor's, as PNG.

    Args:
        run: a run's folder with `watch.jsonl`.
        anchor: the same pictures' curve of another codec.

    Raises:
        ConfigError: there is no evaluation.
    """
    curves = [anchor]
    for line in read_lines(run / "watch.jsonl")[-_NEWEST:]:
        curves.append(
            Curve(
                name=f"step {line['step']} ({line['phase']})",
                metric="psnr",
                bpp=tuple(line["bpp"]),
                db=tuple(line["psnr"]),
            )
        )
    title = f"{run.name}: held-out pictures through files"
    return to_png(rate_distortion(curves, title=title))
