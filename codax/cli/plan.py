"""Which file goes where."""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from codax.cli.common import UsageError
from codax.files.folders import PICTURES, ending, search

__all__ = [
    "STREAM",
    "Job",
    "Plan",
    "check_ending",
    "check_stdout",
    "last_as_output",
    "names_from",
]

STREAM = "-"
_FOREIGN = PICTURES | {".heic", ".heif", ".jxl", ".svg", ".pdf", ".eps", ".psd"}
"""Endings of other formats, under which no file of codax's would be opened."""


@dataclass(frozen=True)
class Job:
    """One file to make.

    Attributes:
        source: path of the input, or `-` for stdin.
        target: path of the output, or `-` for stdout.
        named: whether that name was given by `-o`, and not made here.
        problem: why the job cannot be done; empty where it can.
        temporary: name of the file while it is written, in the target's folder.
        made: what is there for this job alone until it is done: folders that it made,
            its temporary file.
    """

    source: str
    target: str
    named: bool = False
    problem: str = ""
    temporary: str = field(default_factory=lambda: f".codax-{secrets.token_hex(6)}.tmp")
    made: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What a command has to do.

    Attributes:
        jobs: one for each input.
        passed_over: what was found in folders and is not taken, in words.
    """

    jobs: list[Job]
    passed_over: list[str]

    @classmethod
    def of(
        cls,
        inputs: Sequence[str],
        output: str | None,
        *,
        suffix: str,
        endings: frozenset[str] = frozenset(),
        named: bool = True,
    ) -> Plan:
        """Decides the output of each input.

        Inputs whose outputs would have one name keep their own endings: `x.jpg` and
        `x.png` become `x.jpg.codax` and `x.png.codax`.

        Args:
            inputs: paths, folders if `endings` are given, or a single `-`.
            output: a file, a folder (if it is one, ends like one, or there are several
                inputs), `-`, or None for the input's own folder.
            suffix: of the outputs whose names are made here, such as `.codax`.
            endings: of the files that are taken in folders; none: folders are not
                searched.
            named: whether `output` is what a user has named with `-o`.

        Raises:
            UsageError: a combination that makes no sense.
        """
        found: list[tuple[str, str]] = []  # the input, and its name below the output
        passed_over: list[str] = []
        searched = False
        for name in dict.fromkeys(inputs):
            if name != STREAM and endings and os.path.isdir(name):
                inside = search(name, endings)
                if not inside.files:
                    raise UsageError(f"{name}: no files to take in this folder")
                found += [(str(p), os.path.relpath(p, name)) for p in inside.files]
                passed_over += inside.passed_over
                searched = True
            else:
                found.append((name, os.path.basename(name)))
        many = len(found) > 1 or searched
        if STREAM in inputs and many:
            raise UsageError("- (stdin) must be the only input")
        if output == STREAM or (output is None and inputs[0] == STREAM):
            if many:
                raise UsageError("several inputs cannot go to - (stdout)")
            check_stdout()
            return cls([Job(inputs[0], STREAM)], passed_over)
        if output is None:
            targets = _targets([source for source, _ in found], suffix)
        elif many or os.path.isdir(output) or output.endswith(os.sep):
            if inputs[0] == STREAM:
                raise UsageError(f"{output}: stdin needs a file name for its output")
            below = _targets([name for _, name in found], suffix)
            targets = [os.path.join(output, name) for name in below]
        else:
            targets = [output]
        taken: dict[str, str] = {}
        jobs = [
            _checked(Job(source, target, named and target == output), taken)
            for (source, _), target in zip(found, targets, strict=True)
        ]
        if not many and jobs[0].problem and os.path.lexists(inputs[0]):
            raise UsageError(f"{inputs[0]}: {jobs[0].problem}")
        return cls(jobs, passed_over)

    def shard(self, part: tuple[int, int]) -> Plan:
        """Every Nth job, from the Ith on; names are those of the whole."""
        number, count = part
        return Plan(self.jobs[number - 1 :: count], self.passed_over)

    def check_json(self, json: bool) -> None:
        """Refuses JSON beside a file on stdout.

        Raises:
            UsageError: both would go there.
        """
        if json and any(job.target == STREAM for job in self.jobs):
            raise UsageError("--json and -o - would both write to stdout")


def _targets(names: Sequence[str], suffix: str) -> list[str]:
    """Names with another ending; with their own one too where two would be equal."""
    short = [os.path.splitext(name)[0] + suffix for name in names]
    # An input with the ending of outputs is none of its own.
    pairs = zip(names, short, strict=True)
    short = [name + suffix if name == own else own for name, own in pairs]
    targets = list(short)
    while True:
        count = Counter(targets)
        clash = [
            i for i, name in enumerate(targets) if count[name] > 1 and name == short[i]
        ]
        whole = [i for i in clash if names[i] + suffix != short[i]]
        if not whole:
            return targets
        for i in whole:
            targets[i] = names[i] + suffix


def _checked(job: Job, taken: dict[str, str]) -> Job:
    """The job, with what is wrong of it; `taken` has inputs by the outputs so far."""
    problem = ""
    missing = job.source != STREAM and not os.path.lexists(job.source)
    if missing and not ending(job.source):
        # As `cp` has it, where the last name may be a folder to write into.
        problem = "No such file or directory; an output folder is named with -o"
    elif job.target in taken:
        problem = f"{taken[job.target]} is written to {job.target} already; use -o"
    elif _same(job.source, job.target):
        problem = "input and output are the same file; name another output with -o"
    taken.setdefault(job.target, job.source)
    return Job(job.source, job.target, job.named, problem) if problem else job


def _same(source: str, target: str) -> bool:
    return source != STREAM and os.path.realpath(source) == os.path.realpath(target)


def last_as_output(
    inputs: list[str],
    output: str | None,
    endings: frozenset[str],
    listed: str | None = None,
) -> tuple[list[str], str | None]:
    """Takes the second of two names as the output, as cjxl and avifenc do.

    Args:
        inputs: the names.
        output: of `-o`.
        endings: of outputs.
        listed: a file of more names, see `names_from`.

    Returns:
        Inputs and output.

    Raises:
        UsageError: there is no input.
    """
    if listed is not None:
        return [*inputs, *names_from(listed)], output
    if not inputs:
        raise UsageError("no input; name one, or a list of them by --files-from FILE")
    if output is None and len(inputs) == 2 and ending(inputs[1]) in endings:
        return inputs[:1], inputs[1]
    return inputs, output


def names_from(source: str | None) -> list[str]:
    """The names in a file, one a line.

    Args:
        source: its path, `-` for stdin, None for no names.

    Raises:
        UsageError: it cannot be read, or has no names.
    """
    if source is None:
        return []
    try:
        if source == STREAM:
            data = sys.stdin.buffer.read()
        else:
            with open(source, "rb") as file:
                data = file.read()
    except OSError as error:
        raise UsageError(f"--files-from {source}: {error.strerror}") from error
    names = [os.fsdecode(line) for line in data.splitlines() if line]
    if not names:
        raise UsageError(f"--files-from {source}: no names in it")
    return names


def check_ending(target: str | None, own: str) -> None:
    """Refuses a name that says another format.

    Args:
        target: of an output.
        own: the ending of what is written.

    Raises:
        UsageError: the name ends as files of another format do.
    """
    found = ending(target or "")
    if found != own and found in _FOREIGN | {".codax"}:
        stem = os.path.splitext(target or "")[0]
        raise UsageError(
            f"{target}: what is written is {own[1:]}, not {found[1:]}; "
            f"name it {stem}{own}"
        )


def check_stdout() -> None:
    """Keeps binary data off a terminal."""
    if sys.stdout.isatty():
        raise UsageError("binary output to a terminal; redirect it, or use -o FILE")
