"""How fast a data set of token files is: `codax.datasets.Tokens`.

    python tools/token_speed.py prefix-tiny FOLDER [--workers N]

Encodes a folder's pictures once, into a folder that is thrown away, and reads the
tokens of all files in an order drawn at random, twice by forked workers as PyTorch's
loader has them; the second time counts. Prints seconds of encoding a picture, and
files, tokens and megapixels a second; beside them those of `codax.datasets.Pictures`,
which decodes the pixels of the same files.
"""

import argparse
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

import codax
from codax.datasets import Pictures, Tokens


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="codec by name or path")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    codec = codax.load(given.name)
    with tempfile.TemporaryDirectory() as place:
        begin, pixels, files = time.perf_counter(), 0, []
        for path in sorted(given.folder.iterdir()):
            rgb = np.asarray(Image.open(path).convert("RGB"))
            pixels += rgb[..., 0].size
            files.append(Path(place) / f"{path.stem}.codax")
            quality = codec.coder.qualities[1]
            files[-1].write_bytes(codec.encode(rgb, quality, fallback=False))
        spent = (time.perf_counter() - begin) / len(files)
        size = sum(path.stat().st_size for path in files)
        print(f"{codec.name}: {len(files)} pictures, {8 * size / pixels:.3f} bpp")
        print(f"encoding: {spent:.2f} s a picture")
        for name, dataset in (
            ("tokens", Tokens(files, codec)),
            ("pictures", Pictures(files)),
        ):
            speed, integers = epoch(dataset, len(files), given.workers)
            print(
                f"{name}: {speed:.1f} files a second, "
                f"{speed * integers / 1e3:.0f} thousand values, "
                f"{speed * pixels / len(files) / 1e6:.1f} megapixels"
            )


def epoch(dataset: Tokens | Pictures, count: int, workers: int) -> tuple[float, float]:
    """Files a second of the second pass, and values of a file in the mean."""
    order = np.random.default_rng(0).permutation(count)
    with get_context("fork").Pool(workers) as pool:
        pool.map(dataset.__getitem__, order, chunksize=1)
        begin = time.perf_counter()
        found = pool.map(dataset.__getitem__, order, chunksize=1)
        spent = time.perf_counter() - begin
    return count / spent, float(np.mean([item.size for item in found]))


if __name__ == "__main__":
    main()
