"""Many jobs: one failure leaves the rest, an interruption leaves nothing unfinished."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from codax.cli.outputs import InputError, discard
from codax.cli.plan import STREAM, Job, Plan
from codax.cli.reporting import Reporter, StdoutError
from codax.coding.telling import Progress

__all__ = ["run_jobs"]

_GRACE = 1.0  # seconds that jobs in progress have after an interruption

Work = Callable[[Job, Progress | None], tuple[int, int]]
"""Does one job, tells what of it is done, and reports its result: the bytes read, and
those written."""


@dataclass
class _Tally:
    """What of a run is done."""

    jobs: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    read: int = 0
    written: int = 0
    start: float = field(default_factory=time.monotonic)

    def add(self, outcome: tuple[int, int] | BaseException | None) -> None:
        """Counts a job; raises what ends all of them."""
        if isinstance(outcome, BaseException):
            raise outcome
        if outcome is None:
            self.failed += 1
        else:
            self.done += 1
            self.read += outcome[0]
            self.written += outcome[1]

    def say(self, report: Reporter) -> None:
        """Reports it in a line, if there was more than one job."""
        if self.jobs < 2:
            return
        seconds = time.monotonic() - self.start
        whole = self.jobs == self.done + self.failed + self.skipped
        of = "" if whole else f" of {self.jobs}"
        share = f" ({100 * self.written / self.read:.1f} %)" if self.read else ""
        also = [f"{self.failed} failed"] if self.failed else []
        also += [f"{self.skipped} skipped, which exist"] if self.skipped else []
        report.result(
            f"{self.done}{of} files done, {self.read} B -> {self.written} B{share}, "
            f"{seconds:.1f} s" + "".join(f"; {words}" for words in also),
            {
                "summary": {
                    "files": self.jobs,
                    "done": self.done,
                    "failed": self.failed,
                    "skipped": self.skipped,
                    "input_bytes": self.read,
                    "bytes": self.written,
                    "seconds": seconds,
                }
            },
        )


def run_jobs(
    plan: Plan,
    work: Work,
    *,
    threads: int,
    report: Reporter,
    doing: str,
    skip_existing: bool = False,
) -> int:
    """Does all jobs; a failure is reported and the rest goes on.

    They run beside the main thread, which so hears of signals while a network is
    compiled or run.

    Args:
        plan: the jobs.
        work: does one job and reports its result.
        threads: jobs at a time.
        report: where failures are said.
        doing: the word for a wait, such as `encoding`.
        skip_existing: leave jobs whose outputs exist.

    Returns:
        The exit status: 0, or 1 if any job failed.
    """
    for words in plan.passed_over:
        report.note(f"passed over: {words}")
    todo: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
    tally = _Tally(len(plan.jobs))
    for number, job in enumerate(plan.jobs, 1):
        if skip_existing and job.target != STREAM and os.path.exists(job.target):
            tally.skipped += 1
            report.detail(f"{job.source}: {job.target} exists")
        else:
            todo.put((number, job))
    left = todo.qsize()
    threads = min(threads, left)
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with report.waiting(f"{doing} {left} files") as wait:
        # Of several jobs at a time there is no share, only how many are done.
        progress = wait.progress if threads == 1 else None

        def crew() -> None:
            while True:
                try:
                    number, job = todo.get_nowait()
                except queue.Empty:
                    return
                if threads == 1:
                    wait.begin(f"{doing} {number} of {len(plan.jobs)}: {job.source}")
                # Whatever goes wrong, the main thread waits for an outcome.
                try:
                    ended.put(_outcome(job, work, progress, report))
                except BaseException as error:
                    ended.put(error)

        members = [threading.Thread(target=crew, daemon=True) for _ in range(threads)]
        try:
            for member in members:
                member.start()
            for count in range(1, left + 1):
                tally.add(ended.get())
                if threads > 1:
                    wait.begin(f"{doing} {left} files, {count} done")
        except BaseException as stop:
            _stop(members, todo, plan.jobs)
            if isinstance(stop, KeyboardInterrupt):
                tally.say(report)
            if any(member.is_alive() for member in members):
                _leave(stop)
            raise
    for member in members:
        member.join()
    tally.say(report)
    return 1 if tally.failed else 0


def _outcome(
    job: Job, work: Work, progress: Progress | None, report: Reporter
) -> tuple[int, int] | None:
    """Does a job: bytes read and written, None if it failed; raises what ends all."""
    try:
        if job.problem:
            raise InputError(job.problem)
        return work(job, progress)
    except (BrokenPipeError, StdoutError):
        raise
    # One damaged file, whatever it breaks, must not cost the others.
    except Exception as error:
        report.error("stdin" if job.source == STREAM else job.source, error)
        return None


def _stop(
    members: list[threading.Thread], todo: queue.SimpleQueue, jobs: list[Job]
) -> None:
    """Gives up what is not begun, waits a moment for the rest, and removes that."""
    while not todo.empty():
        try:
            todo.get_nowait()
        except queue.Empty:
            break
    until = time.monotonic() + _GRACE
    for member in members:
        member.join(max(0.0, until - time.monotonic()))
    for job in jobs:
        discard(job)


def _leave(stop: BaseException) -> None:
    """Ends the process at once: threads that compile or compute cannot be ended."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    interrupted = isinstance(stop, KeyboardInterrupt)
    os._exit(128 + getattr(stop, "signal", 2) if interrupted else 1)
