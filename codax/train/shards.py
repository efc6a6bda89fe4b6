"""Pictures packed into larger files: tar shards (webdataset) and ArrayRecords.

Of a tar the places of its pictures are listed once. The list lies beside it, as
`NAME.tar.index.npz`, or in the cache where that cannot be written. The records of an
ArrayRecord are files of pictures, byte by byte; the format lists its records itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codax.errors import ConfigError, needs_extra
from codax.files.folders import PICTURES, ending
from codax.files.writing import writing

__all__ = ["Packed", "is_shard", "packed_pictures"]

INDEX = ".index.npz"
_RECORDS = re.compile(r"\.array_?record(-\d+-of-\d+)?$")
"""Endings of ArrayRecords, those of TensorFlow Datasets among them."""


@dataclass(frozen=True, order=True, slots=True)
class Packed:
    """A picture in a larger file; what is asked of paths can be asked of it.

    Attributes:
        file: the larger file.
        place: of a tar's the byte at which it begins, of a record's its number.
        size: bytes; -1 for a record.
        name: within the file.
    """

    file: str
    place: int
    size: int
    name: str

    def read_bytes(self) -> bytes:
        """The picture's own file.

        Raises:
            OSError: the larger file is gone, or shorter than it was.
        """
        if self.size < 0:
            return _records(self.file)[self.place]
        with open(self.file, "rb") as file:
            file.seek(self.place)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"{self}: {len(data)} of {self.size} bytes")
        return data

    def digest(self) -> bytes:
        """SHA-256 of where it is: shard, name, size. Bytes of millions are not read."""
        said = f"{os.path.basename(self.file)}\0{self.name}\0{self.size}"
        return hashlib.sha256(said.encode("utf-8", "surrogateescape")).digest()

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def is_shard(path: Path) -> bool:
    """Whether a file's name is that of a tar or of an ArrayRecord."""
    return ending(path) == ".tar" or _RECORDS.search(path.name) is not None


def packed_pictures(path: Path, cache: Path | None = None) -> list[Packed]:
    """Lists the pictures of a tar by the endings of their names, or all records.

    Args:
        path: of the shard.
        cache: folder for the list of a tar beside which nothing can be written.

    Raises:
        ConfigError: no tar or ArrayRecord, or a damaged one.
        UnsupportedError: an ArrayRecord without the extra `codax[data]`.
    """
    if ending(path) == ".tar":
        names, places, sizes = _tar_index(path, cache)
        rows = zip(names.tolist(), places.tolist(), sizes.tolist(), strict=True)
        return [Packed(str(path), place, size, name) for name, place, size in rows]
    try:
        count = len(_records(str(path)))
    except (RuntimeError, ValueError, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: no readable ArrayRecord: {text}") from error
    return [Packed(str(path), i, -1, f"record {i}") for i in range(count)]


@functools.lru_cache(maxsize=256)
def _records(file: str) -> Any:
    """The reader of an ArrayRecord, open as long as it is in use."""
    with needs_extra("ArrayRecord"):
        from grain.sources import ArrayRecordDataSource
    return ArrayRecordDataSource([file])


def _tar_index(path: Path, cache: Path | None) -> Sequence[np.ndarray]:
    """Names, first bytes and sizes of the pictures in a tar."""
    state = path.stat()
    stamp = np.array([state.st_size, state.st_mtime_ns])
    key = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    places = [path.with_name(path.name + INDEX)]
    places += [cache / f"{key}{INDEX}"] if cache else []
    for place in places:
        with contextlib.suppress(Exception):  # damaged, or of no zip: made again
            with np.load(place, allow_pickle=False) as stored:
                if np.array_equal(stored["stamp"], stamp):
                    return tuple(stored[name] for name in ("names", "places", "sizes"))
    found = _scan(path)
    for place in places:
        with contextlib.suppress(OSError):
            with writing(place) as file:
                names, starts, sizes = found
                np.savez_compressed(
                    file, stamp=stamp, names=names, places=starts, sizes=sizes
                )
            break
    return found


def _scan(path: Path) -> Sequence[np.ndarray]:
    """Reads the headers of a tar's members."""
    names, places, sizes = [], [], []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isreg() and ending(member.name) in PICTURES:
                    names.append(member.name)
                    places.append(member.offset_data)
                    sizes.append(member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ConfigError(f"{path}: no readable tar: {error}") from error
    columns = (np.array(names, np.str_), np.array(places, np.int64))
    return (*columns, np.array(sizes, np.int64))
