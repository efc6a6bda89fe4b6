"""Several hosts that train one run: how they meet, and what they agree on.

Each host runs the same program. Decisions follow from what all of them know: the
clock of the first, which alone writes, and signals that came to any.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from codax.errors import CodaxError, ConfigError
from codax.train.meeting import roll_call
from codax.train.record import package_versions

__all__ = ["HostLost", "Hosts", "check_alone", "code_hash", "join"]

HEARTBEAT_SECONDS = 60
"""A host that is silent for so long is lost, and JAX ends the others."""
MEETING_SECONDS = 300
"""How long hosts wait for each other when they start."""
MESSAGE = 1000
"""Bytes of an error that other hosts hear of."""
MICRO = 1_000_000
BROKEN = ("UNKNOWN:", "UNAVAILABLE:", "INTERNAL:", "ABORTED:", "DEADLINE_EXCEEDED:")
"""How errors of JAX begin when what was computed over hosts broke off."""


class HostLost(CodaxError):
    """Another host ended, or cannot be reached."""


@dataclass(frozen=True)
class Hosts:
    """The processes that train a run together; the default is one alone.

    Attributes:
        rank: of this process, 0 to count - 1.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes the run's folder and speaks for all."""
        return self.rank == 0

    def devices(self) -> list[jax.Device]:
        """Those of all hosts, each host's side by side."""
        if self.count == 1:
            return jax.local_devices()
        return sorted(jax.devices(), key=lambda d: (d.process_index, d.id))

    def tick(self, signal: int = 0) -> tuple[float, int]:
        """What time it is for all; every host has to ask.

        Args:
            signal: number of one that this host was sent, or 0.

        Returns:
            The first host's clock in seconds, and a signal that came to any, or 0.
        """
        now = time.monotonic()
        if self.count == 1:
            return now, signal
        whole = int(now)
        own = np.array([whole, round((now - whole) * MICRO), signal], np.int32)
        found = self._gather(own)
        return found[0, 0] + found[0, 1] / MICRO, int(found[:, 2].max())

    def equal(self, tree: Any) -> Any:
        """Arrays as the first host has them, NumPy's; every host has to ask.

        Networks fitted by another kind of processor differ in their last bits.

        Args:
            tree: arrays, of the same shapes on every host.
        """
        if self.count == 1:
            return tree
        with self.watched():
            own = jax.tree.map(np.asarray, tree)
            return multihost_utils.broadcast_one_to_all(own)

    def _gather(self, row: np.ndarray) -> np.ndarray:
        """The rows of all hosts, by rank."""
        with self.watched():
            return multihost_utils.process_allgather(row)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around what may be refused: all hosts go on, or none.

        Raises:
            CodaxError: another host refused; says which one, and why.
        """
        if self.count == 1:
            yield
            return
        said, failed = b"", None
        try:
            yield
        except Exception as error:
            failed, said = error, str(error).encode()[:MESSAGE]
            said = said or type(error).__name__.encode()
        row = np.zeros(MESSAGE, np.uint8)
        row[: len(said)] = np.frombuffer(said, np.uint8)
        found = self._gather(row)
        if failed:
            raise failed
        for rank, message in enumerate(found):
            if message.any():
                text = message.tobytes().rstrip(b"\0").decode(errors="replace")
                raise CodaxError(f"host {rank}: {text}")

    def check_equal(self, facts: Mapping[str, str]) -> None:
        """Compares what all hosts have to have alike.

        Args:
            facts: by what they are, in words, hashes in hexadecimal digits.

        Raises:
            ConfigError: hosts differ; says in what.
        """
        if self.count == 1:
            return
        own = np.array([list(bytes.fromhex(h)[:16]) for h in facts.values()], np.uint8)
        found = self._gather(own)
        for i, what in enumerate(facts):
            others = [
                r for r in range(self.count) if (found[r, i] != found[0, i]).any()
            ]
            if others:
                raise ConfigError(
                    f"host {others[0]} has other {what} than host 0; give all hosts "
                    "the same"
                )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around work that all hosts do together.

        Raises:
            HostLost: another host is gone. The process had better end at once
                (`os._exit`): JAX would wait a minute for the other, and abort.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:
            # NumPy turns an array that could not be computed into a ValueError.
            if self.count == 1 or not str(error).startswith(BROKEN):
                raise
            text = " ".join(str(error).split())[:200]
            raise HostLost(
                f"host {self.rank} of {self.count} lost another one, or the network: "
                f"{text}; start all again with `resume=True`"
            ) from error


def join(
    coordinator: str | None = None, rank: int | None = None, ranks: int | None = None
) -> Hosts:
    """Meets the other hosts; before anything is computed.

    Args:
        coordinator: `HOST:PORT` of the host of rank 0, at a port that is free there.
        rank: of this host.
        ranks: how many there are. Without these three JAX finds out by itself, under
            Slurm, Open MPI, Kubernetes and on TPU pods.

    Returns:
        All of them.

    Raises:
        ConfigError: numbers that do not add up, or hosts that do not meet.
    """
    given = {"coordinator": coordinator, "rank": rank, "ranks": ranks}
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise ConfigError(
            f"{missing[0]} is missing; give coordinator, rank and ranks, or none"
        )
    if ranks is not None and ranks < 1:
        raise ConfigError(f"ranks: got {ranks}, expected 1 or more")
    if rank is not None and ranks is not None and not 0 <= rank < ranks:
        raise ConfigError(f"rank: got {rank} of {ranks}, expected 0 to {ranks - 1}")
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"coordinator: got {coordinator!r}, expected HOST:PORT with a port of "
                "1 to 65535"
            )
    if coordinator is not None and rank is not None and ranks is not None:
        roll_call(coordinator, rank, ranks, MEETING_SECONDS)
    try:
        jax.distributed.initialize(
            coordinator,
            ranks,
            rank,
            initialization_timeout=MEETING_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"JAX does not find out which hosts there are ({error}); give "
            "coordinator, rank and ranks"
        ) from error
    except RuntimeError as error:
        text = " ".join(str(error).split())[:200]
        raise ConfigError(f"the hosts do not meet: {text}") from error
    return Hosts(jax.process_index(), jax.process_count())


def check_alone(hosts: Hosts) -> None:
    """Refuses processes that know of each other while the run does not.

    Raises:
        ConfigError: JAX counts other processes than `hosts` does.
    """
    if jax.process_count() != hosts.count:
        raise ConfigError(
            f"this is process {jax.process_index()} of {jax.process_count()}, and the "
            f"run is for {hosts.count}; train over all with `distributed=True`"
        )
    if jax.device_count() != hosts.count * jax.local_device_count():
        raise ConfigError(
            f"{jax.local_device_count()} devices here of {jax.device_count()} on "
            f"{hosts.count} hosts, expected as many on each"
        )


def code_hash() -> str:
    """SHA-256 of codax's own files, and of the versions of what computes."""
    folder = Path(__file__).parents[1]
    digest = hashlib.sha256(repr(sorted(package_versions().items())).encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
