"""Jobs in processes of their own, for `-j`: threads would share Python's lock.

Small pictures hold it for two thirds of their time (measured), so that threads gain
little. A process loads JAX and the weights once, which takes seconds, and has cores of
its own. What it says comes back through its pipe; the parent prints.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

from codax.cli.common import load_codec_file
from codax.cli.outputs import InputError, discard
from codax.cli.plan import Job
from codax.cli.reporting import Reporter

__all__ = ["Crew"]

_GRACE = 1.0  # seconds that a process has to clean up

Outcome = tuple[int, int] | None
Do = Callable[[Job, Reporter], Outcome]
"""Does a job and reports its result; must be picklable."""


class _Relay(Reporter):
    """Says everything through a pipe."""

    def __init__(self, args: argparse.Namespace, pipe: Connection):
        super().__init__(args)
        self._pipe = pipe

    def say(self, text: str) -> None:
        self._pipe.send(("say", text))

    def data(self, text: str) -> None:
        self._pipe.send(("data", text))


@dataclass
class _Member:
    """A process, its pipe, and the job that it has."""

    process: Any
    pipe: Connection
    job: Job | None = None


class Crew:
    """Processes that do jobs."""

    def __init__(self, size: int, do: Do, args: argparse.Namespace, report: Reporter):
        """Starts nothing yet.

        Args:
            size: jobs at a time, 2 or more.
            do: does one.
            args: of the command.
            report: prints what they say.
        """
        self._size, self._do, self._args, self._report = size, do, args, report
        self._members: list[_Member] = []

    def outcomes(self, jobs: list[Job]) -> Iterator[Outcome]:
        """Does jobs in any order; yields what came of each."""
        todo = list(reversed(jobs))
        for number in range(min(self._size, len(jobs))):
            self._hire(number, todo.pop())
        while self._members:
            ready = wait([member.pipe for member in self._members])
            for member in [m for m in self._members if m.pipe in ready]:
                try:
                    kind, value = member.pipe.recv()
                except (EOFError, OSError):
                    yield self._lost(member, todo)
                    continue
                if kind == "done":
                    self._next(member, todo)
                    yield value
                elif kind == "data":
                    self._report.data(value)
                else:
                    self._report.say(value)

    def stop(self) -> None:
        """Ends all of them; they have a moment to remove what is unfinished."""
        for member in self._members:
            member.process.terminate()
        for member in self._members:
            member.process.join(_GRACE)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            _remove_temporary(member.job)
        self._members.clear()

    def _hire(self, number: int, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve,
            args=(theirs, self._do, self._args, number, self._size),
            daemon=True,
        )
        # Ctrl-C goes to all processes of a terminal; the parent decides what ends.
        resource_tracker.ensure_running()  # It would take the mask off again.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._members.append(_Member(process, ours))
        self._give(self._members[-1], job)

    def _next(self, member: _Member, todo: list[Job]) -> None:
        self._give(member, todo.pop() if todo else None)
        if member.job is None:
            self._members.remove(member)
            member.process.join()

    def _give(self, member: _Member, job: Job | None) -> None:
        member.job = job
        # If it is dead, its end of the pipe will say so.
        with contextlib.suppress(OSError):
            member.pipe.send(job)

    def _lost(self, member: _Member, todo: list[Job]) -> Outcome:
        """A process died, as by lack of memory: its job failed, another goes on."""
        member.process.join()
        self._members.remove(member)
        _remove_temporary(member.job)
        error = InputError(
            f"the process that had it died (exit status {member.process.exitcode}), "
            "perhaps for lack of memory; try a smaller -j"
        )
        self._report.error(member.job.source if member.job else "", error)
        if todo:
            self._hire(len(self._members), todo.pop())
        return None


def _remove_temporary(job: Job | None) -> None:
    if job is not None:
        folder = os.path.dirname(os.path.realpath(job.target))
        path = os.path.join(folder, job.temporary)
        if os.path.exists(path):
            os.unlink(path)


def _serve(
    pipe: Connection, do: Do, args: argparse.Namespace, number: int, size: int
) -> None:
    """What a process does: jobs until there are none."""
    if hasattr(os, "sched_setaffinity"):
        own = sorted(os.sched_getaffinity(0))[number % size :: size]
        if own:
            os.sched_setaffinity(0, own)
    # Else the first process would take the memory of a GPU for itself.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    unfinished: list[Job] = []

    def end(sign: int, frame: FrameType | None) -> None:
        # No exception, which JAX's own code may not let through.
        for job in unfinished:
            discard(job)
        os._exit(128 + sign)

    signal.signal(signal.SIGTERM, end)
    load_codec_file(args)
    report = _Relay(args, pipe)
    with contextlib.suppress(EOFError, OSError):  # The parent is gone.
        while (job := pipe.recv()) is not None:
            unfinished[:] = [job]
            pipe.send(("done", do(job, report)))
