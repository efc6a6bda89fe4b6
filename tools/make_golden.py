"""Freezes small codecs and files of the present format version for the tests.

    python tools/make_golden.py [FAMILY | FAMILY-trellis | FAMILY-enhanced ...]

Writes tests/golden/FAMILY/ (with `-trellis` of weights that have dependent quantisation
from quality 50 on, with `-enhanced` of such that have an enhancement layer, too):
weights with their card, three files, and golden.json with the hashes of the latents
that they must decode to for ever. It never replaces anything: a change that decodes
these files otherwise breaks every file out there, and a new format version gets golden
files of its own beside the old ones.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from latent_hashes import file_hash
from small_codecs import ENHANCED, packed_codec, photo, synthetic, with_trellis

from codax.codecs.families import FAMILIES
from codax.face.codec import Codec
from codax.train.graphs.networks import add_graphs
from codax.zoo.weights import write_checkpoint

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
LARGEST = 300_000
TRELLIS = "-trellis"


def make(name: str) -> None:
    """Writes the golden folder of a family."""
    folder = GOLDEN / name
    if folder.exists():
        sys.exit(f"{folder} exists; golden files are never made again")
    packed, card = packed_codec(name.removesuffix(TRELLIS), seed=20)
    if name.endswith((TRELLIS, ENHANCED)):
        packed, card = with_trellis(packed, card, start=100)
    codec = Codec(packed, card)
    write_checkpoint(folder, packed, card, codec.coder.order)
    add_graphs(folder, codec.model, packed)
    grey = np.repeat(photo()[300:348, 200:330, 1:2], 3, 2)
    pictures = {
        "photo-q75": (photo()[200:290, 150:310], 75),
        "waves-q20": (synthetic(33, 65, 9), 20),
        "grey-q97": (grey, 97.5),
    }
    expected = {}
    low, high = codec.coder.qualities
    for title, (rgb, share) in pictures.items():
        quality = low + (high - low) * share / 100
        image = rgb[..., 0] if title.startswith("grey") else rgb
        low, high = codec.coder.qualities
        data = codec.encode(image, quality=max(low, min(quality, high)), fallback=False)
        (folder / f"{title}.codax").write_bytes(data)
        expected[title] = {
            "latents": file_hash(codec.coder, data),
            "mean": float(np.asarray(codec.decode(data)).mean()),
        }
    (folder / "golden.json").write_text(json.dumps(expected, indent=1) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > LARGEST:
        sys.exit(f"{folder}: {size} bytes, expected at most {LARGEST}")
    print(f"{folder}: {size} bytes")


def main() -> None:
    """Makes the folders that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="else all")
    for family in parser.parse_args().families or FAMILIES:
        make(family)


if __name__ == "__main__":
    main()
