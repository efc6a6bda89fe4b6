"""Counts tables for weights that exist, those of dependent quantisation among them.

    python tools/trellis.py quadtree-base-v5 FOLDER... -o OUT

WEIGHTS is the name or the folder of a checkpoint, FOLDER holds training pictures. Of
these the ones that no run trains on are set aside, and the middles of some of the rest
are counted: plain residuals below the quality where dependent quantisation starts, the
others above. Nothing is trained. Writes OUT/CODEC-PRESET-vN, N one more than that of
the weights or `--version`: the same networks, the tables, a card that says so. What the
card said of results is left out, since `tools/results.py` measures it anew.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from codax.cli.runtime import prepare_jax
from codax.errors import CodaxError
from codax.face.codec import Codec
from codax.train.counting import SHIFT, START, STEP, WEIGHT, fit_scales, fit_trellis
from codax.train.export import check_estimate
from codax.train.folders import centre_crops
from codax.train.graphs.networks import add_graphs
from codax.train.pictures import find_pictures, split
from codax.train.shipping import LOG
from codax.zoo.cards import find_card
from codax.zoo.weights import (
    of_networks,
    read_checkpoint,
    weights_hash,
    write_checkpoint,
)

SIDE, HELD_OUT = 512, 24
COUNTED = 4
"""Qualities that are counted, evenly below the start and from there on."""
LOWEST = 20
CHECKED = (20, 80, 140, 200)
RESULTS = ("bpp", "bd_rate", "kodak", "default", "weights_crc32", "bytes")
"""What a card says of the old weights' files."""


def main() -> None:
    """Writes a checkpoint folder and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", metavar="WEIGHTS")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--version", type=int, help="N of the new name")
    parser.add_argument("--pictures", type=int, default=24, help="to count (24)")
    parser.add_argument("--start", type=float, default=START / 2, help="quality")
    parser.add_argument("--shift", type=int, default=SHIFT, help="half steps")
    parser.add_argument("--step", type=int, default=STEP, help="sixteenths of a latent")
    parser.add_argument(
        "--weight", type=int, default=WEIGHT, help="sixteenths of a bit"
    )
    given = parser.parse_args()
    prepare_jax()
    try:
        _add(given)
    except CodaxError as error:
        parser.error(str(error))


def _add(given: argparse.Namespace) -> None:
    card = find_card(given.weights)
    packed, fields = read_checkpoint(card.folder)
    coder = Codec(packed, fields).coder
    rest, held_out = split(find_pictures(given.folders), HELD_OUT)
    pictures = centre_crops(rest[:: max(1, len(rest) // given.pictures)], 999, SIDE)
    start, high = round(2 * given.start), 2 * coder.qualities[1]
    pictures = pictures[: given.pictures]

    def evenly(low: float, high: float) -> list[int]:
        return np.linspace(low, high, COUNTED).astype(int).tolist()

    packed |= fit_scales(coder, pictures, qualities=evenly(LOWEST, start))
    packed |= fit_trellis(
        coder,
        pictures,
        qualities=evenly(start + given.shift, high),
        start=start,
        shift=given.shift,
        step=given.step,
        weight=given.weight,
    )
    version = given.version or card.version + 1
    known = fields.get("previous", {})
    if version != card.version:
        known = known | {card.weights_hash: card.name}
    fields = {name: v for name, v in fields.items() if name not in RESULTS} | {
        "name": f"{card.codec}-{card.preset}-v{version}",
        "version": version,
        "weights_hash": weights_hash(packed).hex(),
        "previous": known,
        "command": [*fields.get("command", []), " ".join(["python", *sys.argv])],
    }
    codec = Codec(packed, fields)
    crops = centre_crops(held_out, 4, SIDE)
    error = {q: check_estimate(codec, crops, q) for q in CHECKED}
    fields["estimate_error"] = {f"{q / 2:g}": round(d, 5) for q, d in error.items()}
    shared = fields.get("shared", {}).get("networks", [])
    own = {
        path: v for path, v in packed.items() if path not in of_networks(packed, shared)
    }
    folder = given.output / fields["name"]
    write_checkpoint(folder, own, fields, codec.coder.order)
    add_graphs(folder, codec.model, packed)
    log = card.folder / LOG
    if log.is_file():
        (folder / LOG).write_bytes(log.read_bytes())
    differences = ", ".join(f"{100 * d:+.2f} % at {q / 2:g}" for q, d in error.items())
    print(f"{folder} written; files against the estimate: {differences}")


if __name__ == "__main__":
    main()
