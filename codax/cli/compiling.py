"""Whether JAX is compiling just now, so that a wait can be named."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

__all__ = ["Compilations"]

_EVENT = "/jax/core/compile/backend_compile_duration"
_LEAST = 0.5  # seconds; programs that the cache on disk has are there sooner


class Compilations:
    """Listens to JAX, once it is loaded; loads nothing itself.

    Each compilation is announced as a scalar when it begins and as a duration when it
    ends, both under one name and by the thread that does it.
    """

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}
        self._jax: Any = None

    def listen(self) -> None:
        """Begins, if JAX is loaded and does not know this listener."""
        found: Any = sys.modules.get("jax.monitoring")
        # Versions before 0.8 announce no beginning; then nothing is ever said.
        if self._jax or not hasattr(found, "unregister_scalar_listener"):
            return
        self._jax = found
        found.register_scalar_listener(self._begins)
        found.register_event_duration_secs_listener(self._ends)

    def stop(self) -> None:
        """Ends."""
        if self._jax:
            self._jax.unregister_scalar_listener(self._begins)
            self._jax.unregister_event_duration_listener(self._ends)
            self._jax = None

    def running(self) -> bool:
        """Whether a program is being compiled, and for a while already."""
        now = time.monotonic()
        return any(now - begun > _LEAST for begun in list(self._begun.values()))

    def _begins(self, event: str, value: float, **about: object) -> None:
        if event == _EVENT:
            self._begun[threading.get_ident()] = time.monotonic()

    def _ends(self, event: str, seconds: float, **about: object) -> None:
        if event == _EVENT:
            self._begun.pop(threading.get_ident(), None)
