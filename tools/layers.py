"""What each layer of a codec costs and gives, from files cut after it.

    python tools/layers.py rvq-tiny PICTURE_OR_FOLDER...

Prints, as means over the pictures: bits a pixel of the files cut after each layer,
their PSNR, what the layer added to both, the share of the codes that occur, and how
many percent its tokens take less than at fixed length.
"""

import argparse
from math import ceil, log2
from pathlib import Path

import numpy as np
from PIL import Image

import codax
from codax.entropy.clusters import usage
from codax.files.layers import truncate


def main() -> None:
    """Prints a line for each layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="codec by name or path")
    parser.add_argument("places", nargs="+", type=Path, metavar="PICTURE_OR_FOLDER")
    given = parser.parse_args()
    paths = [
        path
        for place in given.places
        for path in (sorted(place.iterdir()) if place.is_dir() else [place])
    ]
    codec = codax.load(given.name)
    starts = (0, *codec.model.token_counts())
    bpp, db = np.zeros((2, codec.coder.layers, len(paths)))
    coded = np.zeros(codec.coder.layers)
    fixed = np.zeros(codec.coder.layers)
    found: list[list[np.ndarray]] = [[] for _ in range(codec.coder.layers)]
    for number, path in enumerate(paths):
        rgb = np.asarray(Image.open(path).convert("RGB"))
        whole = codec.encode(rgb, quality=100, fallback=False)
        tokens = codec.file_tokens(whole)[0]
        costs = codec.coder.costs(rgb, 200)
        for layer in range(codec.coder.layers):
            cut = truncate(whole, layers=layer + 1)
            back = np.asarray(codec.decode(cut), float)
            bpp[layer, number] = 8 * len(cut) / rgb[..., 0].size
            db[layer, number] = 20 * np.log10(255) - 10 * np.log10(
                np.mean((back - rgb) ** 2)
            )
            own = tokens[..., starts[layer] : starts[layer + 1]]
            found[layer].append(own.ravel())
            fixed[layer] += own.size * ceil(log2(codec.vocabulary[starts[layer]]))
            steps = [s for s in codec.model.prior.steps if s.layer == layer]
            coded[layer] += sum(costs[step.name].sum() for step in steps)
    print(f"{codec.name}, {len(paths)} pictures")
    print("layer    bpp   added      dB   added  codes used  saved of fixed length")
    before = (0.0, 0.0)
    for layer in range(codec.coder.layers):
        rate, quality = bpp[layer].mean(), db[layer].mean()
        size = codec.vocabulary[starts[layer]]
        used = usage(np.concatenate(found[layer]), size)[0]
        saved = 1 - coded[layer] / fixed[layer]
        print(
            f"{layer + 1:>5}  {rate:.3f}  {rate - before[0]:6.3f}  {quality:6.2f}  "
            f"{quality - before[1]:6.2f}  {used:10.2f}  {100 * saved:19.1f} %"
        )
        before = (rate, quality)
    print(f"all: {100 * (1 - coded.sum() / fixed.sum()):.1f} % saved of fixed length")


if __name__ == "__main__":
    main()
