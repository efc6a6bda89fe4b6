"""Pictures in and out: any Pillow mode to the RGB samples that codecs code, and back.

What is kept: pixels as stored, the orientation tag (never applied), EXIF, XMP, an ICC
profile that describes the coded samples, alpha without loss, and the mode. What is not:
frames after the current one, text chunks, resolution.

| mode | coded as | comes back as |
|---|---|---|
| 1, L, LA | grey | 1 (threshold at 128), L, LA |
| P | RGB, alpha if transparent, palette of at most 256 colours | P, nearest colours |
| RGB, RGBA | RGB, alpha | the same |
| CMYK, LAB | sRGB, its profile applied and dropped | the mode, by Pillow's conversion |
| YCbCr, HSV, RGBX, La, RGBa | RGB or grey, alpha | YCbCr, HSV, RGB, LA, RGBA |
| I;16 (16 bits grey) | grey, by codecs without loss | I;16 |
| more than 8 bits a sample otherwise | refused | |
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from codax.errors import ImageError, UnsupportedError
from codax.files.opening import DEEP_GREY, GREY_MODES, SIMPLER, first_line, load_image
from codax.files.unkept import exif_in_text, unkept_looks, unkept_words

__all__ = ["Picture", "from_image", "info_of", "to_image"]

_ORIENTATION = 0x0112
# What is turned into the samples of these cannot be turned back to the last bit.
_CONVERTED = ("CMYK", "LAB", "YCbCr", "HSV", "La", "RGBa")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Samples for a codec, and all that must come back beside them.

    Attributes:
        rgb: uint8[H W 3]; the three are equal where `grey`. Grey with 16 bits a sample:
            uint16[H W 3].
        mode: Pillow's name of the mode that the decoded picture has.
        grey: whether the picture holds no colour.
        alpha: uint8[H W], or None where the picture is opaque by its mode.
        palette: uint8[n 3], or uint8[n 4] with alpha, for mode P; otherwise None.
        icc: a profile that describes the samples, or empty.
        exif: TIFF-structured bytes without the `Exif` prefix, or empty.
        xmp: an XMP packet, or empty.
        orientation: the EXIF value 1..8, as stored; not applied to the samples.
        exact: whether these samples give back the source's own.
        lost: what makes the source look otherwise and a file does not hold, in words:
            frames, other modes, colour spaces.
        lost_words: what stands beside its pixels and a file does not hold, in words.
    """

    rgb: np.ndarray
    mode: str = "RGB"
    grey: bool = False
    alpha: np.ndarray | None = None
    palette: np.ndarray | None = None
    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    orientation: int = 1
    exact: bool = True
    lost: tuple[str, ...] = ()
    lost_words: tuple[str, ...] = ()

    @property
    def samples(self) -> np.ndarray:
        """What a lossless codec codes: [H W 3], or [H W 1] where grey."""
        return self.rgb[..., :1] if self.grey else self.rgb


