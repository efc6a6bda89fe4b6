"""Work of several threads whose calls become one call for all of them. No JAX.

Each picture walks the coding order by itself, in a thread; a network is called when
all of them wait for one. So pictures run in batches on an accelerator, and nothing of
the order is written twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

__all__ = ["call_together", "gathered"]

T = TypeVar("T")
Together = Callable[[list[Any]], Sequence[Any]]
"""Does calls together: their arguments to their results, in turn."""


def gathered(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Does jobs, each in a thread; returns their results in turn.

    Args:
        jobs: use `call_together`; must not raise.
    """
    crew, results = _Crew(len(jobs)), [None] * len(jobs)

    def work(place: int, job: Callable[[], Any]) -> None:
        _OWN.set(crew)
        try:
            results[place] = job()
        finally:
            crew.end()

    threads = [
        threading.Thread(target=work, args=entry, daemon=True)
        for entry in enumerate(jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results  # type: ignore[return-value]


def call_together(key: Hashable, together: Together, arguments: Any) -> Any:
    """The result of a call, done with those of the other jobs; alone outside of them.

    Args:
        key: equal for calls that can be done together.
        together: does those of a key.
        arguments: of this one.
    """
    crew = _OWN.get()
    if crew is None:
        return together([arguments])[0]
    return crew.call(key, _Call(arguments, together))


class _Crew:
    """Threads that wait for each other's calls."""

    def __init__(self, size: int):
        self._changed = threading.Condition()
        self._busy = size
        self._waiting: dict[Hashable, list[_Call]] = {}

    def call(self, key: Hashable, own: _Call) -> Any:
        """Waits until a call is done; returns its result, or raises."""
        with self._changed:
            self._waiting.setdefault(key, []).append(own)
            self._leave()
            self._changed.wait_for(lambda: own.done)
        if own.error is not None:
            raise own.error
        return own.result

    def end(self) -> None:
        """A thread has no more calls."""
        with self._changed:
            self._leave()

    def _leave(self) -> None:
        """A thread waits or ends; the last one does what all wait for."""
        self._busy -= 1
        if self._busy:
            return
        waiting, self._waiting = self._waiting, {}
        for calls in waiting.values():
            try:
                results = calls[0].together([call.arguments for call in calls])
                for call, result in zip(calls, results, strict=True):
                    call.result = result
            # Whatever went wrong, it is each waiting thread's to raise.
            except BaseException as error:
                for call in calls:
                    call.error = error
            for call in calls:
                call.done = True
            self._busy += len(calls)
        self._changed.notify_all()


class _Call:
    """A call that waits."""

    def __init__(self, arguments: Any, together: Together):
        self.arguments, self.together = arguments, together
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False


_OWN: ContextVar[_Crew | None] = ContextVar("_OWN", default=None)
"""The crew of a thread."""
