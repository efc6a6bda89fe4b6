"""Decodes mutated `.codax` files and fails on anything but a codax error or a picture.

    python tools/fuzz.py tests/golden/*.codax -n 20000

Half of the mutants keep a checksum that is wrong: none of them may decode. The other
half are repaired so that the damage reaches the codec: they may decode to another
picture. Neither may compute for more than 10 s, raise a foreign exception, or make the
process grow by more than 1 GiB. Mutant i of a seed is always the same, so that
`--only i` repeats it.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import resource
import signal
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from codax.coding.samples import SampleCoder
from codax.errors import CodaxError
from codax.face.decoding import decode_file
from codax.face.loading import find_codec
from codax.files import container
from codax.files.container import Container

HANG_SECONDS = 10
"""Of processor time: a busy machine is no hang. A new size may compile meanwhile."""
GROWTH_BYTES = 1 << 30
_EXTREMES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


class Hang(BaseException):
    """A decode took too long; no handler of ordinary exceptions may swallow it."""


@dataclass
class Report:
    """What came of the mutants.

    Attributes:
        outcomes: number by kind of outcome, repaired and not.
        failures: one line for each mutant that broke a promise.
        slowest: seconds of processor time of the slowest decode.
        growth: bytes by which the process grew beyond its size at the start.
    """

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    growth: int = 0


def mutate(data: bytes, rng: np.random.Generator, *, repair: bool) -> bytes:
    """Damages a file in one of several ways.

    Args:
        data: a valid file.
        rng: source of all choices.
        repair: whether the checksum is made to fit again.
    """
    kinds: list[Callable[[bytes, np.random.Generator], bytes]]
    kinds = [_flip, _cut, _tail, _extreme, _block, _move]
    if repair and rng.random() < 0.5:
        return _edit_fields(data, rng)
    body = kinds[rng.integers(len(kinds))](data[:-4], rng)
    if repair:
        return body + zlib.crc32(body).to_bytes(4, "little")
    return body + data[-4:]


def _flip(body: bytes, rng: np.random.Generator) -> bytes:
    """Flips one to eight bits, more often in the first 40 bytes."""
    out = bytearray(body)
    reach = len(body) if rng.random() < 0.5 else min(40, len(body))
    for _ in range(rng.integers(1, 9)):
        out[rng.integers(reach)] ^= 1 << rng.integers(8)
    return bytes(out)


def _cut(body: bytes, rng: np.random.Generator) -> bytes:
    """Ends the file early."""
    return body[: rng.integers(len(body))]


def _tail(body: bytes, rng: np.random.Generator) -> bytes:
    """Adds random bytes at the end."""
    return body + rng.bytes(rng.integers(1, 200))


def _extreme(body: bytes, rng: np.random.Generator) -> bytes:
    """Sets up to five bytes in a row, as of a length, to extreme values."""
    out = bytearray(body)
    at = rng.integers(min(60, len(body)))
    for offset in range(at, min(at + rng.integers(1, 6), len(body))):
        out[offset] = _EXTREMES[rng.integers(len(_EXTREMES))]
    return bytes(out)


def _block(body: bytes, rng: np.random.Generator) -> bytes:
    """Replaces a span by random bytes of the same number."""
    at = rng.integers(len(body))
    span = int(min(rng.integers(1, 65), len(body) - at))
    return body[:at] + rng.bytes(span) + body[at + span :]


def _move(body: bytes, rng: np.random.Generator) -> bytes:
    """Takes a span out and puts it in elsewhere."""
    first, second, third = sorted(rng.integers(len(body) + 1, size=3))
    return body[:first] + body[second:third] + body[first:second] + body[third:]


def _edit_fields(data: bytes, rng: np.random.Generator) -> bytes:
    """Writes a well-formed file whose fields do not belong together."""
    file = container.read(data)
    choice = rng.integers(5 if file.sections else 4)
    if choice == 0:
        stream = _flip(file.stream or b"\0", rng)
        changed = replace(file, stream=stream)
    elif choice == 1:
        changed = replace(file, stream=_cut(file.stream or b"\0", rng))
    elif choice == 2:
        scale = 2.0 ** rng.integers(-2, 3)
        changed = replace(
            file,
            width=max(1, int(file.width * scale) + int(rng.integers(-20, 21))),
            height=max(1, int(file.height * scale) + int(rng.integers(-20, 21))),
        )
    elif choice == 3:
        changed = replace(file, quality=int(rng.integers(201)))
    else:
        sections = dict(file.sections)
        tag = list(sections)[rng.integers(len(sections))]
        kind = (_flip, _cut, _tail)[rng.integers(3)]
        sections[tag] = kind(sections[tag] or b"\0", rng)
        changed = replace(file, sections=sections)
    return container.write(changed)


def fuzz(
    originals: Sequence[bytes],
    mutants: Sequence[int],
    *,
    seed: int = 0,
    max_pixels: int = 1 << 20,
    keep: Path | None = None,
) -> Report:
    """Decodes the mutants of some files.

    Args:
        originals: valid files whose codecs can be found; they are decoded first, so
            that loading and compiling count neither as growth nor as a hang.
        mutants: their numbers; even ones keep a wrong checksum.
        seed: another seed gives other mutants.
        max_pixels: the limit for the decoder, as a server would set it.
        keep: folder for the mutants that broke a promise.
    """
    coders: dict[tuple[int, bytes], SampleCoder] = {}

    def find(file: Container) -> SampleCoder:
        key = (file.codec_id, file.weights_hash)
        if key not in coders:
            coders[key] = find_codec(file).coder
        return coders[key]

    def decode(data: bytes) -> None:
        decode_file(container.read(data, max_pixels=max_pixels), find).load()

    for original in originals:
        decode(original)
    before = _peak_bytes()
    report = Report()
    for number in mutants:
        rng = np.random.default_rng((seed, number))
        original = originals[rng.integers(len(originals))]
        repair = number % 2 == 1
        data = mutate(original, rng, repair=repair)
        if data == original:
            continue
        start = time.process_time()
        outcome, failure = _attempt(decode, data)
        report.slowest = max(report.slowest, time.process_time() - start)
        report.growth = _peak_bytes() - before
        if outcome == "decoded" and not repair:
            failure = "decoded with a wrong checksum"
        if report.growth > GROWTH_BYTES and not failure:
            failure = f"grew by {report.growth} bytes"
        report.outcomes[f"{'repaired' if repair else 'wrong checksum'}: {outcome}"] += 1
        if failure:
            report.failures.append(f"mutant {number}: {failure}")
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"mutant-{seed}-{number}.codax").write_bytes(data)
        if report.growth > GROWTH_BYTES:
            break  # every later mutant would be blamed for this one.
    return report


def _attempt(decode: Callable[[bytes], None], data: bytes) -> tuple[str, str | None]:
    """Decodes one mutant; returns the outcome and, if a promise broke, how."""

    def stop(*_: object) -> None:
        raise Hang

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    # Native code that never returns, or that waits, would not see that signal.
    faulthandler.dump_traceback_later(60 * HANG_SECONDS, exit=True)
    try:
        decode(data)
    except CodaxError as error:
        lines = str(error).splitlines()
        return type(error).__name__, None if len(lines) == 1 else f"{len(lines)} lines"
    except Hang:
        return "hang", f"took more than {HANG_SECONDS} s"
    except BaseException as error:
        return "foreign", f"{type(error).__name__}: {error}"
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    return "decoded", None


def _peak_bytes() -> int:
    """Returns the largest size that the process has had (Linux counts in KiB)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> int:
    """Runs the command; returns 1 if any promise broke."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("-n", "--number", type=int, default=20_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one mutant, by its number")
    parser.add_argument("--max-pixels", type=int, default=1 << 20)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what failed")
    args = parser.parse_args()
    mutants = range(args.number) if args.only is None else [args.only]
    start = time.perf_counter()
    report = fuzz(
        [path.read_bytes() for path in args.files],
        mutants,
        seed=args.seed,
        max_pixels=args.max_pixels,
        keep=args.keep,
    )
    for outcome, count in sorted(report.outcomes.items()):
        print(f"{count:8d}  {outcome}")
    print(
        f"{len(mutants)} mutants in {time.perf_counter() - start:.0f} s; slowest "
        f"{report.slowest:.2f} s; growth {report.growth / 2**20:.0f} MiB; "
        f"{len(report.failures)} failures"
    )
    for line in report.failures[:20]:
        print(line)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
