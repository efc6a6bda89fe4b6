"""Packages that evaluation needs beside those of codax itself, asked for before work.

They are the extra `evaluation` of codax's own package. Nothing is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from codax.errors import UnsupportedError

__all__ = ["INSTALL", "NEEDED", "REPORT", "require"]

INSTALL = "pip install 'codax[evaluation]'"
REPORT = ("bjontegaard", "matplotlib")
"""What every report needs."""
NEEDED = {"jxl": "imagecodecs", "ssimulacra2": "ssimulacra2"}
"""By codec or metric, what it needs."""


def require(packages: Iterable[str], what: str) -> None:
    """Checks that packages are installed.

    Args:
        packages: by the names that they are imported by.
        what: needs them, such as `codax evaluate`.

    Raises:
        UnsupportedError: one or several are not; all of them are named.
    """
    missing = [name for name in dict.fromkeys(packages) if not _is_there(name)]
    if missing:
        names = " and ".join(missing)
        raise UnsupportedError(
            f"{what} needs {names}, which {'is' if len(missing) == 1 else 'are'} not "
            f"installed; {INSTALL}"
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False
