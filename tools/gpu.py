"""Everything that needs a GPU machine, in one command. Run from the repository's root.

    python tools/gpu.py pack -o carry       here: pictures and constriction's wheel
    python tools/gpu.py rehearse            here: the same steps on this CPU, tiny
    python tools/gpu.py start quadtree-tiny --minutes 20 --carry carry     there
    python tools/gpu.py status              there
    python tools/gpu.py stop                there: the state is saved
    python tools/gpu.py collect -o OUT      there: files of at most 16 MiB
    python tools/gpu.py join OUT -o RUN     here: a run's folder, for `codax export`
    python tools/gpu.py measure CONFIG      anywhere: steps and pixels per second

The machine may have no network and JAX without constriction: the wheel travels. `start`
returns at once; training goes on in a session of its own and outlives the call. The
compilation cache lies beside the run and is kept for the next start on that machine.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = Path(os.environ.get("CODAX_GPU_PLACE", "/tmp/codax-gpu"))
PIECE = 16 * 2**20 - 1024
WHEEL = "constriction>=0.5,<0.6"
TINY = (
    "transforms.latents=16 transforms.fine=8 transforms.coarse=32 "
    "transforms.analysis_fine=1 transforms.synthesis_fine=1 side=4 hyper=8 middle=8 "
    "features=32 hidden=24 blocks=1"
).split()
SMALL_FILES = tuple(
    "config.json commands.txt before.json log.jsonl watch.jsonl sheet.png".split()
)


def main() -> int:
    """Parses the words and runs a command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        commands.add_parser(name).set_defaults(run=function)
    add = {name: p.add_argument for name, p in commands.choices.items()}
    add["pack"]("-o", "--output", type=Path, required=True)
    add["pack"]("--data", type=Path, action="append", help="default: $CODAX_DATA's")
    add["pack"]("--limit", type=float, default=56.0, help="MiB of pictures")
    add["pack"]("--python", default="3.12", help="Python of the machine")
    add["pack"]("--no-wheel", action="store_true")
    add["start"]("config")
    add["start"]("--carry", type=Path, required=True)
    add["start"]("--resume", action="store_true")
    add["start"]("rest", nargs="*", help="after --: more words for codax train")
    for flag in ("--minutes", "--steps", "--init"):
        add["start"](flag)
    add["start"]("--set", action="append", default=[])
    add["collect"]("-o", "--output", type=Path, required=True)
    add["join"]("pieces", type=Path)
    add["join"]("-o", "--output", type=Path, required=True)
    add["measure"]("config")
    add["measure"]("--data", action="append", default=[])
    add["measure"]("--set", action="append", default=[])
    add["measure"]("--calls", type=int, default=10)
    args = parser.parse_args()
    return args.run(args) or 0


def pack(args) -> None:
    """Pictures in one tar, by hash up to the limit, and constriction's wheel."""
    sys.path.insert(0, str(ROOT))
    from codax.train.data import find_pictures

    base = os.environ.get("CODAX_DATA", "")
    folders = args.data or [Path(base) / name for name in ("train", "train_extra")]
    args.output.mkdir(parents=True, exist_ok=True)
    digest = {
        p: hashlib.sha256(p.read_bytes()).hexdigest() for p in find_pictures(folders)
    }
    size = count = 0
    with tarfile.open(args.output / "pictures.tar", "w") as tar:
        for path in sorted(digest, key=digest.get):
            size += path.stat().st_size
            if size > args.limit * 2**20:
                break
            # Folders keep their names: the held-out ones come of one of them.
            tar.add(path, f"{path.parent.name}/{path.name}")
            count += 1
    print(f"{count} of {len(digest)} pictures packed")
    if not args.no_wheel:
        platforms = [f"manylinux_2_{n}_x86_64" for n in (17, 24, 27, 28)]
        words = [sys.executable, "-m", "pip", "download", "--no-deps", "-q"]
        words += ["--only-binary=:all:", "--python-version", args.python]
        words += [
            w for p in [*platforms, "manylinux2014_x86_64"] for w in ("--platform", p)
        ]
        subprocess.run([*words, "-d", str(args.output), WHEEL], check=True)


def environment() -> dict[str, str]:
    """What a run there sees: this tree, carried packages, data, a kept cache."""
    paths = [str(ROOT), str(PLACE / "site"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "XDG_CACHE_HOME": str(PLACE / "cache"),
        "CODAX_DATA": str(PLACE / "data"),
        "OPENBLAS_NUM_THREADS": "1",
    }


def start(args) -> None:
    """Sets up, and starts training in a session of its own."""
    PLACE.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("constriction") is None:
        words = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-index",
            "--no-deps",
        ]
        wheels = [str(path) for path in args.carry.glob("*.whl")]
        subprocess.run(
            [*words, "--upgrade", "--target", str(PLACE / "site"), *wheels], check=True
        )
    if not (PLACE / "data").is_dir():
        with tarfile.open(args.carry / "pictures.tar") as tar:
            tar.extractall(PLACE / "data", filter="data")
    words = [
        sys.executable,
        "-m",
        "codax",
        "train",
        args.config,
        "-o",
        str(PLACE / "run"),
    ]
    for flag in ("minutes", "steps", "init"):
        if getattr(args, flag):
            words += [f"--{flag}", getattr(args, flag)]
    words += [word for pair in args.set for word in ("--set", pair)]
    words += (["--resume"] if args.resume else []) + args.rest
    with (PLACE / "output.txt").open("ab") as output:
        process = subprocess.Popen(
            words,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment(),
            cwd=ROOT,
            start_new_session=True,
        )
    (PLACE / "pid").write_text(str(process.pid))
    print(f"started, process {process.pid}; words in {PLACE}/output.txt")


