"""What a lease of `tools/gpu.py` does, each part in a process; and timing of steps.

    python tools/gpu_work.py interchange RESULT
    python tools/gpu_work.py settings CONFIG RESULT [--set FIELD=VALUE ...]
    python tools/gpu_work.py train CONFIG RUN --seconds S --back OUT [--init WEIGHTS]
    python tools/gpu_work.py measure CONFIG [--data DIR ...] [--set FIELD=VALUE ...]

A lease calls the first three with its environment, and kills them when their time is
up: what they found by then is in their file already. `measure` runs anywhere.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

BEGUN = time.monotonic()
ROOT = Path(__file__).resolve().parents[1]
# LAPACK with several OpenBLAS threads beside XLA's was 10 to 100 times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(ROOT / folder) for folder in ("tools", "tests", ".")]

# ruff: noqa: E402
import jax
import jax.numpy as jnp
import numpy as np
from gpu import put

from codax.cli.runtime import prepare_jax
from codax.train.state import COUNTERS

TRIALS = (
    {"optimizer": "soap", "refresh": 50, "branch_batch": 64},
    {"optimizer": "adam", "rate": 1e-3, "branch_batch": 128},
)
"""Settings that the first lease of a preset chooses from."""
COMMON = {
    "accumulate": 1,
    "bfloat16": True,
    "steps_per_call": 10,
    "branch": 1.0,
    "hard": 0.0,
    "branch_crop": 192,
}
"""Of every lease. A branch from the first step and no hard rounding: one program to
compile, the one that the trial compiled already. Hours on a CPU finish hard."""
WORTH = 0.65
"""Pixels a second of SOAP against Adam's from which on SOAP is taken: it needs about a
third of the steps."""
FAMILIES = ("quadtree-enhanced", "wavelet-lossless")
"""Golden files that are decoded, and coded anew for the machine at home."""
GAP_CROPS, GAP_SIDE = 16, 256


def main() -> int:
    """Parses the words and does one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("interchange").add_argument
    add("result", type=Path)
    one = commands.add_parser("settings")
    two = commands.add_parser("train")
    for part in (one, two):
        part.add_argument("config")
        part.add_argument("--set", action="append", default=[])
    one.add_argument("result", type=Path)
    two.add_argument("run", type=Path)
    two.add_argument("--seconds", type=float, required=True)
    two.add_argument("--back", type=Path, required=True)
    two.add_argument("--init")
    three = commands.add_parser("measure")
    three.add_argument("config")
    three.add_argument("--set", action="append", default=[])
    three.add_argument("--data", action="append", default=[])
    three.add_argument("--calls", type=int, default=10)
    args = parser.parse_args()
    prepare_jax()
    if args.command == "interchange":
        interchange(args.result)
    elif args.command == "settings":
        settings(args.config, args.set, args.result)
    elif args.command == "train":
        train_lease(args)
    else:
        measure(args)
    return 0


