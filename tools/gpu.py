"""A quarter of an hour of an accelerator, in one call. Run from the repository's root.

    python tools/gpu.py pack -o carry      here: constriction's wheel, and pictures as
                                           many as travel beside the tree
    python tools/gpu.py lease CONFIG --seconds 540 --carry carry -o "$OUT"     there
    python tools/gpu.py collect OUT -o FOLDER
                                           here: checks, exports, says what is next
    python tools/gpu.py rehearse           here: the same by a bare machine's Python

The machine has no network, and JAX without constriction: the wheel travels. `lease`
installs it, decodes this repository's files on the device and codes some to check at
home, chooses settings where `tools/gpu_settings.json` has none for the preset, trains
from the shipped weights, stops before the deadline whatever happens, and leaves in OUT
at most eight files of 16 MiB: weights, a tar of all that is small, the trunk, and the
compilation cache where it fits. Weights so far are there from the second minute on.
`tools/gpu_work.py` is what it runs.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "tools" / "gpu_work.py"
PLACE = Path(os.environ.get("CODAX_GPU_PLACE", "/tmp/codax-gpu"))
SETTINGS = ROOT / "tools" / "gpu_settings.json"
TRAVELS = 64 << 20
"""Bytes of tree and carried files in a call."""
PIECE = (16 << 20) - 1024
FILES = 8
WHEEL = "constriction>=0.5,<0.6"
CHECK_SECONDS, TRIAL_SECONDS, END_SECONDS = 90.0, 120.0, 45.0
"""At most of a lease: files between machines, settings, writing what comes back."""
LEAST_TRAINING = 30.0
SMALL = (
    *("config.json", "commands.txt", "before.json", "environments.json"),
    *("data.json", "log.jsonl", "gap.jsonl"),
)
TINY = (
    "transforms.latents=16 transforms.fine=8 transforms.coarse=32 "
    "transforms.analysis_fine=1 transforms.synthesis_fine=1 side=4 hyper=8 middle=8 "
    "features=32 hidden=24 blocks=1"
).split()
"""Fields of the model in a rehearsal."""


def main() -> int:
    """Parses the words and runs a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        commands.add_parser(name).set_defaults(run=function)
    add = {name: p.add_argument for name, p in commands.choices.items()}
    add["pack"]("-o", "--output", type=Path, required=True)
    add["pack"]("--data", type=Path, action="append", help="default: $CODAX_DATA's")
    add["pack"]("--limit", type=float, help="MiB of pictures; default: what is left")
    add["pack"]("--python", default="3.12", help="Python of the machine")
    add["lease"]("config")
    add["lease"]("--seconds", type=float, default=540.0)
    add["lease"]("--carry", type=Path, required=True)
    add["lease"]("-o", "--output", type=Path, required=True)
    add["lease"]("--init", help="default: the shipped weights of the preset; `none`")
    add["lease"]("--set", action="append", default=[])
    add["collect"]("back", type=Path)
    add["collect"]("-o", "--output", type=Path, required=True)
    add["rehearse"]("--python", default="python3.12")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from codax.errors import CodaxError

    try:
        return args.run(args) or 0
    except (CodaxError, OSError) as error:
        sys.exit(f"gpu.py {args.command}: {error}")


# Here, before.


def pack(args: argparse.Namespace) -> None:
    """Pictures in one tar, by hash up to what is left, and constriction's wheel."""
    from codax.train.pictures import find_pictures

    base = os.environ.get("CODAX_DATA", "")
    folders = args.data or [Path(base) / name for name in ("train", "train_extra")]
    pictures = find_pictures(folders)
    args.output.mkdir(parents=True, exist_ok=True)
    platforms = [f"manylinux_2_{n}_x86_64" for n in (17, 24, 27, 28)]
    words = [sys.executable, "-m", "pip", "download", "--no-deps", "-q"]
    words += ["--only-binary=:all:", "--python-version", args.python]
    words += [
        w for p in [*platforms, "manylinux2014_x86_64"] for w in ("--platform", p)
    ]
    subprocess.run([*words, "-d", str(args.output), WHEEL], check=True)
    wheels = sum(path.stat().st_size for path in args.output.glob("*.whl"))
    room = TRAVELS - _tree_size() - wheels - (1 << 20)
    if args.limit is not None:
        room = min(room, int(args.limit * 2**20))
    order = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in pictures}
    size = count = 0
    with tarfile.open(args.output / "pictures.tar", "w") as tar:
        for path in sorted(order, key=lambda path: order[path]):
            size += path.stat().st_size + 1024
            if size > room:
                break
            # Folders keep their names: the held-out ones come of one of them.
            tar.add(path, f"{path.parent.name}/{path.name}")
            count += 1
    if not count:
        sys.exit(f"gpu.py pack: {room / 2**20:.1f} MiB of room hold no picture")
    print(f"{count} of {len(order)} pictures packed, {room / 2**20:.0f} MiB of room")


