"""Decoded pictures as files of known formats, which say that codax wrote them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin, features

from codax.errors import ImageError, UnsupportedError
from codax.files.opening import first_line

__all__ = ["FORMATS", "form_of", "is_ours", "picture_bytes", "unkept"]

QUALITY = 95
"""Of formats that lose something."""
_BY = b"Software\0codax"  # of a PNG's text chunk, by a keyword that it lists
_COMMENT = b"# codax\n"  # of a PPM, behind its first line
_SOFTWARE, _XMP = 0x0131, 0x02BC  # tags of TIFF and EXIF
_SUB_IFDS = (0x8769, 0x8825, 0xA005)  # Exif, GPS, interoperability
_DESCRIBING = frozenset(
    (0x010E, 0x010F, 0x0110, 0x0112, 0x011A, 0x011B, 0x0128, 0x0132, 0x013B, 0x8298)
) | {_SOFTWARE, *_SUB_IFDS}
"""Tags of EXIF that a TIFF may take: text, orientation, resolution, date. Others say
how the samples lie in a file, and would be untrue of another."""
_SEGMENT = (
    65533  # bytes that JPEG holds of EXIF or XMP, with a head of 29 for the latter
)
_ALPHA = ("LA", "RGBA", "PA")
_CONVERTED = ("CMYK", "YCbCr", "HSV", "LAB")  # to RGB, where a format has none of them


@dataclass(frozen=True)
class Form:
    """A format that `decode` writes.

    Attributes:
        endings: of names, the usual one first.
        modes: of pictures that it holds as they are; others are converted.
        exact: whether every sample comes back from it.
        alpha: whether it has any.
        metadata: whether it holds profile, EXIF and XMP.
        longest: side of a picture; 0 for any.
    """

    endings: tuple[str, ...]
    modes: tuple[str, ...]
    exact: bool = True
    alpha: bool = True
    metadata: bool = True
    longest: int = 0


FORMATS = {
    "png": Form((".png",), ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")),
    "ppm": Form(
        (".ppm", ".pgm", ".pnm"), ("L", "I;16", "RGB"), alpha=False, metadata=False
    ),
    "jpeg": Form(
        (".jpg", ".jpeg"),
        ("L", "RGB", "CMYK"),
        exact=False,
        alpha=False,
        longest=65500,
    ),
    "webp": Form((".webp",), ("RGB", "RGBA"), longest=16383),
    "avif": Form((".avif",), ("RGB", "RGBA"), exact=False, longest=65536),
    "tiff": Form(
        (".tiff", ".tif"), ("1", "L", "LA", "I;16", "RGB", "RGBA", "CMYK", "LAB")
    ),
}
"""By their names, as `--format` takes them."""


def form_of(ending: str) -> str | None:
    """The format of a name's ending, such as `.jpg`; None of others."""
    for name, form in FORMATS.items():
        if ending in form.endings:
            return name
    return None


def is_ours(path: str) -> bool:
    """Whether a picture says that codax wrote it."""
    try:
        with open(path, "rb") as file:
            if _says_so(file):
                return True
        if form_of(path[path.rfind(".") :].lower()) in (None, "png", "ppm"):
            return False
        with Image.open(path) as image:
            return image.getexif().get(_SOFTWARE) == "codax"
    # Readers of damaged files raise many kinds of exception: none of them is ours.
    except Exception:
        return False


def _says_so(file: BinaryIO) -> bool:
    """Reads a PNG or PPM as far as the pixels."""
    magic = file.read(3)
    if magic in (b"P5\n", b"P6\n"):
        return file.readline(len(_COMMENT)) == _COMMENT
    if magic + file.read(5) != b"\x89PNG\r\n\x1a\n":
        return False
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"IDAT":
            break
        begin = file.tell()
        if kind == b"tEXt" and file.read(len(_BY) + 1)[:size] == _BY:
            return True
        file.seek(begin + size + 4)
    return False


