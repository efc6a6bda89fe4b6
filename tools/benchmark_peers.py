"""Times the default codec beside CompressAI, in one run, and prints a Markdown table.

    python tools/benchmark_peers.py [--python OTHER/bin/python] [--model NAME|PATH]

CompressAI brings PyTorch, so it may lie in an environment of its own: `--python` names
its interpreter. Its models have random weights there, which take the time that trained
ones do but for the entropy coder's symbols. Times are the best of three, warm.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmark import benchmark_picture, best
from PIL import Image

import codax
from codax.cli.runtime import prepare_jax

PEERS = ("mbt2018-mean", "cheng2020-anchor")
PEER_QUALITY = 4
# Runs in the other interpreter: a picture by its path, the names, a line of JSON back.
PEER_PROGRAM = """
import json, sys, time
import numpy, torch
from PIL import Image
from compressai.zoo import image_models

torch.manual_seed(0)
rgb = numpy.asarray(Image.open(sys.argv[1]).convert("RGB"))
x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255.0
found = {}
for name in sys.argv[3:]:
    model = image_models[name](int(sys.argv[2]), pretrained=False).eval()
    model.update()
    times = {"encode": [], "decode": []}
    with torch.no_grad():
        for _ in range(2 if "cheng" in name else 4):
            begin = time.perf_counter()
            out = model.compress(x)
            middle = time.perf_counter()
            model.decompress(out["strings"], out["shape"])
            times["encode"].append(middle - begin)
            times["decode"].append(time.perf_counter() - middle)
    found[name] = {key: min(values[1:]) for key, values in times.items()}
print(json.dumps(found))
"""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="has compressai")
    parser.add_argument("--model", help="codec by name or path; else the default")
    parser.add_argument("--picture", type=Path, help="at least 768x512")
    given = parser.parse_args()
    check = [given.python, "-c", "import compressai.zoo"]
    if subprocess.run(check, capture_output=True, check=False).returncode:
        sys.exit(f"benchmark_peers.py: {given.python} has no compressai; see --python")
    load = os.getloadavg()[0]
    rgb = benchmark_picture(given.picture)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.fromarray(rgb).save(picture)
        words = [given.python, "-c", PEER_PROGRAM, str(picture), str(PEER_QUALITY)]
        peers = subprocess.run([*words, *PEERS], check=True, capture_output=True)
    found = json.loads(peers.stdout)
    prepare_jax()
    codec = codax.load(given.model)
    data = codec.encode(rgb, quality=75)
    codec.decode(data)
    own = {
        "encode": best(lambda: codec.encode(rgb, quality=75)),
        "decode": best(lambda: codec.decode(data)),
    }
    print(f"768x512, {os.cpu_count()} cores, load before the run {load:.1f}\n")
    print("| codec | encode s | decode s | times ours |\n|---|---:|---:|---:|")
    print(f"| {codec.name} | {own['encode']:.3f} | {own['decode']:.3f} | |")
    for name, spent in found.items():
        ratios = ", ".join(f"{spent[way] / own[way]:.1f}" for way in own)
        what = f"CompressAI {name}, quality {PEER_QUALITY}"
        print(f"| {what} | {spent['encode']:.2f} | {spent['decode']:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
