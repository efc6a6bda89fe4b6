"""Measures how fast pictures are streamed: a second, and in seconds of the processor.

    python tools/stream_speed.py PLACE... [--workers N] [--batch N] [--size N]

PLACE is what `codax train --data` takes with `stream=true`: folder, tar or ArrayRecord.
The processor's time is that of this process and of its workers, without their start;
other work on the machine disturbs it less than the clock. No step is computed.
"""

import argparse
import itertools
import time
from pathlib import Path

from codax.train.pictures import find_streamed
from codax.train.streaming import Samples, batches


def processor_seconds() -> float:
    """Of this process and its children, those that run included (Linux)."""
    found = time.process_time()
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            found += (int(words[11]) + int(words[12])) / 100
    return found


def main() -> None:
    """Streams, and prints a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="+", metavar="PLACE")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--batch", type=int, default=16, metavar="N")
    parser.add_argument("--size", type=int, default=128, metavar="N")
    parser.add_argument("--batches", type=int, default=60, metavar="N")
    args = parser.parse_args()
    begin = time.monotonic()
    pictures = find_streamed(args.places)
    print(f"{len(pictures)} pictures found in {time.monotonic() - begin:.2f} s")
    samples = Samples(pictures, args.size, 0)
    begin = time.monotonic()
    made = batches(samples, args.size, args.batch, workers=args.workers)
    # What the workers have ready while they start does not count.
    for _ in itertools.islice(made, 4 * max(args.workers, 1)):
        pass
    print(f"workers started in {time.monotonic() - begin:.1f} s")
    begin, used = time.monotonic(), processor_seconds()
    count = args.batch * sum(1 for _ in itertools.islice(made, args.batches))
    spent, used = time.monotonic() - begin, processor_seconds() - used
    made.close()
    print(
        f"{args.workers} workers: {count / spent:.1f} pictures/s, "
        f"{1000 * used / count:.2f} ms of the processor each"
    )


if __name__ == "__main__":
    main()
