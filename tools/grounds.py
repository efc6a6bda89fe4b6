"""What white and smooth grounds come back as: whether white is white, and a grid.

    python tools/grounds.py PICTURE... [-m MODEL] [-q QUALITY] [-e EFFORT]

For each picture, of a file of MODEL:

white   the share of samples within 1 of 255, and the lowest, where the picture is pure
        white for 16 pixels around
grid    the mean step between neighbours across columns and rows that are multiples of
        8, divided by that across all others, where no step of the picture within 16
        pixels is more than 2 levels; 1 is no grid
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import codax
from codax.errors import CodaxError
from codax.train.loss import clear, grounds

BLOCK = 8


def white(picture: np.ndarray, found: np.ndarray) -> str:
    """What became of white ground; both uint8[H W 3]."""
    coloured = (picture < 255).any(-1).astype(np.float32)
    samples = found[np.asarray(clear(coloured[None]))[0]]
    if not samples.size:
        return "no white"
    return f"white {np.mean(samples >= 254):.2%}, lowest {samples.min()}"


def grid(picture: np.ndarray, found: np.ndarray) -> str:
    """What became of smooth ground; both uint8[H W 3]."""
    smooth = np.asarray(grounds(picture[None].astype(np.float32)))[0, ..., 0]
    on, off = [], []
    for axis in (0, 1):
        own = np.abs(np.diff(found.astype(int), axis=axis)).mean(-1)
        own = np.moveaxis(own, axis, 0)
        inside = np.moveaxis(smooth, axis, 0)[1:]
        edge = np.arange(1, len(own) + 1) % BLOCK == 0
        on.append(own[edge][inside[edge]])
        off.append(own[~edge][inside[~edge]])
    edges, others = np.concatenate(on), np.concatenate(off)
    if not edges.size or not others.size:
        return "no smooth ground"
    if not others.any():
        return "grid: flat everywhere" if not edges.any() else "grid: nothing else"
    return f"grid {edges.mean() / others.mean():.2f} ({others.mean():.3f} levels)"


def main() -> None:
    """Prints a line for each picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("-m", "--model", default="quadtree-base")
    parser.add_argument("-q", "--quality", type=float, default=75.0)
    parser.add_argument("-e", "--effort", type=int, default=4)
    given = parser.parse_args()
    try:
        codec = codax.load(given.model)
        for path in given.pictures:
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
            data = codec.encode(
                picture, quality=given.quality, effort=given.effort, fallback=False
            )
            arrays = np.asarray(picture), np.asarray(codec.decode(data))
            print(f"{path.name}: {white(*arrays)}; {grid(*arrays)}", flush=True)
    except (CodaxError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