def running() -> int | None:
    """The process that trains, if it still does."""
    try:
        pid = int((PLACE / "pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else pid


def status(args) -> None:
    """Whether it runs, and its last words."""
    print("running" if running() else "not running")
    lines = (PLACE / "output.txt").read_text(errors="replace").splitlines()
    print("\n".join(lines[-12:]))


def stop(args) -> None:
    """Ends training after the step in progress; waits for the state to be saved."""
    pid = running()
    if pid:
        os.kill(pid, signal.SIGTERM)
    wait(args)


def wait(args) -> None:
    """Waits for the end of training."""
    while running():
        time.sleep(0.5)


def collect(args) -> None:
    """Log, card facts, and trunk and weights in float16, in pieces that travel."""
    sys.path[:0] = [str(ROOT), str(PLACE / "site")]
    from codax.train.state import load_state, save_trunk

    run, out = PLACE / "run", args.output
    out.mkdir(parents=True, exist_ok=True)
    for name in SMALL_FILES:
        if (run / name).is_file():
            shutil.copy(run / name, out / name)
    for name in ("trunk", "weights"):
        if not (run / f"{name}.npz").is_file():
            continue
        small = PLACE / f"{name}-float16.npz"
        state = load_state(run / f"{name}.npz")
        save_trunk(small, state, compact=name == "trunk")
        data = small.read_bytes()
        for number, begin in enumerate(range(0, len(data), PIECE)):
            piece = out / f"{name}.npz.{number:02d}"
            piece.write_bytes(data[begin : begin + PIECE])
    print("\n".join(f"{p.stat().st_size:>10} {p.name}" for p in sorted(out.iterdir())))


def join(args) -> None:
    """Makes a run's folder of collected pieces."""
    args.output.mkdir(parents=True, exist_ok=True)
    for name in SMALL_FILES:
        if (args.pieces / name).is_file():
            shutil.copy(args.pieces / name, args.output / name)
    for name in ("trunk", "weights"):
        pieces = sorted(args.pieces.glob(f"{name}.npz.*"))
        if pieces:
            # A float16 trunk is no state to resume: it is for --init.
            target = "trunk-float16.npz" if name == "trunk" else "weights.npz"
            data = b"".join(piece.read_bytes() for piece in pieces)
            (args.output / target).write_bytes(data)
    print(f"{args.output} written")


def rehearse(args) -> None:
    """All of it on this CPU with tiny networks and made-up pictures."""
    import numpy as np
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        place = base / "place"
        random = np.random.default_rng(0)
        for name in ("train", "train_extra"):
            (base / name).mkdir()
            for i in range(4):
                rough = random.integers(0, 255, (9, 9, 3), np.uint8)
                picture = Image.fromarray(rough).resize((192, 128), 3)
                picture.save(base / name / f"{i}.png")
        this = [sys.executable, str(ROOT / "tools" / "gpu.py")]
        env = os.environ | {"CODAX_GPU_PLACE": str(place), "JAX_PLATFORMS": "cpu"}
        sets = [f"model.{pair}" for pair in TINY]
        sets += "batch=2 crop=64 branch_batch=2 branch_crop=64 held_out=2".split()
        sets += ["steps_per_call=2", "watch=0"]
        words = [word for pair in sets for word in ("--set", pair)]

        def call(*words: object) -> None:
            subprocess.run([*this, *map(str, words)], env=env, check=True, cwd=ROOT)

        data = [w for n in ("train", "train_extra") for w in ("--data", base / n)]
        call("pack", "-o", base / "carry", "--no-wheel", *data)
        start = ("start", "quadtree-tiny", "--carry", base / "carry", *words)
        call(*start, "--steps", 10)
        call("wait")
        call("status")
        call(*start, "--steps", 20, "--resume")
        call("wait")
        call("collect", "-o", base / "out")
        call("join", base / "out", "-o", base / "run")
        export = [
            "export",
            base / "run",
            "quadtree-rehearsal",
            "-o",
            base / "checkpoints",
        ]
        words = [sys.executable, "-m", "codax", *map(str, export)]
        env |= {"CODAX_DATA": str(place / "data"), "PYTHONPATH": str(ROOT)}
        subprocess.run(words, env=env, check=True, cwd=ROOT)
    print("rehearsed")


def measure(args) -> None:
    """Bare gradients and whole steps on fixed crops, then from memory and streamed."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.path[:0] = [str(ROOT), str(PLACE / "site")]
    import jax
    import jax.numpy as jnp
    import numpy as np

    from codax.train.config import find_config, load_config, with_overrides
    from codax.train.data import ResidentSet, StreamingSet
    from codax.train.folders import run_pictures
    from codax.train.start import start_networks
    from codax.train.trainer import Trainer

    config = with_overrides(load_config(find_config(args.config)), args.set)
    paths, _ = run_pictures(config, args.data)
    resident = ResidentSet.load(paths[:64])
    trainer = Trainer(config, start_networks(config, resident))
    k, batch, size = config.steps_per_call, config.batch, config.crop
    pixels = k * batch * size * size / 1e6
    # A copy: a call gives its state away.
    fresh = jax.tree.map(np.asarray, trainer.initial_state())
    x = np.stack([StreamingSet(paths, size, 0).sample(i) for i in range(batch)])
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
    crops = StreamingSet(paths, size, 0, config.rescale).batches(batch)

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


COMMANDS = {
    "pack": pack,
    "start": start,
    "status": status,
    "stop": stop,
    "wait": wait,
    "collect": collect,
    "join": join,
    "rehearse": rehearse,
    "measure": measure,
}

if __name__ == "__main__":
    raise SystemExit(main())
