"""What of long work is done, told from where it is done. No JAX.

Tiles, steps and trials of a search lie layers below whoever wants to know, and what is
in between need not hand a callback on. The listener is a context variable: each thread
has its own, so that pictures side by side do not mix.

Example:
    >>> told = []
    >>> with listening(told.append), part(0.5, 1.0):
    ...     tell(0.5)
    >>> told
    [0.75, 1.0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Progress", "listening", "part", "tell"]

Progress = Callable[[float], None]
"""Is told, from 0 to 1, what is done."""
_LISTENER: ContextVar[Progress | None] = ContextVar("_LISTENER", default=None)


@contextmanager
def listening(progress: Progress | None) -> Iterator[None]:
    """Lets `progress` be told what is done within; None leaves who listens already."""
    mark = _LISTENER.set(progress or _LISTENER.get())
    try:
        yield
    finally:
        _LISTENER.reset(mark)


@contextmanager
def part(low: float, high: float) -> Iterator[None]:
    """What is told within, from 0 to 1, is `low` to `high` of what is around it."""
    around = _LISTENER.get()
    if around is None:
        yield
        return
    with listening(lambda share: around(low + (high - low) * share)):
        yield
    around(high)


def tell(share: float) -> None:
    """Says what is done, 0 to 1."""
    if (listener := _LISTENER.get()) is not None:
        listener(share)
