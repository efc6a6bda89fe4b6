"""Files in folders: which are pictures, and what else lies there under their names."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PICTURES", "Found", "ending", "search", "user_base"]

PICTURES = frozenset(
    f".{name}"
    for name in (
        "apng avif bmp dib gif j2k jfif jp2 jpe jpeg jpg jpx pbm pcx pgm png pnm ppm "
        "qoi tga tif tiff webp"
    ).split()
)
"""Lower-case endings of the pictures that are taken in folders, by every command."""


@dataclass(frozen=True)
class Found:
    """What is in a folder.

    Attributes:
        files: paths, sorted.
        passed_over: a line for each thing that is named like a file of this kind, but
            is none.
    """

    files: list[Path]
    passed_over: list[str]


def user_base(variable: str, *otherwise: str) -> Path | None:
    """A user's folder by the XDG Base Directory Specification.

    Args:
        variable: of the environment, such as `XDG_CACHE_HOME`.
        otherwise: below the home folder where it is not set.

    Returns:
        The folder; None for a user without a home.
    """
    if base := os.environ.get(variable):
        return Path(base)
    try:
        return Path.home().joinpath(*otherwise)
    except RuntimeError:  # neither $HOME nor an entry among the users, as in containers
        return None


def ending(name: str | Path) -> str:
    """The ending of a name in lower case, such as `.png`; empty if it has none."""
    return os.path.splitext(name)[1].lower()


def search(folder: str | Path, endings: frozenset[str] = PICTURES) -> Found:
    """Lists the files of a folder and of those in it, but not behind links to folders.

    Args:
        folder: where.
        endings: of the files, in lower case.
    """
    files: list[Path] = []
    passed_over: list[str] = []
    named: list[Path] = []

    def unreadable(error: OSError) -> None:
        passed_over.append(f"{error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        named += [Path(place, n) for n in (*folders, *names) if ending(n) in endings]
    for path in sorted(named):
        try:
            kind = path.stat().st_mode
        except OSError as error:
            link = "a link to nothing" if path.is_symlink() else error.strerror
            passed_over.append(f"{path}: {link}")
            continue
        if stat.S_ISREG(kind):
            files.append(path)
        else:
            what = "a folder" if stat.S_ISDIR(kind) else "no file"
            passed_over.append(f"{path}: {what} with the name of a file")
    return Found(files, passed_over)
