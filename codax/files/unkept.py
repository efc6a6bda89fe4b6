"""What a file does not hold of a picture, in words; and EXIF that stands in text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["exif_in_text", "unkept_looks", "unkept_words"]

_SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_VIDEO_PRIMARIES, _VIDEO_CURVES = 1, (1, 13)  # of H.273: BT.709, and sRGB's curve
_RAW = "Raw profile type "  # of text chunks of ImageMagick: name, length, hexadecimals
_EXIF_TEXTS = (f"{_RAW}exif", f"{_RAW}APP1")
_XMP_TEXT = "XML:com.adobe.xmp"
_RESOLUTION = 0x011A
_TIFF_TAGS = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x011D: "PageName",
    0x0131: "Software",
    0x0132: "DateTime",
    0x013B: "Artist",
    0x8298: "Copyright",
    0x83BB: "IPTC",
    0x8649: "Photoshop",
    0x8769: "EXIF",
    0x8825: "GPS",
    0x87AF: "GeoKeys",
}


def exif_in_text(info: Mapping[str, Any]) -> bytes:
    """EXIF of a PNG's text chunk, as ImageMagick wrote it before there was one for it.

    Args:
        info: of the picture.

    Returns:
        TIFF-structured bytes behind the `Exif` prefix; empty where there is none.
    """
    for name in _EXIF_TEXTS:
        try:
            data = bytes.fromhex("".join(str(info[name]).split("\n")[3:]))
        except (KeyError, ValueError):
            continue
        if data.startswith(b"Exif\0\0"):
            return data
    return b""


def unkept_looks(
    image: Image.Image, converted: bool, profile: bytes, icc: bytes
) -> Iterator[str]:
    """Names what makes a picture look otherwise than its source.

    Args:
        image: the source.
        converted: whether its samples are coded in another mode.
        profile: the source's, where it is neither absent nor applied.
        icc: what is kept of it.
    """
    info, frames = image.info, getattr(image, "n_frames", 1)
    if frames > 1:
        yield "1 more frame" if frames == 2 else f"{frames - 1} more frames"
    if converted:
        yield f"the {image.mode} samples as they are (coded as RGB or grey)"
    if profile and not icc:
        space = profile[16:20].decode("ascii", "replace").strip()
        yield f"a colour profile of {space or 'no known'} samples"
    # Of PNG (third edition, 4.3): cICP goes before a profile, that before the others.
    video = tuple(info.get("cicp", (_VIDEO_PRIMARIES, _VIDEO_CURVES[0])))
    if video[0] != _VIDEO_PRIMARIES or video[1] not in _VIDEO_CURVES:
        yield f"the colour space of cICP {video[0]}, {video[1]}"
    if icc or "srgb" in info or "cicp" in info:
        return
    gamma = info.get("gamma") or 1 / 2.2
    if abs(gamma * 2.2 - 1) > 0.05:
        yield f"a gamma of {gamma:g}"
    primaries = info.get("chromaticity", _SRGB_PRIMARIES)
    if not np.allclose(primaries, _SRGB_PRIMARIES, atol=0.005):
        yield "a set of primaries (cHRM)"


def unkept_words(image: Image.Image, exif: bytes) -> Iterator[str]:
    """Names what stands beside the pixels of a source and is not kept.

    Args:
        image: the source.
        exif: what is kept.
    """
    info = image.info
    kept = (*_EXIF_TEXTS, _XMP_TEXT) if exif else (_XMP_TEXT,)
    texts = [name for name in getattr(image, "text", {}) if name not in kept]
    if texts:
        yield f"text ({', '.join(map(str, texts))})"
    if info.get("comment"):
        yield "a comment"
    if "photoshop" in info:
        yield "Photoshop data (IPTC)"
    tags = getattr(image, "tag_v2", {})
    if named := [name for tag, name in _TIFF_TAGS.items() if tag in tags]:
        yield f"TIFF tags ({', '.join(named)})"
    across, along = _resolution(info)
    if max(across, along) > 1 and not _has_resolution(exif):
        same = across == along
        yield f"a resolution of {across:g}{'' if same else f' x {along:g}'} dpi"


def _resolution(info: Mapping[Any, Any]) -> tuple[float, float]:
    """Dots per inch; 0 where there are none."""
    try:
        across, along = (round(float(dots), 1) for dots in info.get("dpi", (0, 0)))
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0, 0.0
    return across, along


def _has_resolution(exif: bytes) -> bool:
    found = Image.Exif()
    try:
        found.load(exif)
        return _RESOLUTION in found
    except Exception:  # Damaged EXIF raises many kinds.
        return False