def from_image(image: Any, info: Mapping[str, Any] | None = None) -> Picture:
    """Takes a picture apart.

    Args:
        image: a Pillow picture of any mode with 8 bits a sample, its current frame, or
            of 16 bits grey; or uint8[H W] (grey), uint8[H W 3] (RGB), uint8[H W 4]
            (RGBA), uint16[H W], of NumPy or of a library that hands out arrays.
        info: `icc_profile`, `exif` and `xmp` that go before those of the picture;
            empty or None says that there is none.

    Returns:
        Its samples and what comes back beside them.

    Raises:
        ImageError: damaged, empty, too large, or an array of another kind.
        UnsupportedError: more than 8 bits a sample but not grey of 16, 16 bits with a
            transparent level, or a mode that is not known.
    """
    if not isinstance(image, Image.Image):
        image = _from_array(_array_of(image))
    load_image(image)
    mode, alpha, palette = image.mode, None, None
    found = {**image.info, **(info or {})}
    profile = _bytes_of("icc_profile", found)
    if mode == "P":
        colour = image.convert("RGBA" if image.has_transparency_data else "RGB")
        palette = _used_palette(image, colour)
    elif mode in ("CMYK", "LAB"):
        colour, profile = _to_srgb(image, profile), b""
    elif mode in ("1", "L", "RGB") and "transparency" in image.info:
        # One grey level or colour is transparent: the file's way to write alpha.
        mode = "RGBA" if mode == "RGB" else "LA"
        colour = image.convert(mode)
    elif mode in DEEP_GREY:
        if "transparency" in image.info:
            raise UnsupportedError(
                "picture has 16 bits a sample and a transparent level, which is alpha; "
                "codax codes alpha beside 8 bits; take it out, or convert to 8 bits"
            )
        colour, mode = image, "I;16"
    elif mode in GREY_MODES:
        colour = image.convert("LA" if mode in ("LA", "La") else "L")
    else:
        colour = image.convert("RGBA" if mode in ("RGBA", "RGBa", "PA") else "RGB")
    if colour.mode in ("LA", "RGBA"):
        alpha = np.asarray(colour.getchannel("A"))
        colour = colour.convert(colour.mode[:-1])
    grey = colour.mode in ("L", *DEEP_GREY)
    samples = np.asarray(colour)
    if mode == "I;16":
        samples = samples.astype(np.uint16)  # the machine's own order of bytes
    exif = _bytes_of("exif", found)
    given = info is not None and "exif" in info
    if "exif" not in found:
        exif = exif_in_text(found)
        given = bool(exif)
    exif = exif.removeprefix(b"Exif\0\0")
    icc = profile if profile[16:20] == (b"GRAY" if grey else b"RGB ") else b""
    return Picture(
        rgb=np.repeat(samples[..., None], 3, axis=2) if grey else samples,
        mode=SIMPLER.get(mode, mode),
        grey=grey,
        alpha=alpha,
        palette=palette,
        icc=icc,
        exif=exif,
        xmp=_bytes_of("xmp", found),
        orientation=_orientation(image, exif if given else None),
        exact=image.mode not in _CONVERTED,
        lost=tuple(unkept_looks(image, image.mode in _CONVERTED, profile, icc)),
        lost_words=tuple(unkept_words(image, exif)),
    )


def info_of(picture: Picture) -> dict[str, Any]:
    """What stands in the `info` of a Pillow picture, under Pillow's names."""
    info: dict[str, Any] = {}
    if picture.icc:
        info["icc_profile"] = picture.icc
    if picture.exif:
        info["exif"] = b"Exif\0\0" + picture.exif
    elif picture.orientation != 1:
        exif = Image.Exif()
        exif[_ORIENTATION] = picture.orientation
        info["exif"] = exif.tobytes()
    if picture.xmp:
        info["xmp"] = picture.xmp
    if picture.palette is not None and picture.palette.shape[1] == 4:
        info["transparency"] = picture.palette[:, 3].tobytes()
    return info


def to_image(picture: Picture) -> Image.Image:
    """Puts a picture together again in its mode.

    Args:
        picture: decoded samples with what came beside them.

    Returns:
        The picture; profile, EXIF and XMP are in its `info`, under Pillow's names.

    Raises:
        ImageError: a mode that `from_image` does not make.
    """
    deep = picture.rgb.dtype == np.uint16
    colour = Image.fromarray(picture.rgb[..., 0] if deep else picture.rgb)
    mode = picture.mode
    if deep and mode == "I;16":
        image = colour
    elif mode == "P" and picture.palette is not None:
        image = _to_palette(picture, picture.palette)
    elif mode == "1":
        image = colour.convert("L").point(lambda level: 255 * (level >= 128), "1")
    elif mode in ("L", "RGB", "YCbCr", "HSV", "CMYK", "LAB"):
        image = colour.convert(mode) if mode != "RGB" else colour
    elif mode in ("LA", "RGBA") and picture.alpha is not None:
        image = colour.convert(mode)
        image.putalpha(Image.fromarray(picture.alpha))
    else:
        raise ImageError(f"picture mode {mode!r} cannot be made from these samples")
    image.info.update(info_of(picture))
    return image


def _array_of(value: Any) -> np.ndarray:
    """What another library's array holds; on the way to say what else it is."""
    expected = "expected a Pillow picture or an array uint8[H W 3]"
    if isinstance(value, str | Path):
        raise ImageError(
            f"got the path {str(value)!r}; {expected}; `codax.encode` takes paths"
        )
    by_array = hasattr(value, "__array__")
    if not by_array and not hasattr(value, "__dlpack__"):
        raise ImageError(f"got {type(value).__name__}; {expected}")
    try:
        return np.asarray(value) if by_array else np.from_dlpack(value)
    except Exception as error:
        raise ImageError(
            f"{type(value).__name__} gives no array: {first_line(error)}; {expected}"
        ) from error


