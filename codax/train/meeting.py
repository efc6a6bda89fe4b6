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

_WORD, _WELL = b"codax", b"codax ok"
_MOST = 500  # bytes of a message
_GRACE = 5.0  # seconds for hosts that come after something is wrong
_PAUSE = 0.5  # seconds between two tries to reach the host of rank 0
_SILENT = 2.0  # seconds that whoever knocks may say nothing


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
    others: list[socket.socket] = []
    known, wrong = {0}, ""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(socket.create_server(("", port)))
        except OSError as error:
            raise ConfigError(
                f"coordinator: port {port}: {error.strerror}; give one that is free "
                "here, and rank 0 to one host"
            ) from error
        while len(others) < ranks - 1:
            server.settimeout(max(0.01, end - time.monotonic()))
            try:
                other, _ = server.accept()
            except TimeoutError:
                missing = sorted(set(range(ranks)) - known)
                wrong = wrong or f"ranks: of {ranks} these did not come: {missing}"
                break
            stack.enter_context(other)
            other.settimeout(_SILENT)
            said = _heard(other).split()
            if said[:1] != [_WORD] or [w.isdigit() for w in said[1:]] != [True, True]:
                continue  # whoever else knocks at ports
            others.append(other)
            rank, theirs = int(said[1]), int(said[2])
            if theirs != ranks:
                wrong = f"ranks: rank {rank} counts {theirs} hosts, rank 0 {ranks}"
            elif rank in known:
                wrong = f"rank: two hosts say that they are {rank}"
            known.add(rank)
            if wrong:  # Those that come a little later shall hear it, too.
                end = min(end, time.monotonic() + _GRACE)
        for other in others:
            with contextlib.suppress(OSError):
                other.sendall(b"%s %s" % (_WORD, wrong.encode()) if wrong else _WELL)
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
                said = _heard(server)
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
    if not said.startswith(_WORD):
        raise ConfigError(
            f"coordinator: what answers at {host}:{port} is no codax; give a port that "
            "is free there"
        )
    if said != _WELL:
        wrong = said.removeprefix(_WORD).decode(errors="replace").strip()
        raise ConfigError(f"{wrong}; give each host its own rank, and all one `ranks`")


def _heard(other: socket.socket) -> bytes:
    """What the other side says in one piece; nothing if it goes away."""
    try:
        return other.recv(_MOST)
    except OSError:
        return b""
