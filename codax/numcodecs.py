"""`.codax` files as chunks of Zarr arrays; see `codax.extras.numcodecs`."""

from codax.errors import needs_extra

with needs_extra("codax.numcodecs"):
    from codax.extras.numcodecs import Codax

__all__ = ["Codax"]
