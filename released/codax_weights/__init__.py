"""Weights of older releases of codax: what decoding needs of them."""

from pathlib import Path

__all__ = ["folder"]

__version__ = "0.2.0.dev0"


def folder() -> Path:
    """The folder of the weights, for the entry point `codax.weights`."""
    return Path(__file__).resolve().parent
