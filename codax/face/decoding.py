"""From the bytes of a `.codax` file to a picture, with the coder that wrote it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from codax.coding.samples import SampleCoder
from codax.errors import FormatError, ModelError, UnsupportedError
from codax.files import container, pictures, planes
from codax.files.container import MAX_PIXELS, Colour, Container, Tag
from codax.files.pictures import Picture
from codax.files.regions import Region
from codax.files.stored import decode_stored, palette_of
from codax.zoo import cards

__all__ = [
    "decode_file",
    "decode_with",
    "previews",
    "read_beside",
    "read_for",
    "verify_file",
    "wrong_weights",
]


def decode_with(
    coder: SampleCoder,
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    oracle: bool = False,
    region: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """Decodes the bytes of a file.

    Args:
        coder: of the weights that wrote the file.
        data: the whole file.
        max_pixels: refuse larger pictures before anything is allocated.
        oracle: find the probabilities with NumPy instead of a runtime; slow.
        region: left, top, width and height of the part that is wanted, in samples as
            they are coded, before any orientation; all of it if None.

    Returns:
        The picture in its mode, with `icc_profile`, `exif` and `xmp` in its `info`.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle, or too large.
        ModelError: other weights wrote it.
        ConfigError: a region that is no part of the picture.
    """
    file = container.read(data, max_pixels=max_pixels)
    part = Region.of_box(region)
    return decode_file(file, lambda _: coder, oracle=oracle, region=part)


def decode_file(
    file: Container,
    find: Callable[[Container], SampleCoder],
    *,
    oracle: bool = False,
    region: Region | None = None,
    reduction: int = 1,
) -> Image.Image:
    """Decodes a file that was read.

    Args:
        file: what `container.read` returned.
        find: gives the coder of the weights that wrote it; not asked for a stored
            picture, which needs none.
        oracle: as of `decode_with`.
        region: the part of it that is wanted.
        reduction: 1, or pixels of a side that become one, of a file that `previews`
            says it for.

    Returns:
        The picture in its mode, with `icc_profile`, `exif` and `xmp` in its `info`.

    Raises:
        ConfigError: a region that is no part of the picture.
        CodaxError: as of `decode_with`.
    """
    if region is not None:
        region.check(file.height, file.width)
    if file.stored:
        picture = _stored_picture(file)
        if region is not None:
            alpha = None if picture.alpha is None else region.of(picture.alpha)
            picture = replace(picture, rgb=region.of(picture.rgb), alpha=alpha)
        return pictures.to_image(picture)
    coder = find(file)
    _check_coder(coder, file)
    if file.bit_depth != 8 and not coder.lossless:
        raise UnsupportedError(
            f"{file.bit_depth} bits a sample, but {coder.name} decodes 8; the file is "
            "damaged"
        )
    # What is quick to refuse comes first.
    picture, alpha = read_beside(file), None
    if Tag.ALPHA in file.sections:
        alpha = planes.decode_plane(file.sections[Tag.ALPHA], file.height, file.width)
        alpha = alpha if region is None else region.of(alpha)
    stream = file.stream, file.height, file.width, file.quality
    if reduction > 1:
        samples = coder.reduced(*stream, reduction, trellis=file.trellis)
    else:
        samples = coder.decompress(
            *stream, trellis=file.trellis, oracle=oracle, region=region
        )
    if coder.lossless:
        samples = _expected_samples(file, samples)
    return pictures.to_image(replace(picture, rgb=samples, alpha=alpha))


def previews(
    file: Container, find: Callable[[Container], SampleCoder]
) -> tuple[int, ...]:
    """By how much `decode_file` can reduce a file's picture, falling; may be nothing.

    Args:
        file: what `container.read` returned.
        find: as of `decode_file`.
    """
    plain = Tag.ALPHA not in file.sections and Tag.MODE not in file.sections
    if file.stored or not plain:
        return ()
    preview = find(file).preview
    return () if preview is None else preview.reductions(file.quality)


def verify_file(
    data: bytes,
    find: Callable[[Container], SampleCoder],
    *,
    max_pixels: int = MAX_PIXELS,
) -> Container:
    """Checks that all of a file decodes; makes no pixels of latents.

    Args:
        data: the whole file.
        find: as of `decode_file`.
        max_pixels: refuse larger pictures before anything is allocated.

    Returns:
        The file, as it was read.

    Raises:
        CodaxError: as of `decode_with`; and FormatError for a stream that does not end
            where its symbols do.
    """
    file = container.read(data, max_pixels=max_pixels)
    if file.stored:
        _stored_picture(file)
        return file
    coder = find(file)
    _check_coder(coder, file)
    read_beside(file)
    if Tag.ALPHA in file.sections:
        planes.decode_plane(file.sections[Tag.ALPHA], file.height, file.width)
    coder.decode_latents(
        file.stream,
        file.height,
        file.width,
        file.quality,
        trellis=file.trellis,
        checked=True,
    )
    return file


def _stored_picture(file: Container) -> Picture:
    """The picture whose samples, alpha and colours are in its lossless WebP."""
    image = decode_stored(file)
    alpha = np.asarray(image.getchannel("A")) if image.mode == "RGBA" else None
    palette = palette_of(image) if file.sections.get(Tag.MODE) == b"P" else None
    rgb = np.asarray(image.convert("RGB"))
    return replace(read_beside(file), rgb=rgb, alpha=alpha, palette=palette)


def _expected_samples(file: Container, samples: np.ndarray) -> np.ndarray:
    """Samples [H W 3] of a lossless stream, which says by itself what it holds."""
    colours = 1 if file.colour is Colour.GREY else 3
    bits = 8 * samples.dtype.itemsize
    if (samples.shape[2], bits) != (colours, file.bit_depth):
        raise FormatError(
            f"the stream holds {samples.shape[2]} colours of {bits} bits, the header "
            f"says {colours} of {file.bit_depth}; the file is damaged"
        )
    return np.repeat(samples, 3, 2) if colours == 1 else samples


def read_for(
    coder: SampleCoder, data: bytes, *, max_pixels: int = MAX_PIXELS
) -> Container:
    """Reads a file for a coder.

    Args:
        coder: what shall decode it.
        data: the whole file.
        max_pixels: refuse larger pictures.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle, or too large, or a
            stored picture.
        ModelError: other weights wrote it.
    """
    file = container.read(data, max_pixels=max_pixels)
    if file.stored:
        raise UnsupportedError(
            "the file holds a stored picture, with nothing of a codec in it; encode "
            "with `fallback=False`"
        )
    _check_coder(coder, file)
    return file


def _check_coder(coder: SampleCoder, file: Container) -> None:
    """Checks that a file is one of the coder's."""
    if not coder.wrote(file):
        raise wrong_weights(file, coder)
    if file.layered != (coder.layers > 1):
        has = ("has no layers", "has layers")
        raise FormatError(
            f"the file {has[file.layered]}, but {coder.name} {has[coder.layers > 1]}; "
            "the file is damaged"
        )


