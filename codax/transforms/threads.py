"""Work in several threads: as many as there are processors for this process. No JAX."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["processors", "side_by_side"]


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """What a function gives for each item, found in several threads.

    For what computes outside Python's lock, as NumPy does with large arrays.

    Args:
        function: of one item.
        items: in turn.
    """
    threads = min(processors(), len(items))
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
