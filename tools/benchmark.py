"""Measures the speed of the default codec and prints a Markdown table.

    python tools/benchmark.py [speed|memory] [--model NAME|PATH] [--picture PNG]

Without a word it measures both: speed at 768x512, and the peak memory of 4000x3000.

Times are the best of several runs in one process, after a first that compiles. Other
work on the machine spoils them; the load is printed with the table.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from PIL import Image
from small_codecs import photo

import codax
from codax.cli.runtime import prepare_jax
from codax.entropy.coder import SymbolDecoder, SymbolEncoder
from codax.face.codec import Codec
from codax.zoo.cards import default_card

QUALITY = 75
RUNS = 7

PROGRAM = [sys.executable, "-m", "codax"]
IMPORTS = [sys.executable, "-c", "import jax, jax.numpy, flax.nnx"]

Row = tuple[str, str, str]


def best(function: Callable[[], object], runs: int = RUNS) -> float:
    """Seconds of the fastest of several calls."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def benchmark_picture(path: Path | None) -> np.ndarray:
    """A picture of 768x512, uint8[512 768 3]."""
    if path is not None:
        rgb = np.asarray(Image.open(path).convert("RGB"))
        return np.ascontiguousarray(rgb[:512, :768])
    return np.pad(photo()[:512], ((0, 0), (0, 192), (0, 0)), mode="reflect")


def coded_steps(codec: Codec, rgb: np.ndarray) -> list[tuple]:
    """What the range coder is given for a picture: symbols, indices, tables."""
    steps = []

    class Recorder:
        def put(self, symbols, index, tables):
            # Dependent quantisation is coded row by row, a channel each.
            for row in zip(*map(np.atleast_2d, (symbols, index)), strict=True):
                steps.append((*(part.copy() for part in row), tables))

    codec.coder.feed(rgb, 2 * QUALITY, [Recorder()])
    return steps


def entropy_rows(codec: Codec, rgb: np.ndarray) -> list[Row]:
    """Symbols per second through the range coder, sorting and scattering included."""
    steps = coded_steps(codec, rgb)
    count = sum(symbols.size for symbols, _, _ in steps)

    def encode() -> bytes:
        coder = SymbolEncoder()
        for symbols, index, tables in steps:
            coder.put(symbols, index, tables)
        return coder.finish()

    stream = encode()

    def decode() -> None:
        coder = SymbolDecoder(stream)
        for _, index, tables in steps:
            coder.get(index, tables)

    what = f"entropy coding, {count} latents at quality {QUALITY}"
    return [
        (f"{what}, encode", f"{count / best(encode) / 1e6:.0f} M symbols/s", "50"),
        (f"{what}, decode", f"{count / best(decode) / 1e6:.0f} M symbols/s", "20"),
    ]


def codec_rows(codec: Codec, rgb: np.ndarray) -> list[Row]:
    """Whole pictures in a warm process."""
    data = codec.encode(rgb, quality=QUALITY)
    codec.decode(data)
    encode = best(lambda: codec.encode(rgb, quality=QUALITY))
    decode = best(lambda: codec.decode(data))
    return [
        (f"{codec.name}, 768x512, encode, warm", f"{encode:.3f} s", "0.25"),
        (f"{codec.name}, 768x512, decode, warm", f"{decode:.3f} s", "0.15"),
    ]


def process(words: list[str]) -> tuple[float, float]:
    """Runs a command; seconds and its peak memory in GiB."""
    begin = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(words)} failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 2**20


def process_rows(model: str, rgb: np.ndarray) -> list[Row]:
    """Whole processes; what of it is import is measured beside it."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "in.codax"
        encode, decode = commands(model, Path(name), rgb)
        process(encode)
        process(decode)
        rows = [
            (
                "`codax decode`, whole process, compile cache warm",
                f"{min(process(decode)[0] for _ in range(3)):.2f} s",
                "3",
            ),
            (
                "of which `import jax` and `flax.nnx`",
                f"{min(process(IMPORTS)[0] for _ in range(3)):.2f} s",
                "",
            ),
        ]
        for words in (["info", str(file)], ["models"], ["--help"]):
            seconds = min(process([*PROGRAM, *words])[0] for _ in range(5))
            rows.append((f"`codax {words[0]}`", f"{seconds:.2f} s", "0.35"))
        return rows


def memory_rows(model: str, rgb: np.ndarray) -> list[Row]:
    """Peak memory of the two commands for a picture of 4000x3000."""
    large = np.tile(rgb, (6, 6, 1))[:3000, :4000]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for words in commands(model, Path(name), large):
            seconds, memory = process(words)
            what = f"`codax {words[len(PROGRAM)]}`, 4000x3000, {seconds:.0f} s"
            rows.append((f"{what}, peak memory", f"{memory:.2f} GiB", "2.5"))
    return rows


def commands(model: str, folder: Path, rgb: np.ndarray) -> tuple[list[str], list[str]]:
    """The commands that encode a picture in a folder and decode it there."""
    picture, file = str(folder / "in.png"), str(folder / "in.codax")
    Image.fromarray(rgb).save(picture, compress_level=1)
    weights = ["--weights", model] if Path(model).is_dir() else []
    common = ["-f", "--quiet", "-o"]
    return (
        [*PROGRAM, "encode", "-m", model, *common, file, picture],
        [*PROGRAM, "decode", *weights, *common, str(folder / "out.png"), file],
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("speed", "memory"))
    parser.add_argument("--model", help="codec by name or path; else the default")
    parser.add_argument("--picture", type=Path, help="at least 768x512")
    given = parser.parse_args()
    model, rgb = given.model or default_card().name, benchmark_picture(given.picture)
    load = os.getloadavg()[0]
    rows = []
    if given.what != "speed":
        # First: a child's peak counts that of the process that started it.
        rows += memory_rows(model, rgb)
    if given.what != "memory":
        prepare_jax()
        codec = codax.load(model)
        rows += entropy_rows(codec, rgb) + codec_rows(codec, rgb)
        rows += process_rows(model, rgb)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ")
    print(f"load before the run {load:.1f}\n")
    print("| what | measured | to reach |\n|---|---|---|")
    for what, value, target in rows:
        print(f"| {what} | {value} | {target} |")


if __name__ == "__main__":
    main()
