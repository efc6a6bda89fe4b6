"""Compares runs on the held-out pictures: what a change of training is worth.

    python tools/held_out.py RUN... [--pictures N] [--side N] [--drawn | --data DIR]
                             [--steps | --files]

The first run is what the others are compared with. Bits are those of the smooth
estimate with rounded latents, which files meet within 1 % (`codax export` checks it),
since a run with `exact=false` has a prior in float, which no file can carry. A run of
one quality (`quality=Q`) is compared at its own PSNR. Runs have no tables of dependent
quantisation, so these are bits of plain latents. With `--drawn` the pictures are the
twelve of `codax.train.drawn.held_out` instead of photographs, with `--data` those of a
folder.

A RUN is a folder, whose `weights.npz` is read, or a file of weights in one, such as
`trunk.npz`: runs that go on are compared at equal steps. It may be the name or folder
of exported weights, too; of those `--files` codes real files instead, of NAME@eN with
effort N. `--steps` also prints the bits of each step of the coding order.
"""

import argparse
import functools
from collections import Counter
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from PIL import Image

from codax.cli.runtime import prepare_jax
from codax.errors import CodaxError
from codax.evaluation.bdrate import bd_rate
from codax.evaluation.curves import Curve
from codax.evaluation.metrics import psnr
from codax.evaluation.named import named_codecs
from codax.train.config import TrainConfig, read_run
from codax.train.drawn.held_out import held_out_drawn
from codax.train.export import networks_of
from codax.train.finetune import read_start
from codax.train.folders import centre_crops, run_pictures
from codax.train.initial import Arrays
from codax.train.pictures import find_pictures
from codax.train.state import load_state

QUALITIES = (*range(5, 100, 10), 100)
SIDE = 512
RANGES = ((28, 40), (28, 31), (31, 34), (34, 37), (37, 40))
"""dB; the first is the headline's. All that the curves share is given, too."""
EXACT = 99.0
"""dB of a picture that comes back exactly, as drawn ones may."""


def read(run: str) -> tuple[str, TrainConfig, Arrays]:
    """A run's name, configuration and arrays."""
    run = run.partition("@e")[0]
    file = Path(run) if Path(run).is_file() else Path(run) / "weights.npz"
    if not file.is_file():
        return run, *read_start(run)
    return f"{file.parent.name}/{file.name}", read_run(file.parent), load_state(file)


@functools.cache
def program(graph, exact: bool):
    """What codes pictures with weights; runs of one shape share it."""

    @jax.jit
    def forward(state, x, quality):
        model = nnx.merge(graph, state)
        bits, decoded, _ = model.forward(x, quality, None, exact=exact)
        return bits, decoded

    return forward


def curve(
    name: str,
    config: TrainConfig,
    weights: Arrays,
    pictures: list[np.ndarray],
    by_step: bool,
) -> Curve:
    """Mean bits per pixel and PSNR, at several qualities or the run's own."""
    graph, state = nnx.split(networks_of(weights, config))
    forward = program(graph, config.exact)
    fixed = config.quality >= 0
    bpp, db = [], []
    for steps in [config.quality] if fixed else [2 * q for q in QUALITIES]:
        rates, quality = [], []
        parts: Counter[str] = Counter()
        for rgb in pictures:
            x = rgb[None].astype(np.float32)
            bits, decoded = forward(state, x, np.array([steps], np.int32))
            seen = np.clip(np.round(np.asarray(decoded[0])), 0, 255).astype(np.uint8)
            area = rgb.shape[0] * rgb.shape[1]
            own = {name: float(value[0]) / area for name, value in bits.items()}
            parts.update(own)
            rates.append(sum(own.values()))
            quality.append(min(psnr(rgb, seen), EXACT))
        bpp.append(float(np.mean(rates)))
        db.append(float(np.mean(quality)))
        if by_step:
            mean = {name: round(v / len(pictures), 4) for name, v in parts.items()}
            print(f"  quality {steps / 2:g}: {mean}", flush=True)
    return Curve(name=name, metric="psnr", bpp=tuple(bpp), db=tuple(db))


def file_curve(name: str, pictures: list[np.ndarray]) -> Curve:
    """Mean bits per pixel of files made with exported weights, and their PSNR."""
    (codec,) = named_codecs([name])
    bpp, db = [], []
    for steps in QUALITIES:
        rates, quality = [], []
        for rgb in pictures:
            data = codec.encode(Image.fromarray(rgb), steps)
            rates.append(8 * len(data) / rgb[..., 0].size)
            quality.append(min(psnr(rgb, np.asarray(codec.decode(data))), EXACT))
        bpp.append(float(np.mean(rates)))
        db.append(float(np.mean(quality)))
    return Curve(name=codec.name, metric="psnr", bpp=tuple(bpp), db=tuple(db))


def change(anchor: Curve, test: Curve) -> str:
    """Bits of the test's at the anchor's PSNR, in percent more."""
    if len(test.bpp) > 1:
        found = [f"{a}-{b} dB {bd_rate(anchor, test, (a, b))}" for a, b in RANGES]
        return ", ".join([*found, f"all {bd_rate(anchor, test, (0, EXACT))}"])
    usual = np.exp(np.interp(test.db[0], anchor.db, np.log(anchor.bpp)))
    return f"{100 * (test.bpp[0] / usual - 1):+.1f} % at {test.db[0]:.2f} dB"


def main() -> None:
    """Prints a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--pictures", type=int, default=24)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--drawn", action="store_true", help="drawn pictures instead")
    other.add_argument("--data", metavar="DIR", help="pictures of a folder instead")
    parser.add_argument("--side", type=int, default=SIDE, help="of their middles (512)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--steps", action="store_true", help="bits of each step, too")
    how.add_argument("--files", action="store_true", help="bits of real files")
    given = parser.parse_args()
    prepare_jax()
    try:
        _compare(given)
    except CodaxError as error:
        parser.error(str(error))


def _compare(given: argparse.Namespace) -> None:
    runs = [read(run) for run in given.runs]
    if given.drawn:
        pictures = held_out_drawn()[: given.pictures]
    elif given.data:
        pictures = centre_crops(find_pictures([given.data]), given.pictures, given.side)
    else:
        _, held_out = run_pictures(runs[0][1])
        pictures = centre_crops(held_out, given.pictures, given.side)
    anchor = None
    for run, name in zip(runs, given.runs, strict=True):
        if given.files:
            found = file_curve(name, pictures)
        else:
            found = curve(*run, pictures, given.steps)
        anchor = anchor or found
        points = " ".join(
            f"{b:.3f}/{d:.2f}" for b, d in zip(found.bpp, found.db, strict=True)
        )
        print(f"{found.name}: {change(anchor, found)}  ({points})", flush=True)


if __name__ == "__main__":
    main()
