"""Settings of JAX that only a program may make, and codecs loaded when first needed."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codax.errors import ConfigError

if TYPE_CHECKING:
    from codax.face.codec import Codec

__all__ = ["CodecShelf", "cache_folder", "prepare_jax"]


def cache_folder() -> Path | None:
    """Returns the user's folder for what is kept; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "codax"
    except RuntimeError:  # neither $HOME nor an entry among the users, as in containers
        return None


def prepare_jax(device: str = "auto") -> None:
    """Loads JAX with its compilation cache on disk and the wanted device.

    Args:
        device: `auto`, `cpu` or `gpu`.

    Raises:
        ConfigError: no such device here.
    """
    import jax

    # Without a cache every process compiles; nothing else changes.
    if (kept := cache_folder()) and _made(kept / "jax"):
        jax.config.update("jax_compilation_cache_dir", str(kept / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        # An entry that another process is about to write is compiled here once more.
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent")
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device == "gpu":
        try:
            jax.config.update("jax_default_device", jax.devices("gpu")[0])
        except RuntimeError as error:
            raise ConfigError("--device gpu: JAX finds no GPU here") from error


def _made(folder: Path) -> bool:
    """Makes a folder; says whether it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return True


class CodecShelf:
    """Loads each codec once, when a file first needs it.

    A missing input or a damaged file is so reported without waiting for JAX.
    """

    def __init__(self, device: str):
        self._device = device
        self._codecs: dict[object, Codec] = {}
        self._lock = threading.Lock()

    def get(self, key: object, load: Callable[[], Codec]) -> Codec:
        """Returns the codec under `key`, from `load` the first time."""
        with self._lock:
            if not self._codecs:
                prepare_jax(self._device)
            if key not in self._codecs:
                self._codecs[key] = load()
            return self._codecs[key]
