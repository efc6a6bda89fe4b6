"""Which file goes where, and how it gets there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from codax.cli.common import Reporter, UsageError
from codax.errors import CodaxError
from codax.files.container import MAX_FILE

__all__ = ["Job", "OutputError", "pending", "plan", "read_source", "run_jobs"]

STREAM = "-"


class OutputError(CodaxError):
    """An output that cannot or must not be written."""


@dataclass(frozen=True)
class Job:
    """One file to make.

    Attributes:
        source: path of the input, or `-` for stdin.
        target: path of the output, or `-` for stdout.
        make_folder: whether the output's folder is made if it is missing.
    """

    source: str
    target: str
    make_folder: bool = False


def plan(
    inputs: Sequence[str],
    output: str | None,
    *,
    suffix: str,
    recursive: bool = False,
    suffixes: Sequence[str] = (),
) -> list[Job]:
    """Decides the output of each input.

    Args:
        inputs: paths, folders if `recursive`, or a single `-`.
        output: a file, a folder (if it is one, or there are several inputs), `-`, or
            None for the input's own folder.
        suffix: of the outputs whose names are made here, such as `.codax`.
        recursive: whether folders are searched.
        suffixes: lower-case endings of the files that a search takes.

    Raises:
        UsageError: a combination that makes no sense, or two inputs with one output.
    """
    found: list[tuple[Path, Path]] = []  # the input, and its name below the output
    for name in inputs:
        path = Path(name)
        if name != STREAM and recursive and path.is_dir():
            inside = [
                item
                for item in sorted(path.rglob("*"))
                if item.suffix.lower() in suffixes and item.is_file()
            ]
            if not inside:
                raise UsageError(f"{name}: no files to take in this folder")
            found += [(item, item.relative_to(path)) for item in inside]
        else:
            found.append((path, Path(path.name)))
    searched = recursive and any(Path(name).is_dir() for name in inputs)
    many = len(found) > 1 or searched
    if STREAM in inputs and many:
        raise UsageError("- (stdin) must be the only input")
    if output == STREAM or (output is None and inputs[0] == STREAM):
        if many:
            raise UsageError("several inputs cannot go to - (stdout)")
        _check_stdout()
        return [Job(inputs[0], STREAM)]
    if output is None:
        jobs = [Job(str(path), str(path.with_suffix(suffix))) for path, _ in found]
    elif many or os.path.isdir(output) or output.endswith(os.sep):
        if inputs[0] == STREAM:
            raise UsageError(f"{output}: stdin needs a file name for its output")
        folder = Path(output)
        jobs = [
            Job(str(path), str(folder / below.with_suffix(suffix)), True)
            for path, below in found
        ]
    else:
        jobs = [Job(inputs[0], output)]
    _check_targets(jobs)
    return jobs


def _check_stdout() -> None:
    """Keeps binary data off a terminal."""
    if sys.stdout.isatty():
        raise UsageError("binary output to a terminal; redirect it, or use -o FILE")


def _check_targets(jobs: Sequence[Job]) -> None:
    """Refuses two inputs with one output, and an output that is its own input."""
    sources: dict[str, str] = {}
    for job in jobs:
        if job.target in sources:
            raise UsageError(
                f"{sources[job.target]} and {job.source} would both be written to "
                f"{job.target}; use -o or encode them apart"
            )
        if os.path.realpath(job.source) == os.path.realpath(job.target):
            raise UsageError(
                f"{job.source}: input and output are the same file; name another "
                "output with -o"
            )
        sources[job.target] = job.source


def read_source(source: str) -> bytes:
    """Reads an input whole.

    Raises:
        OSError: it cannot be read.
        CodaxError: it is larger than any file that codax takes.
    """
    if source == STREAM:
        data = sys.stdin.buffer.read(MAX_FILE + 1)
    else:
        with open(source, "rb") as file:
            data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise CodaxError(f"larger than {MAX_FILE} bytes; that is the limit")
    return data


@contextlib.contextmanager
def pending(job: Job, *, force: bool) -> Iterator[BinaryIO]:
    """Opens an output that appears under its name only when the block ends well.

    The temporary file is made before the block runs, so that an output that cannot be
    written is known before anything is computed.

    Args:
        job: says where the output goes.
        force: whether an existing file may be replaced.

    Raises:
        OutputError: the output exists, or its folder cannot be written to.
    """
    target = job.target
    if target == STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # A link is followed: the file behind it is replaced, not the link.
    path = Path(os.path.realpath(target))
    if path.is_dir():
        raise OutputError(f"output {target} is a folder")
    if path.exists() and not path.is_file():
        with open(path, "wb") as device:  # such as /dev/null: no renaming over it.
            yield device
        return
    if path.exists() and not force:
        raise OutputError(f"output {target} exists; add -f to replace it")
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        if job.make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        file = open(temporary, "xb")
    except OSError as error:
        raise OutputError(
            f"output {target} cannot be written: {error.strerror}"
        ) from error
    try:
        with file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job], None],
    *,
    threads: int,
    report: Reporter,
    doing: str,
) -> int:
    """Does all jobs; a failure is reported and the rest goes on.

    Args:
        jobs: what `plan` returned.
        work: does one job and reports its result.
        threads: jobs at a time.
        report: where failures are said.
        doing: the word for a wait, such as `encoding`.

    Returns:
        The exit status: 0, or 1 if any job failed.
    """

    def guarded(job: Job) -> bool:
        try:
            work(job)
        except BrokenPipeError:
            raise
        # One damaged file, whatever it breaks, must not cost the others.
        except Exception as error:
            report.error("stdin" if job.source == STREAM else job.source, error)
            return False
        return True

    if threads > 1 and len(jobs) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with (
            report.waiting(f"{doing} {len(jobs)} files"),
            ThreadPoolExecutor(threads) as pool,
        ):
            return 0 if all(list(pool.map(guarded, jobs))) else 1
    done = True
    for number, job in enumerate(jobs, 1):
        first = " (the first of a size is compiled)" if number == 1 else ""
        with report.waiting(f"{doing} {number} of {len(jobs)}{first}: {job.source}"):
            done &= guarded(job)
    return 0 if done else 1
