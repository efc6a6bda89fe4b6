"""The functions of `codax` itself: a picture to a file and back in one call each."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from codax.coding.effort import DEFAULT_EFFORT
from codax.errors import CodaxError, ConfigError, FormatError
from codax.face.loading import decode_image, shared
from codax.face.pillow import CodaxImageFile
from codax.files.container import MAX_PIXELS
from codax.files.opening import open_image
from codax.zoo import cards

__all__ = ["decode", "encode", "open"]


def encode(
    picture: Any,
    quality: float | None = None,
    *,
    model: str | Path | None = None,
    target_bpp: float | None = None,
    target_size: int | None = None,
    target_psnr: float | None = None,
    lossless: bool = False,
    effort: int = DEFAULT_EFFORT,
    metadata: str = "all",
    fallback: bool = True,
) -> bytes:
    """Encodes a picture to the bytes of a file.

    Args:
        picture: a path, an open file or its bytes, a Pillow picture, or an array as
            `Codec.encode` takes.
        quality: 0..100, rounded to half steps; 75 if neither it nor a target is given.
        model: name or path of the weights; the default if None, or with
            `lossless=True` the one for that.
        target_bpp: see `Codec.encode`, as all that follow.
        target_size: bytes.
        target_psnr: dB.
        lossless: every bit of every sample comes back.
        effort: 1 to 9.
        metadata: `all`, `icc` or `none`.
        fallback: whether the stored form may be taken.

    Returns:
        A `.codax` file.

    Raises:
        ImageError: a picture that cannot be read or coded.
        UnsupportedError: a kind of picture or a target out of reach.
        ConfigError: a value out of range.
        ModelError: no such weights.

    Example:
        >>> import codax
        >>> data = codax.encode("photo.png", quality=60)    # doctest: +SKIP
    """
    if isinstance(picture, str | Path):
        try:
            picture = open_image(picture)
        except CodaxError as error:
            raise type(error)(f"{str(picture) or repr('')}: {error}") from error
    elif isinstance(picture, bytes | bytearray) or hasattr(picture, "read"):
        picture = open_image(_all_of(picture))
    return shared(cards.choose_card(model, lossless=lossless)).encode(
        picture,
        quality,
        target_bpp=target_bpp,
        target_size=target_size,
        target_psnr=target_psnr,
        lossless=lossless,
        effort=effort,
        metadata=metadata,
        fallback=fallback,
    )


def decode(
    data: bytes | bytearray | memoryview | str | Path | BinaryIO,
    *,
    weights: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
    region: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """Decodes a file to a picture.

    Args:
        data: the bytes of a `.codax` file, its path, or the open file.
        weights: path of the user's own weights, if the file was made with such.
        max_pixels: refuse larger pictures before anything is allocated.
        region: left, top, width and height of the part that is wanted, in samples as
            they are coded, before any orientation; all of it if None.

    Returns:
        The picture in its mode, with `icc_profile`, `exif` and `xmp` in its `info`.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle, or too large.
        ModelError: the weights that wrote the file are not at hand.
        ConfigError: a region that is no part of the picture.
        OSError: a path that cannot be read.

    Example:
        >>> import codax
        >>> codax.decode("photo.codax").save("back.png")    # doctest: +SKIP
    """
    if isinstance(data, str | Path):
        data = Path(data).read_bytes()
    elif hasattr(data, "read"):
        data = _all_of(data)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise FormatError(
            f"got {type(data).__name__}; expected the bytes of a .codax file or a path"
        )
    return decode_image(
        bytes(data), weights=weights, max_pixels=max_pixels, region=region
    )


def _all_of(source: Any) -> bytes:
    """The bytes of what may be an open file; of one opened as text it is told."""
    data = source.read() if hasattr(source, "read") else source
    if isinstance(data, str):
        raise FormatError('the file was opened as text; open it with mode "rb"')
    return bytes(data)


def open(path: str | Path) -> Image.Image:
    """Opens a file as Pillow does: the header now, the pixels when they are needed.

    Args:
        path: of a `.codax` file.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle.
        ConfigError: no path.
        OSError: later, where the pixels cannot be decoded, as in Pillow.
        OSError: it cannot be read.

    Example:
        >>> import codax
        >>> codax.open("photo.codax").size      # doctest: +SKIP
        (768, 512)
    """
    if not isinstance(path, str | Path):
        raise ConfigError(f"got {type(path).__name__}; expected the path of a file")
    # From memory: no file stays open until the pixels are asked for.
    data = io.BytesIO(Path(path).read_bytes())
    try:
        image = CodaxImageFile(data)
    except Image.UnidentifiedImageError as error:
        raise error.__cause__ or error from None
    image.filename = str(path)
    return image
