"""codax: learned image codecs with real files.

Importing this package loads neither JAX nor any weights: the public names below
are fetched when they are first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from codax.errors import (
    CodaxError,
    ConfigError,
    FormatError,
    ImageError,
    ModelError,
    UnsupportedError,
    needs_extra,
)

if TYPE_CHECKING:
    from codax.codecs.families import Family, register
    from codax.face.codec import Codec
    from codax.face.loading import load
    from codax.face.public import decode, encode, open

__version__ = "0.2.0.dev0"

__all__ = [
    "CodaxError",
    "Codec",
    "ConfigError",
    "Family",
    "FormatError",
    "ImageError",
    "ModelError",
    "UnsupportedError",
    "__version__",
    "decode",
    "encode",
    "load",
    "open",
    "register",
]

_LAZY = {
    "Codec": "codax.face.codec",
    "Family": "codax.codecs.families",
    "decode": "codax.face.public",
    "encode": "codax.face.public",
    "load": "codax.face.loading",
    "open": "codax.face.public",
    "register": "codax.codecs.families",
}


def __getattr__(name: str) -> Any:
    """Fetches a public name from its module when it is first asked for."""
    if name in _LAZY:
        with needs_extra(f"codax.{name}"):
            return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'codax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names and no others."""
    return list(__all__)
