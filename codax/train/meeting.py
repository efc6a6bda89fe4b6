"""The roll call of hosts, before JAX's own, which aborts where ranks do not fit.

The host of rank 0 listens at the coordinator's port, the others say who they are, and
hear either `ok` or what is wrong. Then the port is JAX's.
"""

from __future__ import annotations

import contextlib
import socket
import time

from codax.errors import ConfigError

__all__ = ["roll_call"]

_WORD = b"codax"
_MOST = 500  # bytes of a message
_PAUSE = 0.5  # seconds between two tries to reach the host of rank 0


def roll_call(coordinator: str, rank: int, ranks: int, seconds: float) -> None:
    """Waits until every rank is there once.

    Args:
        coordinator: `HOST:PORT` of the host of rank 0.
        rank: of this host.
        ranks: how many there are.
        seconds: how long to wait.

    Raises:
        ConfigError: a rank is there twice or never, hosts count differently, or the
            port is not free.
    """
    host, _, port = coordinator.rpartition(":")
    end = time.monotonic() + seconds
    if rank == 0:
        _call(int(port), ranks, end)
    else:
        _answer(host.strip("[]"), int(port), rank, ranks, end)


def _call(port: int, ranks: int, end: float) -> None:
    """Hears the others, and tells all of them what came of it."""
    here: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(socket.create_server(("", port)))
        except OSError as error:
            raise ConfigError(
                f"coordinator: port {port}: {error.strerror}; give one that is free "
                "here, and rank 0 to one host"
            ) from error
        wrong = ""
        while len(here) < ranks - 1 and not wrong:
            server.settimeout(max(0.01, end - time.monotonic()))
            try:
                other, _ = server.accept()
            except TimeoutError:
                missing = sorted(set(range(1, ranks)) - here.keys())
                wrong = f"ranks: of {ranks} hosts these did not come: {missing}"
                break
            stack.enter_context(other)
            said = _heard(other).split()
            if len(said) != 3 or said[0] != _WORD:
                continue  # whoever else knocks at ports
            rank, theirs = int(said[1]), int(said[2])
            if theirs != ranks:
                wrong = f"ranks: rank {rank} counts {theirs} hosts, rank 0 {ranks}"
            elif rank in here or not 0 < rank < ranks:
                wrong = f"rank: two hosts say that they are {rank}"
            here[-1 if wrong else rank] = other
        for other in here.values():
            with contextlib.suppress(OSError):
                other.sendall(wrong.encode() or b"ok")
                # Who closes first keeps the port for a while: not this host.
                other.recv(1)
    if wrong:
        raise ConfigError(f"{wrong}; give each host its own rank, and all one `ranks`")


def _answer(host: str, port: int, rank: int, ranks: int, end: float) -> None:
    """Says who this host is, and hears whether all is well."""
    while True:
        try:
            with socket.create_connection((host, port), timeout=5) as server:
                server.sendall(b"%s %d %d" % (_WORD, rank, ranks))
                server.settimeout(max(1.0, end - time.monotonic() + 5))
                said = _heard(server).decode(errors="replace")
            if said:
                break
        except OSError as error:
            reason: object = error.strerror or error
        else:
            reason = "no answer"
        if time.monotonic() > end:
            raise ConfigError(
                f"coordinator: nobody meets at {host}:{port} ({reason}); start rank 0 "
                "there"
            )
        time.sleep(_PAUSE)
    if said != "ok":
        raise ConfigError(f"{said}; give each host its own rank, and all one `ranks`")


def _heard(other: socket.socket) -> bytes:
    """What the other side says in one piece; nothing if it goes away."""
    try:
        return other.recv(_MOST)
    except OSError:
        return b""
