"""Checks that two devices decode each other's files to the same latents.

    python tools/interchange.py write FOLDER [--device gpu] [--pictures DIR]
    python tools/interchange.py check FOLDER [--device cpu]

`write` codes 24 pictures at three qualities with a shipped codec and notes the hash of
each file's latents as this device decodes them; `check`, on another device or under
other XLA flags, decodes the files and compares. For CPU against GPU run it both ways:

    python tools/interchange.py write /tmp/cpu --device cpu
    python tools/interchange.py check /tmp/cpu --device gpu
    python tools/interchange.py write /tmp/gpu --device gpu
    python tools/interchange.py check /tmp/gpu --device cpu

It exits with 1 if any file differs. Without --pictures it makes 24 of its own.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from latent_hashes import file_hash
from PIL import Image
from small_codecs import photo, synthetic

import codax
from codax.cli.runtime import prepare_jax
from codax.errors import CodaxError
from codax.face.codec import Codec

COUNT = 24
QUALITIES = (25, 60, 90)


def pictures(folder: Path | None) -> dict[str, np.ndarray]:
    """24 pictures by name, uint8[H W 3]."""
    if folder is not None:
        paths = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".webp"))
        return {
            path.stem: np.asarray(Image.open(path).convert("RGB"))
            for path in paths[:COUNT]
        }
    found = {"photo": photo()}
    for number in range(1, COUNT):
        if number % 2:
            turned = np.rot90(photo(), number // 2)
            top = 11 * number
            found[f"crop{number}"] = turned[top : top + 320, 7 * number :]
        else:
            found[f"waves{number}"] = synthetic(300 + 10 * number, 500, number)
    return found


def machine() -> str:
    """The device and the flags that this process decodes with."""
    import jax

    device = jax.devices()[0]
    flags = os.environ.get("XLA_FLAGS", "no flags")
    return f"{device.platform} {device.device_kind}, {platform.machine()}, {flags}"


def write(folder: Path, codec: Codec, source: Path | None) -> None:
    """Writes files and `hashes.json` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name, rgb in pictures(source).items():
        for quality in QUALITIES:
            data = codec.encode(rgb, quality=quality, fallback=False)
            title = f"{name}-q{quality}.codax"
            (folder / title).write_bytes(data)
            hashes[title] = file_hash(codec.coder, data)
    facts = {"codec": codec.name, "machine": machine(), "hashes": hashes}
    (folder / "hashes.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{len(hashes)} files written by {facts['machine']}")


def check(folder: Path, codec: Codec) -> int:
    """Decodes a folder's files; returns how many differ."""
    facts = json.loads((folder / "hashes.json").read_text())
    wrong = 0
    for title, expected in facts["hashes"].items():
        try:
            found = file_hash(codec.coder, (folder / title).read_bytes())
        except CodaxError as error:
            found = str(error)
        if found != expected:
            wrong += 1
            print(f"{title}: {found}, expected {expected}")
    print(
        f"{codec.name}: {wrong} of {len(facts['hashes'])} files differ; written by "
        f"{facts['machine']}; read by {machine()}"
    )
    return wrong


def main() -> None:
    """Runs one half of an interchange."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("write", "check"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--model", default=None, help="codec by name or path")
    parser.add_argument("--pictures", type=Path, help="folder of PNG or WebP pictures")
    given = parser.parse_args()
    prepare_jax(given.device)
    codec = codax.load(given.model, runtime="jax")
    if given.what == "write":
        write(given.folder, codec, given.pictures)
        return
    sys.exit(1 if check(given.folder, codec) else 0)


if __name__ == "__main__":
    main()
