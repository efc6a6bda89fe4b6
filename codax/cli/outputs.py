"""Bytes in and out: inputs are read whole, outputs are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

from codax.cli.plan import STREAM, Job
from codax.errors import CodaxError
from codax.files.container import MAX_FILE

__all__ = ["InputError", "OutputError", "discard", "pending", "read_source"]


class InputError(CodaxError):
    """An input that cannot be taken."""


class OutputError(CodaxError):
    """An output that cannot or must not be written."""


def read_source(source: str) -> bytes:
    """Reads an input whole.

    Raises:
        OSError: it cannot be read.
        InputError: a folder, or larger than any file that codax takes.
    """
    if source == STREAM:
        data = sys.stdin.buffer.read(MAX_FILE + 1)
    else:
        try:
            with open(source, "rb") as file:
                data = file.read(MAX_FILE + 1)
        except IsADirectoryError as error:
            raise InputError(
                "Is a directory; encode and decode take what is in it with -r, and "
                "write into it with -o"
            ) from error
    if len(data) > MAX_FILE:
        raise InputError(f"larger than {MAX_FILE} bytes; that is the limit")
    return data


@contextlib.contextmanager
def pending(
    job: Job, *, force: bool, ours: Callable[[str], bool] = lambda path: True
) -> Iterator[BinaryIO]:
    """Opens an output that appears under its name only when the block ends well.

    The temporary file is made before the block runs, so that an output that cannot be
    written is known before anything is computed. Folders that are missing are made, and
    are gone again if the block fails.

    Args:
        job: says where the output goes.
        force: whether an existing file may be replaced.
        ours: whether a file at a path is one that may be, if the user has not named it.

    Raises:
        OutputError: the output exists, or its folder cannot be written to.
    """
    target = job.target
    if target == STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # A link is followed: the file behind it is replaced, not the link.
    path = os.path.realpath(target)
    if os.path.isdir(path):
        raise OutputError(f"output {target} is a folder")
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as device:  # such as /dev/null: no renaming over it.
            yield device
        return
    there = os.path.exists(path)
    if there and not force and (job.named or ours(path)):
        raise OutputError(f"output {target} exists; add -f to replace it")
    if there and not job.named and not ours(path):
        raise OutputError(
            f"output {target} is a picture that codax did not write, perhaps the "
            f"original; name another with -o, or replace it with -o {target} -f"
        )
    temporary = os.path.join(os.path.dirname(path), job.temporary)
    try:
        _make_folder(os.path.dirname(path), job.made)
        job.made.append(temporary)
        file = open(temporary, "xb")
    except OSError as error:
        discard(job)
        raise OutputError(
            f"output {target} cannot be written: {error.strerror}"
        ) from error
    try:
        with file:
            yield file
        os.replace(temporary, path)
        job.made.clear()
    except BaseException:
        discard(job)
        raise


def discard(job: Job) -> None:
    """Removes what an unfinished job has made."""
    for path in reversed(list(job.made)):
        # A folder may hold the outputs of other jobs by now.
        with contextlib.suppress(OSError):
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
    job.made.clear()


def _make_folder(folder: str, made: list[str]) -> None:
    """Makes a folder and those above it that are missing; notes each that was made."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for name in reversed(missing):
        try:
            os.mkdir(name)
        except FileExistsError:
            if not os.path.isdir(name):
                raise
        else:
            made.append(name)
