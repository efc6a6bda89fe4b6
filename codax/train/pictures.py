"""The pictures of a run: files in folders, or packed into shards; which are held out.

Nothing here needs JAX: worker processes read pictures, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import ImageOps

from codax.errors import CodaxError, ConfigError, ImageError
from codax.files.folders import PICTURES, search
from codax.files.opening import open_image
from codax.files.pictures import from_image
from codax.train.shards import Packed, is_shard, packed_pictures

__all__ = [
    "SMALLEST_SCALE",
    "Picture",
    "digest",
    "find_pictures",
    "find_streamed",
    "read_rgb",
    "split",
]

SMALLEST_SCALE = 0.5
"""How far a picture is reduced at most before a crop is cut."""

Picture = Path | Packed
"""Where a picture is."""


def find_pictures(
    folders: Sequence[Path | str], skip: Callable[[str], None] | None = None
) -> list[Path]:
    """Lists the pictures of one or several folders and of their subfolders.

    Args:
        folders: Folders; a file's kind is judged by its suffix.
        skip: Takes a line for each thing that is named like a picture but is no file.

    Returns:
        Paths, sorted, each once.

    Raises:
        ConfigError: A folder is missing, or there is no picture in any of them.
    """
    found = _files(folders, skip)
    if not found:
        names = ", ".join(str(folder) for folder in folders) or "no folder"
        kinds = " ".join(sorted(PICTURES))
        raise ConfigError(f"{names}: no picture found; expected files of {kinds}")
    return found


def find_streamed(
    names: Sequence[Path | str],
    skip: Callable[[str], None] | None = None,
    cache: Path | None = None,
) -> list[Picture]:
    """Lists what can be streamed: pictures in folders, and those packed in shards.

    Args:
        names: folders, tars and ArrayRecords; the latter two are found in folders, too.
        skip: as of `find_pictures`.
        cache: folder for lists of tars, see `codax.train.shards`.

    Returns:
        Pictures, sorted, each once; files first.

    Raises:
        ConfigError: a folder or file is missing or damaged, or there is no picture.
        UnsupportedError: an ArrayRecord without the extra `codax[data]`.
    """
    folders = [Path(name) for name in names]
    shards = {path for path in folders if is_shard(path) and path.is_file()}
    folders = [path for path in folders if path not in shards]
    for folder in folders:
        _check_folder(folder)
        shards.update(path for path in folder.rglob("*") if is_shard(path))
    packed = [one for path in sorted(shards) for one in packed_pictures(path, cache)]
    find = _files if packed else find_pictures
    return [*find(folders, skip), *packed]


def _files(
    folders: Sequence[Path | str], skip: Callable[[str], None] | None
) -> list[Path]:
    """Lists pictures as `find_pictures` does; there may be none."""
    found: set[Path] = set()
    passed_over: dict[str, None] = {}
    for folder in map(Path, folders):
        _check_folder(folder)
        inside = search(folder)
        found.update(inside.files)
        passed_over |= dict.fromkeys(inside.passed_over)
    if skip:
        for message in passed_over:
            skip(message)
    return sorted(found)


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.is_file():
        raise ConfigError(
            f"{folder}: no folder; with `stream=true` files of pictures may be given "
            "that end in .tar or .array_record"
        )
    raise ConfigError(f"{folder}: no such folder; name a folder of pictures")


def digest(picture: Picture) -> bytes:
    """SHA-256 that stands for a picture: of its file's bytes, or see `Packed`."""
    if isinstance(picture, Packed):
        return picture.digest()
    return hashlib.sha256(picture.read_bytes()).digest()


def split(
    paths: Sequence[Picture], held_out: int = 24
) -> tuple[list[Picture], list[Picture]]:
    """Sets pictures aside that no run ever trains on.

    The choice follows the SHA-256 of the files' bytes, smallest first, so that it is
    the same on every machine and under every file name, and a picture that is added
    changes at most one of the others' sides. Of packed pictures it follows `digest`.

    Args:
        paths: Pictures, for example of one folder out of several.
        held_out: How many to set aside, 0 or more.

    Returns:
        Training paths and held-out paths, both in the order of `paths`.

    Raises:
        ConfigError: Nothing would be left for training.
    """
    if not 0 <= held_out < len(paths):
        raise ConfigError(
            f"held_out: {held_out} of {len(paths)} pictures, expected 0 to "
            f"{len(paths) - 1}; hold out fewer or add pictures"
        )
    digests = {path: digest(path) for path in paths}
    chosen = set(sorted(paths, key=lambda path: digests[path])[:held_out])
    training = [path for path in paths if path not in chosen]
    return training, [path for path in paths if path in chosen]


def read_rgb(path: Picture) -> np.ndarray:
    """Reads a picture as `codax encode` does, upright, as uint8[H W 3].

    Alpha is dropped, and grey of 16 bits becomes 8.

    Raises:
        ImageError: The file is missing, damaged, not a picture, or of a kind that is
            not coded, such as floats or 16 bits of colour.
    """
    try:
        source = path.read_bytes() if isinstance(path, Packed) else path
        rgb = from_image(ImageOps.exif_transpose(open_image(source))).rgb
    except (CodaxError, OSError, IndexError) as error:
        raise ImageError(f"{path}: {error}") from error
    return rgb if rgb.dtype == np.uint8 else (rgb >> 8).astype(np.uint8)