def unkept(image: Image.Image, form: str) -> list[str]:
    """Names what a picture file of a form does not hold of a decoded picture.

    Args:
        image: what was decoded.
        form: a name of `FORMATS`.
    """
    info, lost, facts = image.info, [], FORMATS[form]
    if not facts.exact:
        lost.append(f"the exact samples (written as {form.upper()} of {QUALITY})")
    mode = _mode_in(image, facts)
    if mode != image.mode and image.mode in _CONVERTED:
        lost.append(f"the mode {image.mode} (written as {mode})")
    size = len(info.get("icc_profile", b""))
    if form == "png" and size > PngImagePlugin.MAX_TEXT_CHUNK:
        lost.append(
            f"a colour profile of {size} bytes, since readers of PNG refuse more than "
            f"{PngImagePlugin.MAX_TEXT_CHUNK}"
        )
    exif = info.get("exif", b"")
    if exif and form in ("avif", "tiff") and _exif_of(info) is None:
        lost.append("EXIF, which cannot be read")
    if form == "jpeg":
        lost += [
            f"{name} of {len(value)} bytes, which JPEG does not hold"
            for name, value in (("EXIF", exif), ("XMP", info.get("xmp", b"")))
            if len(value) > _SEGMENT - 29
        ]
    if not facts.metadata:
        names = {"icc_profile": "the colour profile", "exif": "EXIF", "xmp": "XMP"}
        lost += [words for name, words in names.items() if info.get(name)]
    return lost


def _mode_in(image: Image.Image, facts: Form) -> str:
    """The mode that a picture is written in."""
    clear = "transparency" in image.info
    if image.mode in facts.modes and not (clear and image.mode != "P"):
        return image.mode
    grey = image.mode in ("1", "L", "LA", "I;16")
    alpha = clear or image.mode in _ALPHA
    alpha = alpha and facts.alpha
    wanted = [("LA" if alpha else "L")] if grey else []
    wanted.append("RGBA" if alpha else "RGB")
    return next(mode for mode in wanted if mode in facts.modes)


def picture_bytes(image: Image.Image, form: str) -> bytes:
    """Writes a picture to the bytes of a file.

    Args:
        image: what was decoded.
        form: a name of `FORMATS`.

    Raises:
        ImageError: the picture has what the form cannot hold.
        UnsupportedError: Pillow cannot write it here.
    """
    facts, info = FORMATS[form], dict(image.info)
    if not facts.alpha and (image.mode in _ALPHA or "transparency" in info):
        raise ImageError(f"the picture has alpha, which {form} cannot hold; use png")
    if image.mode == "I;16" and image.mode not in facts.modes:
        raise ImageError(f"the picture has 16 bits, which {form} cannot hold; use png")
    if form == "avif" and not features.check("avif"):
        raise UnsupportedError("this Pillow writes no AVIF; use png or webp")
    if facts.longest and max(image.size) > facts.longest:
        raise ImageError(
            f"the picture is {image.width}x{image.height}, and {form} holds sides up "
            f"to {facts.longest}; use png"
        )
    mode = _mode_in(image, facts)
    if mode != image.mode:
        if image.mode in _CONVERTED:
            info.pop("icc_profile", None)  # it is of the samples before
        image = image.convert(mode)
    else:
        image = image.copy()
    image.info = {}  # which some writers take what they are not given from
    buffer = io.BytesIO()
    try:
        _WRITE[form](image, info, buffer)
    # Pillow's writers raise many kinds of exception for what a format does not hold.
    except Exception as error:
        raise ImageError(
            f"the picture cannot be written as {form}: {first_line(error)}; use png"
        ) from error
    data = buffer.getvalue()
    if form == "ppm":
        first, rest = data.split(b"\n", 1)
        return first + b"\n" + _COMMENT + rest
    return data