def _from_array(array: np.ndarray) -> Image.Image:
    """Wraps an array as a Pillow picture."""
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.ndim == 2 and array.dtype.kind == "u" and array.itemsize == 2:
        array = array.astype(np.uint16)  # of either order of bytes
    deep = array.dtype == np.uint16 and array.ndim == 2
    if not (deep or (array.dtype == np.uint8 and shaped)):
        advice = "".join(f"; {words}" for words in _advice(array, shaped))
        raise ImageError(
            f"array is {array.dtype}{list(array.shape)}; expected uint8[H W], "
            f"uint8[H W 3], uint8[H W 4] or uint16[H W]{advice}"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _advice(array: np.ndarray, shaped: bool) -> Iterator[str]:
    """How an array might become a picture."""
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and not shaped:
        yield "channels come last: array.transpose(1, 2, 0)"
    elif array.ndim == 3 and array.shape[2] == 1:
        yield "grey has two axes: array[..., 0]"
    elif array.ndim == 4:
        yield "one picture at a time"
    if array.dtype.kind == "f":
        yield "of samples 0..1: (255 * array).round().astype(np.uint8)"
    elif array.dtype.kind == "b":
        yield "black and white: (255 * array).astype(np.uint8)"
    elif array.dtype.kind in "iu" and array.itemsize > 1:
        yield "of samples 0..255: array.astype(np.uint8)"


def _bytes_of(name: str, info: Mapping[str, Any]) -> bytes:
    """The bytes of one kind of metadata; empty where there is none."""
    value = info.get(name) or b""  # an empty Exif is false
    if isinstance(value, Image.Exif):
        value = value.tobytes()
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise ImageError(f"{name} is {type(value).__name__}; expected bytes")
    return bytes(value)


def _orientation(image: Image.Image, given: bytes | None) -> int:
    """Returns the EXIF orientation; 1 where there is none or it is damaged.

    Args:
        image: which has it in EXIF, or where its format keeps it.
        given: EXIF that goes before it.
    """
    try:
        exif = image.getexif()
        if given is not None:
            exif = Image.Exif()
            exif.load(given)
        value = exif.get(_ORIENTATION, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts CMYK or Lab to sRGB, by the picture's own profile if it has one."""
    space = {"CMYK": b"CMYK", "LAB": b"Lab "}[image.mode]
    if profile[16:20] == space:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (OSError, ImageCms.PyCMSError) as error:
            raise ImageError(
                f"the {image.mode} picture's colour profile is damaged: "
                f"{first_line(error)}"
            ) from error
        if converted is not None:
            return converted
    return image.convert("RGB")


def _used_palette(image: Image.Image, colour: Image.Image) -> np.ndarray:
    """Returns the colours that a P picture uses: uint8[n 3], or [n 4] with alpha."""
    _, first = np.unique(np.asarray(image), return_index=True)
    samples = np.asarray(colour)
    return samples.reshape(-1, samples.shape[2])[first]


def _to_palette(picture: Picture, palette: np.ndarray) -> Image.Image:
    """Maps each sample to the nearest palette colour of its own alpha.

    Squared distances stay below 2^24, so float32 holds them exactly.
    """
    samples = picture.rgb.reshape(-1, 3)
    colours = palette[:, :3].astype(np.float32)
    norms = (colours**2).sum(axis=1)
    index = np.empty(len(samples), np.uint8)
    for start in range(0, len(samples), 1 << 16):
        part = slice(start, start + (1 << 16))
        distance = norms - 2 * (samples[part].astype(np.float32) @ colours.T)
        if picture.alpha is not None and palette.shape[1] == 4:
            alpha = picture.alpha.reshape(-1)[part]
            distance[alpha[:, None] != palette[:, 3]] += np.float32(1 << 20)
        index[part] = distance.argmin(axis=1)
    image = Image.fromarray(index.reshape(picture.rgb.shape[:2]))
    image.putpalette(np.ascontiguousarray(palette[:, :3]).tobytes())
    return image
