"""Cuts a release, and keeps what its files need when newer weights replace its own.

    python tools/release.py cut VERSION    notes the weights in checkpoints/, writes the
                                           test files of the release
    python tools/release.py retire NAME    moves what decoding needs of checkpoints/NAME
                                           to released/, and deletes the rest

`cut` comes last before a release is tagged: the version must stand already in
`codax/__init__.py`, `released/codax_weights/__init__.py` and CHANGELOG.md. A release is
noted once and never changed. `retire` is for released weights; drafts are just deleted.
docs/releases.md has what is promised.
"""

import argparse
import datetime
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from latent_hashes import file_hash
from PIL import Image

import codax
from codax.errors import CodaxError
from codax.zoo.cards import list_cards, read_card
from codax.zoo.graphs import read_graphs, write_graphs
from codax.zoo.releases import FILE
from codax.zoo.weights import (
    decoding_part,
    digest,
    of_networks,
    read_checkpoint,
    read_order,
    write_checkpoint,
)

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "released" / "codax_weights"
FILES = ROOT / "tests" / "golden" / "releases"
PICTURE = ROOT / "tests" / "fixtures" / "guitar.png"
CROP = (128, 96, 256, 192)
QUALITIES = (10, 60, 98)
LARGEST = 8 << 20
"""Bytes that a release may add to those that are kept."""
KEPT = (
    "name codec preset version codec_id weights_hash config qualities lossless "
    "bpp bd_rate kmac_per_pixel licence attribution"
).split()
"""Of a card, when the rest of the weights is gone."""
NETWORK = "analysis"
"""Which no decoder needs."""


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("cut").add_argument("version")
    commands.add_parser("retire").add_argument("name")
    given = parser.parse_args()
    try:
        if given.command == "cut":
            cut(given.version)
        else:
            retire(ROOT / "checkpoints" / given.name, RELEASED)
    except CodaxError as error:
        sys.exit(f"release: {error}")


def cut(version: str) -> None:
    """Notes a release and writes its files for the tests."""
    noted = json.loads(FILE.read_text())
    if version in noted:
        sys.exit(f"release: {version} is noted already and is never changed")
    if codax.__version__ != version:
        sys.exit(f"release: codax.__version__ is {codax.__version__}, not {version}")
    for package in (RELEASED, ROOT / "viewer" / "codax_viewer"):
        if f'__version__ = "{version}"' not in (package / "__init__.py").read_text():
            sys.exit(f"release: the version in {package} is not {version}")
    if f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text():
        sys.exit(f"release: CHANGELOG.md has no section of {version}")
    cards = [c for c in list_cards() if c.folder.parent == ROOT / "checkpoints"]
    weights = {
        card.name: {"codec_id": card.codec_id, "weights_hash": card.weights_hash}
        for card in sorted(cards, key=lambda card: card.name)
    }
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    write_files(FILES / version, sorted(weights))
    noted[version] = {"date": date, "weights": weights}
    FILE.write_text(json.dumps(noted, indent=1) + "\n")
    print(f"{version}: {len(weights)} weights noted, files in {FILES / version}")


def write_files(folder: Path, names: list[str]) -> None:
    """Writes files of weights and what they decode to."""
    folder.mkdir(parents=True)
    picture = Image.open(PICTURE).convert("RGB").crop(CROP)
    expected = {}
    for name in names:
        codec = codax.load(name)
        low, high = codec.coder.qualities
        wanted = [None] if codec.coder.lossless else QUALITIES
        for quality in sorted({q and min(max(q, low), high) for q in wanted}):
            data = codec.encode(picture, quality=quality, fallback=False)
            title = name if quality is None else f"{name}-q{quality:g}"
            (folder / f"{title}.codax").write_bytes(data)
            expected[title] = {
                "name": name,
                "latents": file_hash(codec.coder, data),
                "mean": float(np.asarray(codec.decode(data)).mean()),
            }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def retire(folder: Path, target: Path) -> None:
    """Keeps what decoding needs of released weights, and deletes their folder.

    Args:
        folder: of the checkpoint.
        target: the folder of folders that the part goes to.
    """
    card = read_card(folder)
    if card.release is None:
        sys.exit(f"release: {card.name} is of no release; a draft is just deleted")
    users = [
        other.name
        for other in list_cards()
        if other.fields.get("shared", {}).get("from") == card.name
        and other.folder.parent == folder.parent
    ]
    if users:
        sys.exit(
            f"release: {', '.join(users)} share networks of {card.name}: name other "
            "weights in their cards first, or retire them, too"
        )
    write_part(folder, target / card.name)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    releases = len(json.loads(FILE.read_text()))
    if size > releases * LARGEST:
        shutil.rmtree(target / card.name)
        sys.exit(
            f"release: released/ would hold {size} bytes of {releases} releases, more "
            f"than {LARGEST} a release"
        )
    shutil.rmtree(folder)
    print(f"{target / card.name}: released/ holds {size / 1e6:.1f} MB")


def write_part(folder: Path, target: Path) -> None:
    """Writes the decoding part of a checkpoint.

    Networks that a part beside it has, too, are shared.
    """
    packed, fields = read_checkpoint(folder)
    part = decoding_part(packed)
    card = {name: fields[name] for name in KEPT if name in fields}
    card["decodes_only"] = True
    synthesis = sorted({p.split("/")[0] for p in part if p.startswith("g_s")})
    common = digest(of_networks(part, synthesis)).hex()[:16]
    for other in sorted(target.parent.glob("*/card.json")):
        theirs, of_other = read_checkpoint(other.parent)
        own = digest(of_networks(theirs, synthesis)).hex()[:16]
        if synthesis and own == common and "shared" not in of_other:
            part = {p: v for p, v in part.items() if p.split("/")[0] not in synthesis}
            card["shared"] = {
                "from": other.parent.name,
                "networks": synthesis,
                "digest": common,
            }
            break
    write_checkpoint(target, part, card, read_order(folder))
    graphs = read_graphs(folder, fields)
    graphs.pop(NETWORK, None)
    write_graphs(target, graphs, fields["graphs"]["tests"])
    read_checkpoint(target)  # the hash is that of the whole


if __name__ == "__main__":
    main()
