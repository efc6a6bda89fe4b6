"""The folder of a run: its files, and that only one process works in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from codax.errors import ConfigError

__all__ = ["RUN_FILES", "alone_in", "clear", "newest_state"]

LOCK = "lock"
STATES = ("branch.npz", "trunk.npz")
RUN_FILES = (
    *("log.jsonl", "watch.jsonl", "commands.txt", "data.json"),
    *("before.json", "environments.json", "config.json"),
    *("start.npz", *STATES, "weights.npz"),
)
"""What `clear` takes away."""


def newest_state(run: Path) -> Path | None:
    """The state that a run goes on from: of its branch, else of its trunk, if any."""
    found = (run / name for name in STATES)
    return next((path for path in found if path.is_file()), None)


def clear(run: Path) -> None:
    """Takes an older run away, and leaves what else lies in its folder."""
    for name in RUN_FILES:
        (run / name).unlink(missing_ok=True)


@contextlib.contextmanager
def alone_in(run: Path) -> Iterator[None]:
    """Keeps other processes of this machine and, over most file systems, others out.

    The folder is made when it is missing; nothing is left of it if nothing was written.

    Raises:
        ConfigError: another process trains there.
    """
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    run.mkdir(parents=True, exist_ok=True)
    path = run / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(handle, path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _lock(handle: int, path: Path) -> None:
    """Locks an open file; the kernel frees it when the process ends in any way."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Since we opened it another may have ended, and removed it.
        ours = path.exists() and os.path.samestat(os.fstat(handle), path.stat())
    except BlockingIOError:
        ours = False
    except OSError:
        return  # A file system without locks keeps nobody out.
    if not ours:
        raise ConfigError(
            f"{path.parent}: another process trains there; wait for its end, name "
            "another folder, or train over several processes with `distributed=True`"
        )