def wrong_weights(file: Container, coder: SampleCoder) -> ModelError:
    """Says what a file wants and what it was given; names the former if it ships."""
    wanted = f"codec {file.codec_id} with weights {file.weights_hash.hex()}"
    name = cards.name_of(file.codec_id, file.weights_hash)
    if name is not None:
        wanted += f" ({name})"
    return ModelError(
        f"the file wants {wanted}; got {coder.name}, codec {coder.codec_id} with "
        f"weights {coder.weights_hash.hex()}"
    )


def read_beside(file: Container) -> Picture:
    """All that a file says of its picture beside samples and alpha; decodes nothing.

    Args:
        file: what `container.read` returned.

    Returns:
        A picture of 0x0 samples. The palette of a stored picture is not there: it is
        the colours of its samples.

    Raises:
        FormatError: a section is damaged.
    """
    sections = file.sections
    grey = file.colour is Colour.GREY
    mode = "L" if grey else "RGB"
    if file.bit_depth == 16:
        mode = "I;16"
        if {Tag.ALPHA, Tag.MODE, Tag.PALETTE} & sections.keys():
            raise FormatError("alpha or mode beside 16 bits a sample; unknown here")
    if Tag.ALPHA in sections:
        mode = "LA" if grey else "RGBA"
    if Tag.MODE in sections:
        mode = sections[Tag.MODE].decode("ascii", "replace")
        allowed = ("1",) if grey else ("P", "YCbCr", "HSV", "CMYK", "LAB")
        if mode not in allowed or (Tag.ALPHA in sections and mode != "P"):
            raise FormatError(f"picture mode {mode!r} does not fit the coded samples")
    orientation = sections.get(Tag.ORIENTATION, b"\1")
    if len(orientation) != 1 or not 1 <= orientation[0] <= 8:
        raise FormatError(f"orientation is {orientation[:4].hex()}; expected 01 to 08")
    return Picture(
        rgb=np.empty((0, 0, 3), np.uint8),
        mode=mode,
        grey=grey,
        palette=_palette(sections) if mode == "P" and not file.stored else None,
        icc=sections.get(Tag.ICC, b""),
        exif=sections.get(Tag.EXIF, b""),
        xmp=sections.get(Tag.XMP, b""),
        orientation=orientation[0],
    )


def _palette(sections: dict[int, bytes]) -> np.ndarray:
    """The palette of coded samples: uint8[n 3], or [n 4] beside alpha."""
    entry = 4 if Tag.ALPHA in sections else 3
    colours = sections.get(Tag.PALETTE, b"")
    if len(colours) % entry or not entry <= len(colours) <= 256 * entry:
        raise FormatError(
            f"palette has {len(colours)} bytes; expected 1 to 256 times {entry}"
        )
    return np.frombuffer(colours, np.uint8).reshape(-1, entry)
