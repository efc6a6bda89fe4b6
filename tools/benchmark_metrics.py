"""Measures the seconds of PSNR, SSIM and MS-SSIM over a folder of pictures.

    python tools/benchmark_metrics.py kodak/

Each picture is compared with itself as JPEG; reading and coding are not counted.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from codax.evaluation.classical import classical
from codax.evaluation.metric_table import METRICS
from codax.evaluation.sweep import find_pictures, open_picture


def main() -> None:
    """Prints wall and processor seconds of each metric."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of pictures")
    folder = parser.parse_args().folder
    codec = classical("jpeg")
    pictures = [open_picture(path) for path in find_pictures(folder)]
    pairs = [
        (np.asarray(picture), np.asarray(codec.decode(codec.encode(picture, 50))))
        for picture in pictures
    ]
    print(f"{len(pairs)} pictures, load before the run {os.getloadavg()[0]:.1f}")
    for metric in METRICS.values():
        begin = time.perf_counter(), time.process_time()
        for original, decoded in pairs:
            metric(original, decoded)
        wall, spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
        print(f"{metric.name:11} {wall:6.2f} s, processor {spent:6.2f} s")


if __name__ == "__main__":
    main()
