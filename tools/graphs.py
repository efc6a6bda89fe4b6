"""Writes the graphs of checkpoints anew, from their networks; their weights stay.

.venv/bin/python tools/graphs.py                 all that ship, and the golden ones
.venv/bin/python tools/graphs.py checkpoints/quadtree-tiny-v7
"""

import argparse
import sys
from pathlib import Path

from codax.face.building import build_networks
from codax.train.graphs.networks import add_graphs
from codax.zoo.graphs import GRAPHS_FILE, read_graphs
from codax.zoo.weights import read_checkpoint

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Writes them; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    folders = parser.parse_args().folders
    if not folders:
        places = (ROOT / "checkpoints", ROOT / "tests" / "golden")
        cards = [card for place in places for card in sorted(place.glob("*/card.json"))]
        folders = [card.parent for card in cards]
    for folder in folders:
        packed, card = read_checkpoint(folder)
        add_graphs(folder, build_networks(packed, card).model, packed)
        graphs = read_graphs(folder, read_checkpoint(folder)[1])
        size = (folder / GRAPHS_FILE).stat().st_size
        print(f"{folder}: {len(graphs)} graphs, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
