"""The exception family of codax: every message is one line that names the problem."""

__all__ = [
    "CodaxError",
    "ConfigError",
    "FormatError",
    "ImageError",
    "ModelError",
    "UnsupportedError",
]


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
