"""Ends that come from outside: SIGTERM and SIGHUP end a command as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Terminated", "terminated"]

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """A signal that asks the program to end.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.signal = number


@contextlib.contextmanager
def terminated() -> Iterator[None]:
    """Raises `Terminated` for such signals, so that what is unfinished is removed.

    Those that are ignored (as under `nohup`) or handled otherwise stay so. Only the
    main thread may set handlers; elsewhere nothing is changed.
    """
    own: list[int] = []
    if threading.current_thread() is threading.main_thread():
        own = [n for n in _NUMBERS if signal.getsignal(n) is signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    for number in own:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, signal.SIG_DFL)
