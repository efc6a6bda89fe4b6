"""The exception family of codax: every message is one line that names the problem."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "CodaxError",
    "ConfigError",
    "FormatError",
    "ImageError",
    "ModelError",
    "UnsupportedError",
    "needs_extra",
]

EXTRAS = {
    "jax": ("jax", "jaxlib", "flax", "optax", "onnx"),
    "ray": ("ray", "pandas", "pyarrow"),
    "zarr": ("numcodecs", "zarr"),
    "data": ("grain", "array_record"),
}
"""By the name of an extra of the package, what it brings."""


class CodaxError(Exception):
    """Base of every error that codax raises on purpose."""


class FormatError(CodaxError, ValueError):
    """Bytes that are not a valid file: damaged, truncated or of another kind."""


class UnsupportedError(CodaxError):
    """A valid request or file that this version does not handle."""


class ModelError(CodaxError):
    """Weights that are missing, damaged, of the wrong hash or beyond a bound."""


class ImageError(CodaxError):
    """A picture that cannot be read, or is not of a kind that can be coded."""


class ConfigError(CodaxError):
    """A configuration field that is unknown or has a value out of range."""


@contextmanager
def needs_extra(what: str) -> Iterator[None]:
    """Around imports that take packages of an extra.

    Args:
        what: needs them, for the message.

    Raises:
        UnsupportedError: one is missing; says how to install it.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        for extra, packages in EXTRAS.items():
            if missing in packages:
                raise UnsupportedError(
                    f"{what} needs {missing}, which is not installed; "
                    f"`pip install 'codax[{extra}]'` brings it"
                ) from error
        raise
