"""What is kept between programs: weights as they are when xz has unpacked them.

To unpack ten megabytes takes half a second, most of what a program needs to begin.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
from pathlib import Path

from codax.files.folders import user_base
from codax.files.writing import writing

__all__ = ["cache_folder", "unpacked"]

WORTH = 1 << 18
"""Bytes of xz from which on the result is kept."""
DIGEST = 32
"""Bytes of the SHA-256 at the end of what is kept."""


def cache_folder() -> Path | None:
    """Returns the user's folder for what is kept; None for a user without a home."""
    base = user_base("XDG_CACHE_HOME", ".cache")
    return base and base / "codax"


def unpacked(data: bytes) -> bytes:
    """What xz packed, from the user's cache where it is there and whole.

    Args:
        data: of an xz file.

    Raises:
        lzma.LZMAError: it is none, or damaged.
    """
    folder = cache_folder()
    if folder is None or len(data) < WORTH:
        return lzma.decompress(data)
    path = folder / "weights" / hashlib.sha256(data).hexdigest()[:DIGEST]
    with contextlib.suppress(OSError):
        kept = path.read_bytes()
        if hashlib.sha256(kept[:-DIGEST]).digest() == kept[-DIGEST:]:
            return kept[:-DIGEST]
    plain = lzma.decompress(data)
    # A folder that cannot be written is no fault.
    with contextlib.suppress(OSError), writing(path) as file:
        file.write(plain + hashlib.sha256(plain).digest())
    return plain
