"""Times codax's wavelets beside PyWavelets', on one picture, in one run.

python tools/benchmark_wavelet.py [--side 2048] [--levels 3] [--repeats 7]

Both are given float32; codax also int32. Least wall-clock time of all repeats, without
compilation; the column `ratio` is PyWavelets' time divided by codax's.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import pywt

from codax.transforms.wavelet import wavedec2, waverec2

NAMES = {"haar": "haar", "cdf53": "bior2.2", "cdf97": "bior4.4"}
MODES = {"symmetric": "reflect", "periodic": "periodization"}


def milliseconds(function: Callable[..., Any], argument: Any, repeats: int) -> float:
    """Least time of a call, after one that compiles."""
    jax.block_until_ready(function(argument))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(argument))
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def rows(side: int, levels: int, repeats: int):
    """Yields wavelet, border, direction, PyWavelets, codax float, codax int in ms."""
    picture = np.random.default_rng(0).random((side, side), np.float32)
    floats = jax.device_put(picture[None, ..., None])
    integers = (255 * floats).astype("int32")
    for wavelet, theirs in NAMES.items():
        for border, mode in MODES.items():
            there = jax.jit(
                partial(wavedec2, levels=levels, wavelet=wavelet, border=border)
            )
            back = jax.jit(lambda c, w=wavelet, b=border: waverec2(*c, w, b))
            there_pywt = partial(pywt.wavedec2, wavelet=theirs, mode=mode, level=levels)
            back_pywt = partial(pywt.waverec2, wavelet=theirs, mode=mode)
            forward = (
                milliseconds(there_pywt, picture, repeats),
                milliseconds(there, floats, repeats),
                milliseconds(there, integers, repeats),
            )
            yield wavelet, border, "forward", *forward
            inverse = (
                milliseconds(back_pywt, there_pywt(picture), repeats),
                milliseconds(back, there(floats), repeats),
                milliseconds(back, there(integers), repeats),
            )
            yield wavelet, border, "inverse", *inverse


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(
        f"{args.side}x{args.side}, {args.levels} levels, ms; jax {jax.__version__} on "
        f"{jax.devices()[0].platform}, {os.cpu_count()} cores; "
        f"PyWavelets {version('PyWavelets')}; load {os.getloadavg()[0]:.1f}\n"
    )
    print("| wavelet | border | direction | PyWavelets | codax | ratio | codax int32 |")
    print("|---|---|---|---|---|---|---|")
    for wavelet, border, direction, theirs, ours, whole in rows(
        args.side, args.levels, args.repeats
    ):
        print(
            f"| {wavelet} | {border} | {direction} | {theirs:.1f} | {ours:.1f} | "
            f"{theirs / ours:.1f} | {whole:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
