"""Shows what the networks beside the linear transforms are worth, from files.

    python tools/live_networks.py [--model NAME|PATH] PICTURE...

Sets the last layer of the analysis's or the synthesis's network to zero, which leaves
its linear path, and prints bits per pixel and PSNR beside those of the codec as it is.
Rows that are all alike mean networks that have died.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from codax.cli.runtime import prepare_jax
from codax.evaluation.metrics import psnr
from codax.face.codec import Codec
from codax.zoo.cards import choose_card
from codax.zoo.weights import read_checkpoint

QUALITIES = (20, 50, 80)


def measure(codec: Codec, pictures: list[np.ndarray], quality: int) -> str:
    """Mean bits per pixel and PSNR of real files."""
    bpp, db = [], []
    for rgb in pictures:
        data = codec.encode(rgb, quality=quality, fallback=False)
        bpp.append(8 * len(data) / (rgb.shape[0] * rgb.shape[1]))
        db.append(psnr(rgb, np.asarray(codec.decode(data))))
    return f"{np.mean(bpp):.4f} bpp {np.mean(db):.3f} dB"


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("--model", help="codec by name or path; else the default")
    given = parser.parse_args()
    prepare_jax()
    packed, card = read_checkpoint(choose_card(given.model).folder)
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in given.pictures]
    print("| " + " | ".join(["", *(f"quality {q}" for q in QUALITIES)]) + " |")
    print("|---" * (1 + len(QUALITIES)) + "|")
    for row, network in (
        (f"`{card['name']}` as it is", None),
        ("analysis linear", "g_a/leave/"),
        ("synthesis linear", "g_s/leave/"),
    ):
        arrays = {
            path: value * 0 if network and path.startswith(network) else value
            for path, value in packed.items()
        }
        codec = Codec(arrays, card)
        cells = [measure(codec, pictures, quality) for quality in QUALITIES]
        print("| " + " | ".join([row, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