def _tree_size() -> int:
    """Bytes of tracked files."""
    words = ["git", "ls-files", "-z"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
    names = done.stdout.decode().split("\0")
    return sum((ROOT / n).stat().st_size for n in names if n and (ROOT / n).is_file())


# There.


class Lease:
    """The clock of a lease, and what is known of it by then."""

    def __init__(self, seconds: float, output: Path):
        self.begin, self.seconds, self.output = time.monotonic(), seconds, output
        self.facts: dict[str, Any] = {"seconds": seconds, "parts": []}

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.begin + self.seconds - time.monotonic()

    def run(
        self, name: str, words: list[Any], seconds: float, grace: float = 10
    ) -> int:
        """Runs a part of the work; it is asked to end at its time, then killed.

        Returns:
            The exit status; -1 for a part that was ended or did not begin.
        """
        start = time.monotonic()
        status = -1
        if seconds > 0:
            with (PLACE / "output.txt").open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, str(WORK), *map(str, words)],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env=environment(),
                    cwd=ROOT,
                    start_new_session=True,
                )
                try:
                    status = process.wait(seconds)
                except (subprocess.TimeoutExpired, Ended):
                    status = _end(process, grace)
        spent = time.monotonic() - start
        self.facts["parts"].append({"part": name, "seconds": spent, "status": status})
        print(f"{name}: {spent:.0f} s, status {status}", flush=True)
        return status


class Ended(Exception):
    """The lease was told to end."""


