"""Measures pictures a second, to files and back, by several ways to code many.

    OPENBLAS_NUM_THREADS=1 python tools/many.py [--workers N] [--size 768x512]
    OPENBLAS_NUM_THREADS=1 python tools/many.py --batch B
    OPENBLAS_NUM_THREADS=1 python tools/many.py --networks

One by one, in N threads, and in N processes with their shares of the cores; with
--batch JAX instead, one at a time and in batches; with --networks only what part of one
by one is theirs. The median of three runs in warm processes. Processor seconds stay
true where other work has a part of the cores, whose load is printed beside them.
"""

import argparse
import copy
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from small_codecs import photo

import codax
from codax.face.codec import Codec

RUNS = 3

Many = Callable[[Sequence[Any]], float]
"""Does things; processor seconds of other processes."""


def pictures(count: int, width: int, height: int) -> list[np.ndarray]:
    """Parts of a photograph, each another."""
    whole = np.tile(photo(), (-(-height // 576), -(-width // 576), 1))
    return [
        np.ascontiguousarray(np.roll(whole, (37 * k, 53 * k), (0, 1))[:height, :width])
        for k in range(count)
    ]


def measure(many: Many, things: Sequence[Any]) -> str:
    """Cells of a row: things a second, and processor seconds a thing."""
    many(things)
    found = []
    for _ in range(RUNS):
        begin, used = time.perf_counter(), time.process_time()
        others = many(things)
        seconds = time.perf_counter() - begin
        found.append((seconds, others + time.process_time() - used))
    seconds, used = (statistics.median(column) for column in zip(*found, strict=True))
    return f"{len(things) / seconds:.2f} | {used / len(things):.3f}"


def here(do: Callable[[Any], object], things: Sequence[Any]) -> float:
    """Does things in this process."""
    do(things)
    return 0.0


def timed(do: Callable[[Any], object], thing: Any) -> float:
    """Does a thing; its processor seconds."""
    begin = time.process_time()
    do(thing)
    return time.process_time() - begin


def share(number: Any, workers: int) -> None:
    """Gives a process its share of the cores, as `codax encode -j` does."""
    with number.get_lock():
        place, number.value = number.value, number.value + 1
    own = sorted(os.sched_getaffinity(0))[place % workers :: workers]
    if own:
        os.sched_setaffinity(0, own)


def say(way: str, encode: Many, decode: Many, photos: list, files: list) -> None:
    """Measures a way and prints its row."""
    cells = measure(encode, photos), measure(decode, files)
    print(f"| {way} | {cells[0]} | {cells[1]} | {os.getloadavg()[0]:.1f} |", flush=True)


def onnx(codec: Codec, workers: int, photos: list, files: list) -> None:
    """The ways of ONNX Runtime."""
    one_by_one = partial(here, codec.encode_many), partial(here, codec.decode_many)
    say("one by one", *one_by_one, photos, files)
    with ThreadPoolExecutor(workers) as crew:
        say(
            f"{workers} threads",
            partial(here, lambda things: list(crew.map(codec.encode, things))),
            partial(here, lambda things: list(crew.map(codec.decode, things))),
            photos,
            files,
        )
    context = multiprocessing.get_context("spawn")
    number = context.Value("i", 0)
    with context.Pool(workers, share, (number, workers)) as pool:
        say(
            f"{workers} processes",
            lambda things: sum(pool.map(partial(timed, codec.encode), things, 1)),
            lambda things: sum(pool.map(partial(timed, codec.decode), things, 1)),
            photos,
            files,
        )


class Watched:
    """A runtime that counts the processor seconds of its networks."""

    def __init__(self, runtime: Any):
        self._runtime, self.seconds = runtime, 0.0

    def __getattr__(self, name: str) -> Any:
        """What is not counted."""
        return getattr(self._runtime, name)

    def _counted(self, do: Callable[..., Any], *args: Any) -> Any:
        begin = time.process_time()
        result = do(*args)
        self.seconds += time.process_time() - begin
        return result

    def analyse(self, *args: Any) -> Any:
        """As of the runtime."""
        return self._counted(self._runtime.analyse, *args)

    def synthesise(self, *args: Any) -> Any:
        """As of the runtime."""
        return self._counted(self._runtime.synthesise, *args)

    def steps(self, *args: Any, **options: Any) -> Callable[..., Any]:
        """As of the runtime."""
        return partial(self._counted, self._runtime.steps(*args, **options))


def networks(codec: Codec, photos: list, files: list) -> None:
    """Prints what part of the processor time is the networks'."""
    watched = Watched(codec.coder.runtime)
    codec.coder = copy.copy(codec.coder)
    codec.coder.runtime = watched
    for what, many in (("encode", codec.encode_many), ("decode", codec.decode_many)):
        things = photos if what == "encode" else files
        many(things[:1])
        watched.seconds, begin = 0.0, time.process_time()
        many(things)
        used = time.process_time() - begin
        of = f"{watched.seconds / used:.0%} of it networks"
        print(f"{what}: {used / len(things):.3f} processor seconds a picture, {of}")


def jax(codec: Codec, batch: int, photos: list, files: list) -> None:
    """Batches of one and of more on JAX."""
    for size in (1, batch):
        say(
            f"JAX, batches of {size}",
            partial(here, partial(codec.encode_many, batch=size)),
            partial(here, partial(codec.decode_many, batch=size)),
            photos,
            files,
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workers", type=int, default=2, help="2 by default")
    parser.add_argument("--batch", type=int, help="measure JAX, in such batches")
    parser.add_argument(
        "--networks", action="store_true", help="print what part is the networks'"
    )
    parser.add_argument("--model")
    parser.add_argument("--size", default="768x512", help="WIDTHxHEIGHT")
    parser.add_argument("--count", type=int, default=16, help="pictures, 16 by default")
    args = parser.parse_args()
    codec = codax.load(args.model)
    photos = pictures(args.count, *map(int, args.size.split("x")))
    files = codec.encode_many(photos)
    cores = len(os.sched_getaffinity(0))
    print(f"{codec.name}, {args.count} pictures of {args.size}, {cores} cores")
    if args.networks:
        networks(codec, photos, files)
        return
    print("| | encode, 1/s | processor s | decode, 1/s | processor s | load |")
    print("|---|---|---|---|---|---|", flush=True)
    if args.batch is None:
        onnx(codec, args.workers, photos, files)
    else:
        jax(codax.load(args.model, runtime="jax"), args.batch, photos, files)


if __name__ == "__main__":
    main()
