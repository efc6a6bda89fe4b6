"""Packs shipped weights as small as gzip allows. Run from the repository's root.

    python tools/repack.py [checkpoints/NAME-vN ...]

Without names, all. The weights stay the same to the last bit, and so do their hashes;
zopfli (`pip install zopfli`) takes minutes for about a twentieth of the size, which is
why `codax export` does not do it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from pathlib import Path

from zopfli.gzip import compress

from codax.codecs.weights import FILE, read_checkpoint

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Parses the words and packs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*")
    folders = parser.parse_args().folders
    for folder in folders or sorted(
        p.parent for p in ROOT.glob(f"checkpoints/*/{FILE}")
    ):
        before, after = repack(folder)
        print(f"{folder.name}  {before:,} -> {after:,} bytes", flush=True)


def repack(folder: Path) -> tuple[int, int]:
    """Packs one checkpoint again, unless that would enlarge it.

    Returns:
        Bytes of the weights' file before and after.
    """
    path = folder / FILE
    before = path.read_bytes()
    after = compress(gzip.decompress(before), numiterations=5)
    if len(after) < len(before):
        card = json.loads((folder / "card.json").read_text())
        card |= {"weights_crc32": f"{zlib.crc32(after):08x}", "bytes": len(after)}
        path.write_bytes(after)
        (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n")
        read_checkpoint(folder)
    return len(before), path.stat().st_size


if __name__ == "__main__":
    main()
