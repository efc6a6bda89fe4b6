"""Settings of JAX that only a program may make, and codecs loaded when first needed."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codax.errors import ConfigError, needs_extra
from codax.face.runtimes import VARIABLE
from codax.zoo.unpacked import cache_folder

if TYPE_CHECKING:
    from codax.face.codec import Codec

__all__ = ["CodecShelf", "cache_folder", "prepare", "prepare_jax"]


def prepare(device: str = "auto") -> None:
    """Gets ready for codecs that only read and write, which may not need JAX.

    Args:
        device: `auto`, `cpu` or `gpu`; a GPU is for JAX, unless ONNX Runtime was asked
            for by name.

    Raises:
        ConfigError: no such device here, or none that the runtime has.
        UnsupportedError: JAX is needed and not installed.
    """
    wanted = os.environ.get(VARIABLE) or "auto"
    if device == "gpu" and wanted == "onnx":
        raise ConfigError("--runtime onnx computes on the CPU; leave --device gpu out")
    if device == "gpu":
        os.environ[VARIABLE] = wanted = "jax"
    if wanted == "jax" or "jax" in sys.modules:
        prepare_jax(device)
        return
    # For refinement or weights without graphs, which load JAX later.
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    if (kept := cache_folder()) and _made(kept / "jax"):
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(kept / "jax"))
        for limit in ("COMPILE_TIME_SECS", "ENTRY_SIZE_BYTES"):
            os.environ.setdefault(f"JAX_PERSISTENT_CACHE_MIN_{limit}", "-1")
        _tolerate_cache()


def prepare_jax(device: str = "auto") -> None:
    """Loads JAX with its compilation cache on disk and the wanted device.

    Args:
        device: `auto`, `cpu`, `gpu` or `tpu`.

    Raises:
        ConfigError: no such device here.
    """
    with needs_extra("the runtime of JAX"):
        import jax

    # Without a cache every process compiles; nothing else changes.
    if (kept := cache_folder()) and _made(kept / "jax"):
        jax.config.update("jax_compilation_cache_dir", str(kept / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        _tolerate_cache()
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif device != "auto":
        try:
            own = jax.local_devices(backend=device)[0]
        except RuntimeError as error:
            raise ConfigError(
                f"--device {device}: JAX finds no {device.upper()} here"
            ) from error
        jax.config.update("jax_default_device", own)


def _tolerate_cache() -> None:
    """Lets JAX say nothing of an entry that it cannot read or write.

    Another process may be about to write it, or the disk is full; it is compiled here.
    """
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent")


def _made(folder: Path) -> bool:
    """Makes a folder; says whether it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return True


class CodecShelf:
    """Loads each codec once, when a file first needs it.

    A missing input or a damaged file is so reported without waiting for it.
    """

    def __init__(self, device: str, runtime: str | None = None):
        if runtime:
            # Codecs are loaded in many places, which all ask this.
            os.environ[VARIABLE] = runtime
        self._device = device
        self._codecs: dict[object, Codec] = {}
        self._lock = threading.Lock()

    def get(self, key: object, load: Callable[[], Codec]) -> Codec:
        """Returns the codec under `key`, from `load` the first time."""
        with self._lock:
            if not self._codecs:
                prepare(self._device)
            if key not in self._codecs:
                self._codecs[key] = load()
            return self._codecs[key]
