"""Processes that are forked from one that has used JAX: refused, for they hang.

JAX runs threads, and a forked process has only the one that forked. The others are
gone, with whatever they had locked.
"""

from __future__ import annotations

import functools
import os

from codax.errors import UnsupportedError

__all__ = ["check_fork"]


@functools.cache
def _owner() -> int:
    """The first process that asks; its children inherit the answer."""
    return os.getpid()


def check_fork() -> None:
    """Comes before networks are made or run.

    Raises:
        UnsupportedError: they were in the process that this one was forked from.
    """
    if _owner() != os.getpid():
        raise UnsupportedError(
            "this process was forked from one in which codax had used JAX, and would "
            "hang; start workers by `spawn` or `forkserver`, or before any picture"
        )