def _end(process: subprocess.Popen, grace: float) -> int:
    """Asks a process to end, and kills it after a while."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
            break
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    return -1


def environment() -> dict[str, str]:
    """What a part sees: this tree, carried packages, data, a kept cache."""
    paths = [str(ROOT), str(PLACE / "site"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "XDG_CACHE_HOME": str(PLACE / "cache"),
        "CODAX_DATA": str(PLACE / "data"),
        "PYTHONUNBUFFERED": "1",
    }


def lease(args: argparse.Namespace) -> int:
    """Does all of it; what comes back is written whatever happened before."""
    job = Lease(args.seconds, args.output)
    job.facts["config"] = args.config

    def end(number: int, frame: Any) -> None:
        job.seconds = min(job.seconds, time.monotonic() - job.begin + END_SECONDS)
        raise Ended

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    args.output.mkdir(parents=True, exist_ok=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    run = PLACE / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    status = 1
    try:
        install(args.carry)
        found = PLACE / "interchange.json"
        most = min(CHECK_SECONDS, job.left() - END_SECONDS)
        job.run("interchange", ["interchange", found], most)
        pairs = chosen(job, args)
        words = ["train", args.config, run, "--back", args.output]
        start = args.config if args.init is None else args.init
        words += [] if start == "none" else ["--init", start]
        words += [word for pair in pairs for word in ("--set", pair)]
        seconds = job.left() - END_SECONDS
        if seconds < LEAST_TRAINING:
            print(f"{seconds:.0f} s are left, too few to train", flush=True)
        else:
            # Less the call in progress and the last look.
            words += ["--seconds", seconds - max(10.0, 0.08 * seconds)]
            status = job.run("train", words, seconds)
    except Ended:
        print("told to end", flush=True)
    except Exception as error:
        print(f"lease: {error!r}", flush=True)
    finally:
        write_back(job, run)
    return 0 if status == 0 else 1


def install(carry: Path) -> None:
    """The carried wheel where it is missing, and the pictures."""
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
        wheels = [str(path) for path in carry.glob("*.whl")]
        target = ["--upgrade", "--target", str(PLACE / "site")]
        subprocess.run([*words, *target, *wheels], check=True)
    if not (PLACE / "data").is_dir():
        with tarfile.open(carry / "pictures.tar") as tar:
            tar.extractall(PLACE / "data", filter="data")


def chosen(job: Lease, args: argparse.Namespace) -> list[str]:
    """The fields of a preset's leases: those that are known, or the trials' best."""
    known = json.loads(SETTINGS.read_text()).get(args.config)
    if known is None:
        found = PLACE / "settings.json"
        found.unlink(missing_ok=True)
        words = ["settings", args.config, found]
        words += [word for pair in args.set for word in ("--set", pair)]
        job.run("settings", words, min(TRIAL_SECONDS, job.left() - END_SECONDS), 2)
        known = json.loads(found.read_text())["taken"] if found.is_file() else []
    job.facts["fields"] = [*known, *args.set]
    return job.facts["fields"]


def write_back(job: Lease, run: Path) -> None:
    """What comes back, the most wanted first, as much as travels."""
    sys.path[:0] = [str(ROOT), str(PLACE / "site")]
    out, left = job.output, FILES
    with tarfile.open(out / "run.tar", "w") as tar:
        for name in SMALL:
            if (run / name).is_file():
                tar.add(run / name, name)
        for name in ("interchange.json", "settings.json", "output.txt"):
            if (PLACE / name).is_file():
                tar.add(PLACE / name, name)
        data = json.dumps(job.facts, indent=1).encode()
        entry = tarfile.TarInfo("lease.json")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    left -= 1
    absent = []
    config = run / "config.json"
    whole = config.is_file() and json.loads(config.read_text())["branch"] < 1
    for name in ("weights", "trunk") if whole else ("weights",):
        try:
            left -= _put_state(run, out, name, left)
        except Exception as error:
            absent.append(f"{name} ({error})")
    cache = PLACE / "cache.tar.xz"
    if job.left() > 10 and (PLACE / "cache").is_dir():
        words = ["tar", "-cJf", str(cache), "-C", str(PLACE), "cache"]
        try:
            subprocess.run(words, check=True, timeout=job.left() - 8)
            if left and cache.stat().st_size <= PIECE:
                shutil.copy(cache, out / cache.name)
            else:
                absent.append(f"the cache ({cache.stat().st_size} bytes)")
        except (subprocess.SubprocessError, OSError) as error:
            absent.append(f"the cache ({error})")
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>10} {path.name}")
    if absent:
        print(f"left behind: {', '.join(absent)}")
    print(f"{job.seconds - job.left():.0f} s of {job.seconds:.0f}", flush=True)


def _put_state(run: Path, out: Path, name: str, left: int) -> int:
    """Puts a state of the run into what comes back; returns how many files it took.

    Where the run has not ended its weights are those of the last minute, which are
    there already.
    """
    from codax.train.state import load_state, save_trunk

    place = run / f"{name}.npz"
    if not place.is_file():
        return len(list(out.glob(f"{name}.npz.*")))
    small = PLACE / place.name
    save_trunk(small, load_state(place), compact=name == "trunk")
    return put(small.read_bytes(), out, place.name, left)


def put(data: bytes, out: Path, name: str, most: int = FILES) -> int:
    """Writes data to what comes back, in pieces that travel; returns how many.

    Raises:
        ValueError: they are more than `most`; what is there stays.
    """
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    if len(pieces) > most:
        raise ValueError(f"{len(data)} bytes, {most} files of {PIECE} left")
    for number, piece in enumerate(pieces):
        part = out / f"{name}.part"
        part.write_bytes(piece)
        part.replace(out / f"{name}.{number:02d}")
    for old in sorted(out.glob(f"{name}.[0-9]*"))[len(pieces) :]:
        old.unlink()
    return len(pieces)


# Here, after.


def collect(args: argparse.Namespace) -> int:
    """Makes a run of what came back, checks and exports it.

    Weights of a run that was cut short are those of its last minute.
    """
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    run = args.output / "run"
    run.mkdir(parents=True, exist_ok=True)
    with tarfile.open(args.back / "run.tar") as tar:
        tar.extractall(run, filter="data")
    for name, target in (("weights", "weights.npz"), ("trunk", "trunk-float16.npz")):
        pieces = sorted(args.back.glob(f"{name}.npz.*"))
        if pieces:
            (run / target).write_bytes(b"".join(p.read_bytes() for p in pieces))
    facts = json.loads((run / "lease.json").read_text())
    for part in facts["parts"]:
        print(f"{part['part']:<12} {part['seconds']:6.0f} s, status {part['status']}")
    differing = _check_interchange(run / "interchange.json")
    if (run / "gap.jsonl").is_file():
        for text in (run / "gap.jsonl").read_text().splitlines():
            line = json.loads(text)
            apart = 100 * (line["held_out"] - line["training"])
            print(
                f"step {line['step']}: {line['passes']:.1f} passes, loss of pictures "
                f"held out {apart:+.1f} % of that of training"
            )
    if (run / "settings.json").is_file():
        taken = json.loads((run / "settings.json").read_text())
        name = facts["config"]
        known = json.loads(SETTINGS.read_text()) | {name: taken["taken"]}
        SETTINGS.write_text(json.dumps(known, indent=1) + "\n")
        print(
            f"settings of {name}: {' '.join(taken['taken'])}, kept in {SETTINGS.name}"
        )
    if not (run / "weights.npz").is_file():
        sys.exit("collect: no weights came back; run.tar has the words of the lease")
    config = json.loads((run / "config.json").read_text())
    name = f"{config['codec']}-{config['preset']}"
    words = [sys.executable, "-m", "codax", "export", run, name, "-o", args.output]
    subprocess.run(list(map(str, words)), check=True, cwd=Path.cwd())
    print("next: tools/trellis.py fits tables of dependent quantisation anew, then")
    print("      codax evaluate, and tools/results.py if it is better")
    return 1 if differing else 0


def _check_interchange(path: Path) -> int:
    """Decodes the device's files here; says what differs, and returns how much."""
    if not path.is_file():
        print("interchange: not done")
        return 1
    from latent_hashes import file_hash

    from codax.face.codec import Codec

    found = json.loads(path.read_text())
    device, differing = found.pop("device"), 0
    for family, facts in found.items():
        coder = Codec.from_folder(ROOT / "tests" / "golden" / family).coder
        there = [title for title, equal in facts["decoded"].items() if not equal]
        here = file_hash(coder, base64.b64decode(facts["file"])) != facts["latents"]
        differing += len(there) + here
        print(
            f"interchange, {device}, {family}: {there or 'no'} files differ there,",
            end="",
        )
        print(f" {int(here)} here")
    return differing


