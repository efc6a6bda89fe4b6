"""Many jobs: one failure leaves the rest, an interruption leaves nothing unfinished."""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from codax.cli.crew import Crew, Do, Outcome
from codax.cli.outputs import InputError, discard
from codax.cli.plan import STREAM, Job, Plan
from codax.cli.reporting import Reporter, StdoutError
from codax.coding.telling import Progress

if TYPE_CHECKING:
    from codax.cli.runtime import CodecShelf

__all__ = ["WithCodecs", "run_jobs"]

_GRACE = 1.0  # seconds that jobs in progress have after an interruption

Work = Callable[[Job, Reporter, Progress | None], tuple[int, int]]
"""Does one job, reports its result and tells what of it is done: the bytes read, and
those written. Picklable, until it is first called."""


class WithCodecs:
    """Work with codecs, which are loaded when a job first needs one."""

    def __init__(self, args: argparse.Namespace):
        """Takes the arguments of a command with `add_work_flags`."""
        self._args = args

    @cached_property
    def _shelf(self) -> CodecShelf:
        from codax.cli.runtime import CodecShelf

        return CodecShelf(self._args.device, self._args.runtime)


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

    def add(self, outcome: Outcome) -> None:
        """Counts a job."""
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
    args: argparse.Namespace,
    *,
    report: Reporter,
    doing: str,
    at_a_time: int = 1,
    skip_existing: bool = False,
) -> int:
    """Does all jobs; a failure is reported and the rest goes on.

    Args:
        plan: the jobs.
        work: does one job and reports its result.
        args: of the command.
        report: where failures are said.
        doing: the word for a wait, such as `encoding`.
        at_a_time: jobs at a time; each of several has a process of its own.
        skip_existing: leave jobs whose outputs exist.

    Returns:
        The exit status: 0, or 1 if any job failed.
    """
    for words in plan.passed_over:
        report.note(f"passed over: {words}")
    tally = _Tally(len(plan.jobs))
    todo: list[Job] = []
    for job in plan.jobs:
        if skip_existing and job.target != STREAM and os.path.exists(job.target):
            tally.skipped += 1
            report.detail(f"{job.source}: {job.target} exists")
        else:
            todo.append(job)
    at_a_time = min(at_a_time, len(todo))
    with report.waiting(f"{doing} {len(todo)} files") as wait:
        several = at_a_time > 1
        crew: Crew | _Thread
        if several:
            do = partial(_outcome, work=work, progress=None)
            crew = Crew(at_a_time, do, args, report)
        else:
            do = partial(_outcome, work=work, progress=wait.progress)
            crew = _Thread(
                do,
                report,
                lambda number, job: wait.begin(
                    f"{doing} {number} of {len(todo)}: {job.source}"
                ),
            )
        try:
            for count, outcome in enumerate(crew.outcomes(todo), 1):
                tally.add(outcome)
                if several:
                    wait.begin(f"{doing} {len(todo)} files, {count} done")
        except BaseException as stop:
            crew.stop()
            if isinstance(stop, KeyboardInterrupt):
                tally.say(report)
            if isinstance(crew, _Thread) and crew.runs():
                _leave(stop)
            raise
    tally.say(report)
    return 1 if tally.failed else 0


class _Thread:
    """Does jobs one after another beside the main thread.

    That so hears of signals while a network is compiled or run.
    """

    def __init__(self, do: Do, report: Reporter, begins: Callable[[int, Job], None]):
        self._do, self._report, self._begins = do, report, begins
        self._stopped = threading.Event()
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._jobs: list[Job] = []

    def outcomes(self, jobs: list[Job]) -> Iterator[Outcome]:
        """Does jobs; yields what came of each, raises what ends all."""
        self._jobs = jobs
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        for _ in jobs:
            outcome = self._ended.get()
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
        self._thread.join()

    def _run(self) -> None:
        for number, job in enumerate(self._jobs, 1):
            if self._stopped.is_set():
                return
            self._begins(number, job)
            # Whatever goes wrong, the main thread waits for an outcome.
            try:
                self._ended.put(self._do(job, self._report))
            except BaseException as error:
                self._ended.put(error)
                return

    def stop(self) -> None:
        """Gives up what is not begun, waits a moment for the rest, and removes that."""
        self._stopped.set()
        self._thread.join(_GRACE)
        for job in self._jobs:
            discard(job)

    def runs(self) -> bool:
        """Whether it still does a job."""
        return self._thread.is_alive()


def _outcome(
    job: Job, report: Reporter, *, work: Work, progress: Progress | None
) -> Outcome:
    """Does a job: bytes read and written, None if it failed; raises what ends all."""
    try:
        if job.problem:
            raise InputError(job.problem)
        return work(job, report, progress)
    except (BrokenPipeError, StdoutError):
        raise
    # One damaged file, whatever it breaks, must not cost the others.
    except Exception as error:
        report.error(job.source, error)
        return None


def _leave(stop: BaseException) -> None:
    """Ends the process at once: a thread that compiles or computes cannot be ended."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    interrupted = isinstance(stop, KeyboardInterrupt)
    os._exit(128 + getattr(stop, "signal", 2) if interrupted else 1)
