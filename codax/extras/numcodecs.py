"""Chunks of Zarr arrays as `.codax` files: a codec of `numcodecs`.

A chunk holds one picture, so that its bytes are a file like any other, which
`codax decode` reads. numcodecs finds the codec by its entry point, under `codax`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray, ndarray_copy

from codax.coding.effort import DEFAULT_EFFORT
from codax.errors import ImageError
from codax.face.public import decode, encode

__all__ = ["Codax"]


class Codax(Codec):
    """Codes chunks of pictures.

    Example:
        >>> import zarr, codax.numcodecs                    # doctest: +SKIP
        >>> pictures = zarr.create_array(                   # doctest: +SKIP
        ...     "photos.zarr",
        ...     shape=(1000, 512, 768, 3),
        ...     chunks=(1, 512, 768, 3),
        ...     dtype="uint8",
        ...     zarr_format=2,
        ...     compressors=codax.numcodecs.Codax(quality=60),
        ... )

    Attributes:
        quality: 0..100 in half steps; None for 75.
        model: name of the weights; None for the default's.
        lossless: whether every bit comes back.
        effort: of the encoder, 1 to 9.
    """

    codec_id = "codax"

    def __init__(
        self,
        quality: float | None = None,
        model: str | None = None,
        lossless: bool = False,
        effort: int = DEFAULT_EFFORT,
    ):
        """Takes what is stored with the array; see the class."""
        self.quality, self.model = quality, model
        self.lossless, self.effort = lossless, effort

    def encode(self, buf: Any) -> bytes:
        """Encodes a chunk.

        Args:
            buf: uint8[H W], [H W 3], [H W 4] or uint16[H W] (without loss), with axes
                of length 1 before these, and behind [H W].

        Raises:
            ImageError: another shape or type.
            CodaxError: as `codax.encode`.
        """
        return encode(
            _picture_of(ensure_ndarray(buf)),
            self.quality,
            model=self.model,
            lossless=self.lossless,
            effort=self.effort,
        )

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decodes a chunk, by the weights that its file names.

        Args:
            buf: a `.codax` file.
            out: array to fill.

        Returns:
            The samples, without axes of length 1.

        Raises:
            CodaxError: as `codax.decode`.
        """
        samples = np.asarray(decode(ensure_bytes(buf)))
        return ndarray_copy(samples, out)


def _picture_of(chunk: np.ndarray) -> np.ndarray:
    """The one picture of a chunk."""
    shape = chunk.shape
    picture = chunk
    if picture.ndim > 2 and shape[-1] == 1:
        picture = picture[..., 0]
    while picture.ndim > 3 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim == 3 and shape[-1] not in (3, 4) and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim > 3 or (picture.ndim == 3 and picture.shape[2] not in (3, 4)):
        raise ImageError(
            f"chunk is {chunk.dtype}{list(shape)}; expected one picture, [1 H W 3] or "
            "[1 H W]: cut the array into such chunks"
        )
    return picture
