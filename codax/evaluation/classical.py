"""Classical file codecs, as comparisons: JPEG, WebP, AVIF, JPEG 2000, JPEG XL.

Each is a `FileCodec` with the same face as a codax codec: `encode(picture, quality)`
gives the bytes of a real file, `decode(bytes)` the 8-bit picture. Higher quality is
better for all of them. Their settings stand in every row and every report.
"""

from __future__ import annotations

import difflib
import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from codax.errors import ConfigError, UnsupportedError
from codax.evaluation.candidate import FileCodec
from codax.evaluation.extras import require

__all__ = ["CLASSICAL", "classical", "jpeg_xl_distance"]


# Settings whose mean curves on photographs span 28 to 40 dB.
_JPEG = (5, 10, 15, 25, 35, 45, 55, 65, 75, 85, 90, 95, 97)
_WEBP = (1, 5, 15, 25, 35, 45, 55, 65, 75, 85, 90, 95)
_AVIF = (3, 10, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95)
_JPEG2000 = (0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.85, 1.2, 1.7, 2.4, 3.4)
_JPEG_XL = (1, 5, 15, 25, 35, 45, 55, 65, 75, 85, 90, 95, 97)


def classical(name: str) -> FileCodec:
    """A classical codec by name.

    Args:
        name: one of `CLASSICAL`.

    Returns:
        The codec with its settings.

    Raises:
        ConfigError: an unknown name.
        UnsupportedError: a library that this Python lacks.
    """
    if name not in CLASSICAL:
        near = difflib.get_close_matches(name, CLASSICAL, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"codec {name!r} is unknown: expected one of {', '.join(CLASSICAL)}{hint}"
        )
    return CLASSICAL[name]()


def _jpeg() -> FileCodec:
    return _pillow_codec(
        "jpeg",
        "JPEG",
        {"subsampling": "4:2:0", "optimize": True},
        qualities=_JPEG,
        library="libjpeg_turbo",
    )


def _webp() -> FileCodec:
    return _pillow_codec("webp", "WEBP", {"method": 6}, qualities=_WEBP, library="webp")


def _avif(name: str, tune: str) -> FileCodec:
    # One thread, so that seconds compare with those of the other codecs.
    options = {
        "subsampling": "4:4:4",
        "speed": 6,
        "max_threads": 1,
        "advanced": {"tune": tune},
    }
    return _pillow_codec(name, "AVIF", options, qualities=_AVIF, library="avif")


def _jpeg2000() -> FileCodec:
    """Irreversible 9/7 wavelet; the quality is the target in bits per pixel."""

    def encode(picture: Image.Image, quality: float) -> bytes:
        return _saved(
            picture,
            format="JPEG2000",
            irreversible=True,
            # Off unless asked for, and then the rate at equal PSNR more than doubles.
            mct=1,
            quality_mode="rates",
            quality_layers=[24 / quality],
            no_jp2=True,
        )

    return FileCodec(
        name="jpeg2000",
        settings={
            "wavelet": "irreversible 9/7",
            "colour transform": "on",
            "quality": "target bits per pixel",
            "file": "raw codestream",
            **_versions("jpg_2000"),
        },
        qualities=_JPEG2000,
        encode=encode,
        decode=_opened,
        step=0.01,
    )


def _jpeg_xl() -> FileCodec:
    """Effort 7; the quality becomes a distance by the rule of the program cjxl."""
    require(["imagecodecs"], "jxl")
    import imagecodecs

    def encode(picture: Image.Image, quality: float) -> bytes:
        return bytes(
            imagecodecs.jpegxl_encode(
                np.asarray(picture),
                distance=jpeg_xl_distance(quality),
                lossless=False,
                effort=7,
                numthreads=1,
            )
        )

    def decode(data: bytes) -> Image.Image:
        return Image.fromarray(imagecodecs.jpegxl_decode(data, numthreads=1))

    return FileCodec(
        name="jxl",
        settings={
            "effort": 7,
            "quality": "distance by the rule of cjxl",
            "imagecodecs": imagecodecs.__version__,
            "libjxl": imagecodecs.jpegxl_version().split()[-1],
        },
        qualities=_JPEG_XL,
        encode=encode,
        decode=decode,
    )


def jpeg_xl_distance(quality: float) -> float:
    """The Butteraugli distance that cjxl takes for a quality of 0..100.

    Source:
        libjxl, lib/jxl/encode.cc, JxlEncoderDistanceFromQuality.
    """
    if quality >= 100:
        return 0.0
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def _pillow_codec(
    name: str,
    file_format: str,
    options: dict[str, Any],
    *,
    qualities: tuple[float, ...],
    library: str,
) -> FileCodec:
    """A codec of Pillow that knows whole qualities of 0..100."""

    def encode(picture: Image.Image, quality: float) -> bytes:
        return _saved(picture, format=file_format, quality=round(quality), **options)

    return FileCodec(
        name=name,
        settings={**options, **_versions(library)},
        qualities=qualities,
        encode=encode,
        decode=_opened,
    )


def _versions(library: str) -> dict[str, str]:
    """Versions of Pillow and of one library in it."""
    if not features.check(library):
        raise UnsupportedError(
            f"this Pillow ({PIL.__version__}) was built without {library}; "
            "install the wheel from PyPI"
        )
    return {"pillow": PIL.__version__, library: str(features.version(library))}


def _saved(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


CLASSICAL: Mapping[str, Callable[[], FileCodec]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": partial(_avif, "avif", "psnr"),
    "avif-ssim": partial(_avif, "avif-ssim", "ssim"),
    "jpeg2000": _jpeg2000,
    "jxl": _jpeg_xl,
}