def write(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    part.replace(path)


def interchange(result: Path) -> None:
    """Decodes golden files on this device, and codes a picture with their weights."""
    from latent_hashes import file_hash
    from small_codecs import photo

    from codax.face.codec import Codec

    device = jax.devices()[0]
    found: dict[str, Any] = {"device": f"{device.platform} {device.device_kind}"}
    golden = ROOT / "tests" / "golden"

    for family in FAMILIES:
        folder = golden / family
        codec = Codec.from_folder(folder, runtime="jax")
        expected = json.loads((folder / "golden.json").read_text())
        equal = {
            title: file_hash(codec.coder, (folder / f"{title}.codax").read_bytes())
            == facts["latents"]
            for title, facts in expected.items()
        }
        data = codec.encode(photo()[40:200, 60:250], fallback=False)
        found[family] = {
            "decoded": equal,
            "file": base64.b64encode(data).decode(),
            "latents": file_hash(codec.coder, data),
        }
        write(result, found)


def configuration(name: str, pairs: list[str]) -> Any:
    """The configuration of a preset with fields changed."""
    from codax.train.config import find_config, load_config, with_overrides

    common = [f"{field}={value}" for field, value in COMMON.items()]
    return with_overrides(load_config(find_config(name)), [*common, *pairs])


def settings(name: str, pairs: list[str], result: Path) -> None:
    """Times the steps of each of the trials; notes which is to be taken."""
    from codax.train.folders import run_pictures
    from codax.train.start import start_networks
    from codax.train.trainer import Trainer

    found: dict[str, Any] = {"trials": []}
    for trial in TRIALS:
        own = [f"{field}={value}" for field, value in trial.items()]
        config = configuration(name, [*own, *pairs])
        paths, _ = run_pictures(config)
        resident = read(paths)
        trainer = Trainer(config, start_networks(config, resident))
        state = trainer.place_state(trainer.initial_state())
        data = trainer.place(resident.arrays())
        rates = jnp.full((config.steps_per_call,), 1e-5)
        calls: list[float] = []
        begin = time.monotonic()
        while len(calls) < 2 or (len(calls) < 8 and time.monotonic() - begin < 55):
            start = time.monotonic()
            state, report = trainer.steps(
                state, data, rates, config.branch_batch, config.branch_crop, False, ()
            )
            float(report["loss"])
            if config.optimizer == "soap" and len(calls) % 5 == 0:
                state = trainer.refreshed(state)
            calls.append(time.monotonic() - start)
        pixels = config.steps_per_call * config.branch_batch * config.branch_crop**2
        rate = pixels / 1e6 / float(np.mean(calls[1:]))
        found["trials"].append(
            {"fields": own, "compiled_s": calls[0], "megapixels_per_second": rate}
        )
        soap = found["trials"][0]
        better = rate * WORTH > soap["megapixels_per_second"]
        found["taken"] = own if better else soap["fields"]
        write(result, found)


def read(paths: list[Path]) -> Any:
    """The pictures in memory; the second part of a lease has them from its cache."""
    from codax.train.data import ResidentSet

    kept = Path(os.environ["XDG_CACHE_HOME"]) / "pictures.npz"
    return ResidentSet.load(paths, kept, threads=os.cpu_count() or 2)


def train_lease(args: argparse.Namespace) -> None:
    """Trains for the seconds; weights so far go to `--back` every minute."""
    from codax.train.folders import centre_crops, run_pictures
    from codax.train.initial import load_initial
    from codax.train.loop import train
    from codax.train.record import data_of, write_command, write_data
    from codax.zoo.cards import find_card

    config = configuration(args.config, ["watch=1", *args.set])
    training, held_out = run_pictures(config)
    resident = read(training)
    pixels = resident.flat.shape[0] / 1e6
    print(f"{len(training)} pictures, {pixels:.1f} megapixels", flush=True)
    crops = [
        np.stack([c for c in centre_crops(paths, GAP_CROPS, GAP_SIDE) if c.size])
        for paths in ([p for p in training if _is_large(p)], held_out)
    ]

    def begin() -> None:
        write_data(args.run, data_of((), training, held_out))
        write_command(args.run, f"python tools/gpu.py lease {args.config}", first=True)

    initial = load_initial(find_card(args.init).folder) if args.init else None
    seen_before = float(initial["pixels"]) if initial else 0.0

    def watch(trainer: Any, state: Any, phase: str) -> None:
        if time.monotonic() - BEGUN > args.seconds:
            return  # the weights are about to be written
        # Packing takes seconds of one core; the device goes on, and reuses its arrays.
        arrays = averaged_weights(state)
        threading.Thread(target=keep, args=(args.back, arrays)).start()
        seen = float(state["pixels"]) - seen_before
        line = {
            "step": int(state["step"]),
            "phase": phase,
            "passes": seen / pixels,
            "training": gap(trainer, state, crops[0]),
            "held_out": gap(trainer, state, crops[1]),
        }
        with (args.run / "gap.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"watch: {line}", flush=True)

    weights = train(
        config,
        args.run,
        resident,
        minutes=args.seconds / 60,
        begun=BEGUN,
        initial=initial,
        begin=begin,
        watch=watch,
    )
    print(f"{weights} written", flush=True)


def measure(args: argparse.Namespace) -> None:
    """Bare gradients and whole steps on fixed crops, then from memory and streamed."""
    from codax.train.config import find_config, load_config, with_overrides
    from codax.train.data import ResidentSet
    from codax.train.folders import run_pictures
    from codax.train.start import start_networks
    from codax.train.streaming import Samples, batches
    from codax.train.trainer import Trainer

    config = with_overrides(load_config(find_config(args.config)), args.set)
    paths, _ = run_pictures(config, args.data)
    resident = ResidentSet.load(paths[:64])
    trainer = Trainer(config, start_networks(config, resident))
    k, batch, size = config.steps_per_call, config.batch, config.crop
    pixels = k * batch * size * size / 1e6
    # A copy: a call gives its state away.
    fresh = jax.tree.map(np.asarray, trainer.initial_state())
    x = np.stack([Samples(paths, size, 0).sample(i) for i in range(batch)])
    quality = jnp.asarray(np.linspace(0, 200, batch).astype(np.int32))

    @jax.jit
    def bare(params, fixed, x, key):
        ones = jnp.ones(batch)
        x = x.astype(jnp.float32)
        return trainer._gradients(params, fixed, x, quality, key, ones, False)

    def timed(name: str, call) -> float:
        call(0)
        begin = time.monotonic()
        for i in range(1, args.calls + 1):
            call(i)
        spent = (time.monotonic() - begin) / args.calls
        print(f"{name:<12} {k / spent:8.2f} steps/s {pixels / spent:8.3f} Mpixel/s")
        return spent

    def bare_call(i):
        for j in range(k):
            key = jax.random.key(i * k + j)
            jax.block_until_ready(bare(fresh["params"], fresh["fixed"], x, key))

    state = trainer.place(fresh)
    rates = jnp.full((k,), config.rate)

    def step(data):
        nonlocal state
        state, report = trainer.steps(state, data, rates, batch, size, False)
        float(report["loss"])
        if config.optimizer == "soap" and int(state["step"]) % config.refresh < k:
            state = trainer.refreshed(state)

    print(jax.devices()[0].device_kind, f"x{len(jax.devices())}", f"{k} steps a call")
    bare_time = timed("bare", bare_call)
    data = trainer.place(resident.arrays())
    samples = Samples(paths, size, 0, config.rescale)
    crops = batches(samples, size, batch, workers=config.workers)

    def stream_call(i):
        step((np.stack([next(crops) for _ in range(k)]),))

    fixed = (np.stack([x] * k),)
    fixed_time = timed("fixed", lambda i: step(fixed))
    print(
        f"{'':12} {100 * bare_time / fixed_time:.0f} % of bare; the optimiser's share"
    )
    for name, call in (("resident", lambda i: step(data)), ("streaming", stream_call)):
        spent = timed(name, call)
        shares = f"{100 * bare_time / spent:.0f} % of bare"
        print(f"{'':12} {shares}, {100 * fixed_time / spent:.0f} % of fixed crops")


def _is_large(path: Path) -> bool:
    from PIL import Image

    with Image.open(path) as image:
        return min(image.size) >= GAP_SIDE


def gap(trainer: Any, state: Any, crops: np.ndarray) -> float:
    """The mean log loss of crops with hard rounding, at qualities from 10 to 95."""
    from codax.train.loss import rate_distortion

    count = len(crops)
    quality = jnp.asarray(np.linspace(20, 190, count).astype(np.int32))

    @jax.jit
    def mean(params, fixed, x):
        model = trainer.model(params, fixed)
        losses, _ = rate_distortion(model, x.astype(jnp.float32), quality, None)
        return jnp.mean(jnp.log(losses))

    return float(mean(state["ema"], state["fixed"], crops))


def keep(back: Path, arrays: dict[str, np.ndarray]) -> None:
    """Puts weights so far to what comes back."""
    from codax.train.state import save_trunk

    small = back.parent / "so-far.npz"
    save_trunk(small, arrays, compact=False)
    put(small.read_bytes(), back, "weights.npz")


def averaged_weights(state: Any) -> dict[str, np.ndarray]:
    """A state's averaged weights, constants and counters, off the device."""
    from codax.coding.trees import flatten

    tree = {name: state[name] for name in ("ema", "fixed", *COUNTERS)}
    return {path: np.asarray(value) for path, value in flatten(tree).items()}


if __name__ == "__main__":
    raise SystemExit(main())