def rehearse(args: argparse.Namespace) -> None:
    """All of it on this CPU, tiny, with the Python of such a machine.

    From a copy of the tree, under `timeout`; then once more, killed in the middle.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        there = _bare_python(base, args.python)
        make_pictures(base)
        data = [w for n in ("train", "train_extra") for w in ("--data", base / n)]
        carry = base / "carry"
        this = [sys.executable, ROOT / "tools" / "gpu.py"]
        _call([*this, "pack", "-o", carry, *data])
        tree = base / "tree"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        env = {"CODAX_GPU_PLACE": str(base / "place"), "JAX_PLATFORMS": "cpu"}
        words = [there, tree / "tools" / "gpu.py", "lease", "quadtree-tiny"]
        words += ["--carry", carry, "--init", "none", *tiny_words()]
        for seconds, limit, status in ((300, 320, 0), (300, 90, 1)):
            out = base / f"out{limit}"
            cut = ["timeout", "-k", 60, limit]
            begin = time.monotonic()
            done = _call([*cut, *words, "--seconds", seconds, "-o", out], env, tree)
            print(f"status {done}, {time.monotonic() - begin:.0f} s of {limit}")
            if (done == 0) != (status == 0) or not (out / "run.tar").is_file():
                sys.exit("rehearse: the lease did not end as it should")
            shutil.rmtree(base / "place" / "run", ignore_errors=True)
        env |= {"CODAX_DATA": str(base / "place" / "data")}
        # The copy's: what this CPU is best at is no setting of an accelerator's.
        collect = [sys.executable, tree / "tools" / "gpu.py", "collect"]
        done = _call([*collect, base / "out320", "-o", base / "home"], env, tree)
        if done:
            sys.exit("rehearse: collect failed")
    print("rehearsed")


def tiny_words() -> list[str]:
    """Words that make a lease's networks and batches tiny."""
    sets = [f"model.{pair}" for pair in TINY]
    sets += "branch_batch=2 branch_crop=64 held_out=2".split()
    sets += ["steps_per_call=2", "bfloat16=false"]
    return [word for pair in sets for word in ("--set", pair)]


def make_pictures(base: Path) -> None:
    """Pictures in two folders, as the configurations name them."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("train", "train_extra"):
        (base / name).mkdir()
        for i in range(4):
            rough = random.integers(0, 255, (9, 9, 3), np.uint8)
            Image.fromarray(rough).resize((320, 256), 3).save(base / name / f"{i}.png")


def _bare_python(base: Path, python: str) -> Path:
    """A Python with only what such a machine has."""
    venv = base / "venv"
    subprocess.run([python, "-m", "venv", str(venv)], check=True)
    packages = "jax>=0.11,<0.12 flax optax numpy pillow onnxruntime safetensors".split()
    pip = [str(venv / "bin" / "pip"), "install", "-q", *packages]
    subprocess.run(pip, check=True)
    return venv / "bin" / "python"


def _call(words: list[Any], env: dict[str, str] | None = None, place=ROOT) -> int:
    done = subprocess.run(
        list(map(str, words)), env=os.environ | (env or {}), cwd=place, check=False
    )
    return done.returncode


COMMANDS = {
    "pack": pack,
    "lease": lease,
    "collect": collect,
    "rehearse": rehearse,
}

if __name__ == "__main__":
    raise SystemExit(main())
