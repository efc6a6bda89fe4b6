"""Decoded pictures kept as PNG files, named by picture, codec and quality."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image, PngImagePlugin

from codax.files.writing import writing

__all__ = ["is_kept", "keep", "kept_path"]

_FIELD = "codax row"


def kept_path(folder: Path, picture: str, codec: str, quality: float) -> Path:
    """Where the decoded picture of a row is kept: `kodim01.png_jpeg_q75.png`.

    Args:
        folder: of kept pictures.
        picture: path below the folder of pictures; its folders are kept, too.
        codec: name.
        quality: of the codec.
    """
    return folder / f"{picture}_{codec.replace('/', '-')}_q{quality:g}.png"


def keep(path: Path, picture: Image.Image, key: str) -> None:
    """Writes a decoded picture, whole or not at all.

    Args:
        path: of `kept_path`; its folder is made.
        picture: RGB.
        key: of the row, by which `is_kept` knows a picture of other settings.
    """
    about = PngImagePlugin.PngInfo()
    about.add_text(_FIELD, _digest(key))
    with writing(path) as file:
        picture.save(file, "PNG", pnginfo=about)


def is_kept(path: Path, key: str) -> bool:
    """Whether the decoded picture of this very row is there."""
    try:
        with Image.open(path) as picture:
            return picture.info.get(_FIELD) == _digest(key)
    except OSError:
        return False


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]