def _write_png(image: Image.Image, info: dict[Any, Any], buffer: BinaryIO) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"tEXt", _BY)
    if "xmp" in info:
        chunks.add_itxt("XML:com.adobe.xmp", info["xmp"])
    options = {"transparency": info["transparency"]} if "transparency" in info else {}
    image.save(
        buffer,
        "PNG",
        # Measured on kodim05: 0.07 s for 793 kB, against 0.19 s for 814 kB at 6.
        compress_level=3,
        pnginfo=chunks,
        icc_profile=_readable_profile(info),
        exif=info.get("exif", b""),
        **options,
    )


def _write_ppm(image: Image.Image, info: dict[Any, Any], buffer: BinaryIO) -> None:
    image.save(buffer, "PPM")


def _write_jpeg(image: Image.Image, info: dict[Any, Any], buffer: BinaryIO) -> None:
    short = {
        key: value
        for key, value in info.items()
        if key not in ("exif", "xmp") or len(value) <= _SEGMENT - 29
    }
    image.save(buffer, "JPEG", quality=QUALITY, subsampling="4:4:4", **_metadata(short))


def _write_webp(image: Image.Image, info: dict[Any, Any], buffer: BinaryIO) -> None:
    # As fast as it goes: six times as fast as the default for a tenth more bytes.
    options = {"lossless": True, "exact": True, "method": 0, "quality": 0}
    image.save(buffer, "WEBP", **options, **_metadata(info))


def _write_avif(image: Image.Image, info: dict[Any, Any], buffer: BinaryIO) -> None:
    options = {"quality": QUALITY, "subsampling": "4:4:4", "speed": 8}
    if _exif_of(info) is None:
        del info["exif"]
    image.save(buffer, "AVIF", **options, **_metadata(info))


def _write_tiff(image: Image.Image, info: dict[Any, Any], buffer: BinaryIO) -> None:
    exif = _exif_of(info) or Image.Exif()
    for tag in [tag for tag in exif if tag not in _DESCRIBING]:
        del exif[tag]
    if _SOFTWARE not in exif:
        exif[_SOFTWARE] = "codax"
    if "xmp" in info:
        exif[_XMP] = info["xmp"]
    # libtiff, which compresses, writes no IFD within another.
    plain = any(exif.get_ifd(tag) for tag in _SUB_IFDS)
    image.save(
        buffer,
        "TIFF",
        compression=None if plain else "tiff_adobe_deflate",
        exif=exif,
        icc_profile=info.get("icc_profile"),
    )


def _exif_of(info: Mapping[Any, Any]) -> Image.Exif | None:
    """The EXIF that a picture carries; None where it cannot be read."""
    exif = Image.Exif()
    try:
        exif.load(info.get("exif", b""))
        for tag in _SUB_IFDS:
            exif.get_ifd(tag)
    # The reader of TIFF raises many kinds of exception on damaged bytes.
    except Exception:
        return None
    return exif


_WRITE = {
    "png": _write_png,
    "ppm": _write_ppm,
    "jpeg": _write_jpeg,
    "webp": _write_webp,
    "avif": _write_avif,
    "tiff": _write_tiff,
}


def _metadata(info: Mapping[Any, Any]) -> dict[str, Any]:
    """What a picture carries, as `Image.save` takes it.

    A picture without EXIF gets one that says who wrote it; its own is left as it is.
    """
    found = {k: info[k] for k in ("icc_profile", "exif", "xmp") if info.get(k)}
    if "exif" not in found:
        exif = Image.Exif()
        exif[_SOFTWARE] = "codax"
        found["exif"] = exif.tobytes()
    return found


def _readable_profile(info: Mapping[Any, Any]) -> bytes | None:
    """The profile, unless no reader would open the PNG: Pillow refuses it as a whole.

    libpng drops profiles beyond 8 MB.
    """
    profile = info.get("icc_profile", b"")
    return profile if 0 < len(profile) <= PngImagePlugin.MAX_TEXT_CHUNK else None
