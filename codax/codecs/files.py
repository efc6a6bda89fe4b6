"""From a picture to the bytes of a `.codax` file and back, with any codec."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from codax.codecs import cards, container, pictures, planes
from codax.codecs.container import MAX_PIXELS, Colour, Container, Tag
from codax.codecs.info import read_info
from codax.codecs.pictures import Picture
from codax.errors import ConfigError, FormatError, ModelError, UnsupportedError

if TYPE_CHECKING:
    from codax.codecs.codec import Codec

__all__ = [
    "check_refine",
    "decode_image",
    "encode_image",
    "find_codec",
    "read_for",
    "read_info",
]

METADATA = ("all", "icc", "none")


def encode_image(
    codec: Codec,
    image: Image.Image | np.ndarray | Picture,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_size: int | None = None,
    target_psnr: float | None = None,
    lossless: bool = False,
    refine: int = 0,
    metadata: str = "all",
) -> bytes:
    """Encodes a picture to the bytes of a file.

    The targets are searched by bisection over the 201 half steps of quality, on real
    files (at most nine). A target of size or bpp is never exceeded; a target of PSNR is
    never missed. A target that no quality reaches is an error.

    Args:
        codec: what codes the samples.
        image: a Pillow picture, an array as `pictures.from_image` takes, or a
            `Picture` taken apart before.
        quality: what the codec supports within 0..100, rounded to half steps; 75, or
            the nearest to it, if neither it nor a target is given.
        target_bpp: bits of the whole file per pixel, at most.
        target_size: bytes of the whole file, at most.
        target_psnr: dB over the decoded 8-bit samples, at least.
        lossless: refuse what does not come back to the last bit.
        refine: steps of gradient descent on the latents of each file that is tried:
            smaller files at equal PSNR for more of the encoder's time.
        metadata: `all` keeps ICC, EXIF and XMP, `icc` the profile, `none` nothing; the
            orientation is kept always, since the picture lies wrong without it.

    Returns:
        The bytes of the file.

    Raises:
        ImageError: a picture that cannot be read.
        UnsupportedError: a kind of picture that is not coded, or a target that no
            quality reaches.
        ConfigError: a value out of range, or more than one aim.
    """
    half_steps = _half_steps(codec, quality, target_bpp, target_size, target_psnr)
    if lossless and not codec.lossless:
        raise ConfigError(
            f"{codec.name} has no lossless path; `codax models` names codecs that have"
        )
    check_refine(codec, refine)
    if metadata not in METADATA:
        raise ConfigError(
            f"metadata is {metadata!r}; expected one of {', '.join(METADATA)}"
        )
    picture = image if isinstance(image, Picture) else pictures.from_image(image)
    if lossless and not picture.exact:
        raise UnsupportedError(
            f"picture mode {picture.mode!r} is coded as RGB or grey, which is not "
            "lossless; convert it first"
        )
    deep = picture.rgb.dtype == np.uint16
    if deep and not codec.lossless:
        raise UnsupportedError(
            f"picture has 16 bits a sample; {codec.name} codes 8; use a lossless codec "
            "or convert it first, for example with `magick IN -depth 8 OUT`"
        )
    sections = _sections(picture, metadata)
    samples = picture.samples if codec.lossless else picture.rgb
    height, width = samples.shape[:2]
    streams: dict[int, bytes] = {}

    def file_at(trial: int) -> bytes:
        if trial not in streams:
            streams[trial] = codec.compress(samples, trial, refine=refine)
        return container.write(
            Container(
                codec_id=codec.codec_id,
                weights_hash=codec.weights_hash,
                width=width,
                height=height,
                quality=trial,
                stream=streams[trial],
                layered=codec.layers > 1,
                colour=Colour.GREY if picture.grey else Colour.RGB,
                bit_depth=16 if deep else 8,
                sections=sections,
            )
        )

    def psnr_at(trial: int) -> float:
        file_at(trial)
        if codec.lossless:
            return math.inf
        decoded = codec.decompress(streams[trial], height, width, trial)
        return _psnr(picture, decoded)

    if half_steps is not None:
        return file_at(half_steps)
    if target_psnr is not None:
        return file_at(_lowest_reaching(codec, psnr_at, target_psnr))
    limit = target_size or math.floor((target_bpp or 0) * width * height / 8)
    return file_at(_highest_within(codec, lambda trial: len(file_at(trial)), limit))


def check_refine(codec: Any, refine: int) -> None:
    """Checks steps of refining.

    Args:
        codec: has `name` and `refines`.
        refine: how many.

    Raises:
        ConfigError: the codec has nothing to refine, or less than no steps.
    """
    if refine and not codec.refines:
        raise ConfigError(f"{codec.name} has no latents that can be refined")
    if refine < 0:
        raise ConfigError(f"refine is {refine}; expected a number of steps, 0 or more")


def decode_image(
    data: bytes,
    *,
    codec: Codec | None = None,
    weights: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
    oracle: bool = False,
) -> Image.Image:
    """Decodes the bytes of a file.

    Args:
        data: the whole file.
        codec: the codec that wrote it; found by the file's hash if None.
        weights: path of the user's own weights, instead of those that ship.
        max_pixels: refuse larger pictures before anything is allocated.
        oracle: decode the probabilities with NumPy integers instead of JAX.

    Returns:
        The picture in its mode, with `icc_profile`, `exif` and `xmp` in its `info`.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle, or too large.
        ModelError: the weights that wrote the file are not at hand, or are others.
    """
    if codec is None:
        file = container.read(data, max_pixels=max_pixels)
        codec = find_codec(file, weights)
    file = read_for(codec, data, max_pixels=max_pixels)
    if file.bit_depth != 8 and not codec.lossless:
        raise UnsupportedError(
            f"{file.bit_depth} bits a sample, but {codec.name} decodes 8; the file is "
            "damaged"
        )
    picture_of = _open_sections(file)
    samples = codec.decompress(
        file.stream, file.height, file.width, file.quality, oracle=oracle
    )
    if codec.lossless:
        samples = _expected_samples(file, samples)
    return pictures.to_image(picture_of(samples))


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


def read_for(codec: Codec, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Container:
    """Reads a file for a codec.

    Args:
        codec: what shall decode it.
        data: the whole file.
        max_pixels: refuse larger pictures.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle, or too large.
        ModelError: other weights wrote it.
    """
    file = container.read(data, max_pixels=max_pixels)
    if (codec.codec_id, codec.weights_hash) != (file.codec_id, file.weights_hash):
        raise _wrong_weights(file, codec)
    if file.layered != (codec.layers > 1):
        has = ("has no layers", "has layers")
        raise FormatError(
            f"the file {has[file.layered]}, but {codec.name} {has[codec.layers > 1]}; "
            "the file is damaged"
        )
    return file


def find_codec(file: Container, weights: str | Path | None = None) -> Codec:
    """Loads the codec that wrote a file.

    Args:
        file: what `container.read` returned.
        weights: path of the user's own weights; None looks among those that ship.

    Raises:
        ModelError: the weights are not at hand, or `weights` are others.
    """
    # Imported late: it loads JAX, which `codax info` and damaged files do not need.
    if weights is None:
        card = cards.find_by_hash(file.codec_id, file.weights_hash)
        from codax.codecs.zoo import load

        codec = load(card.name)
    else:
        from codax.codecs.zoo import load

        codec = load(str(weights))
    if (codec.codec_id, codec.weights_hash) != (file.codec_id, file.weights_hash):
        raise _wrong_weights(file, codec)
    return codec


def _wrong_weights(file: Container, codec: Codec) -> ModelError:
    """Says what a file wants and what it was given; names the former if it ships."""
    wanted = f"codec {file.codec_id} with weights {file.weights_hash.hex()}"
    try:
        wanted += f" ({cards.find_by_hash(file.codec_id, file.weights_hash).name})"
    except ModelError:
        pass
    return ModelError(
        f"the file wants {wanted}; got {codec.name}, codec {codec.codec_id} with "
        f"weights {codec.weights_hash.hex()}"
    )


def _half_steps(
    codec: Codec,
    quality: float | None,
    target_bpp: float | None,
    target_size: int | None,
    target_psnr: float | None,
) -> int | None:
    """Checks the one aim that is allowed; returns half steps unless it is a target."""
    aims = {
        "quality": quality,
        "target_bpp": target_bpp,
        "target_size": target_size,
        "target_psnr": target_psnr,
    }
    given = [name for name, value in aims.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} exclude each other; give one of them")
    for name in given[:1]:
        value = aims[name]
        if name != "quality" and not 0 < value < math.inf:  # type: ignore[operator]
            raise ConfigError(f"{name} is {value}; expected a positive number")
    if given and quality is None:
        return None
    low, high = codec.qualities
    quality = max(low, min(75, high)) if quality is None else quality
    if not low <= quality <= high:
        raise ConfigError(
            f"quality is {quality}; expected {low} to {high}, as {codec.name} supports"
        )
    return round(2 * quality)


def _highest_within(codec: Codec, size_at: Callable[[int], int], limit: int) -> int:
    """Finds the highest quality, in half steps, whose file is within the limit."""
    low, high = (2 * quality for quality in codec.qualities)
    smallest = size_at(low)
    if smallest > limit:
        raise UnsupportedError(
            f"a target of {limit} bytes is out of reach: quality {low / 2:g} takes "
            f"{smallest}; raise the target"
        )
    if size_at(high) <= limit:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if size_at(middle) <= limit:
            low = middle
        else:
            high = middle
    return low


def _lowest_reaching(
    codec: Codec, psnr_at: Callable[[int], float], target: float
) -> int:
    """Finds the lowest quality, in half steps, whose PSNR reaches the target."""
    low, high = (2 * quality for quality in codec.qualities)
    best = psnr_at(high)
    if best < target:
        raise UnsupportedError(
            f"a target of {target:g} dB is out of reach: quality {high / 2:g} gives "
            f"{best:.2f}; lower the target"
        )
    if psnr_at(low) >= target:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        if psnr_at(middle) >= target:
            high = middle
        else:
            low = middle
    return high


def _psnr(picture: Picture, decoded: np.ndarray) -> float:
    """Returns the PSNR of the samples, in dB; of the luma where the picture is grey."""
    reference = picture.rgb
    if picture.grey:
        decoded = np.asarray(Image.fromarray(decoded).convert("L"))
        reference = reference[..., 0]
    error = float(np.mean((reference.astype(np.float32) - decoded) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def _sections(picture: Picture, metadata: str) -> dict[int, bytes]:
    """Writes what stands beside the stream, in the order of the file."""
    sections: dict[int, bytes] = {}
    if picture.alpha is not None:
        sections[Tag.ALPHA] = planes.encode_plane(picture.alpha)
    if picture.mode not in ("L", "LA", "I;16", "RGB", "RGBA"):
        sections[Tag.MODE] = picture.mode.encode()
    if picture.palette is not None:
        sections[Tag.PALETTE] = picture.palette.tobytes()
    if picture.icc and metadata != "none":
        sections[Tag.ICC] = picture.icc
    if picture.exif and metadata == "all":
        sections[Tag.EXIF] = picture.exif
    if picture.xmp and metadata == "all":
        sections[Tag.XMP] = picture.xmp
    if picture.orientation != 1 and Tag.EXIF not in sections:
        sections[Tag.ORIENTATION] = bytes([picture.orientation])
    return sections


def _open_sections(file: Container) -> Callable[[np.ndarray], Picture]:
    """Reads the sections; returns what makes a picture of the decoded samples.

    The sections come first, since they are quick to refuse and the samples slow.
    """
    sections = file.sections
    grey = file.colour is Colour.GREY
    alpha = palette = None
    mode = "L" if grey else "RGB"
    if file.bit_depth == 16:
        mode = "I;16"
        if {Tag.ALPHA, Tag.MODE, Tag.PALETTE} & sections.keys():
            raise FormatError("alpha or mode beside 16 bits a sample; unknown here")
    if Tag.ALPHA in sections:
        alpha = planes.decode_plane(sections[Tag.ALPHA], file.height, file.width)
        mode = "LA" if grey else "RGBA"
    if Tag.MODE in sections:
        mode = sections[Tag.MODE].decode("ascii", "replace")
        allowed = ("1",) if grey else ("P", "YCbCr", "HSV", "CMYK", "LAB")
        if mode not in allowed or (alpha is not None and mode != "P"):
            raise FormatError(f"picture mode {mode!r} does not fit the coded samples")
    if mode == "P":
        entry = 3 if alpha is None else 4
        colours = sections.get(Tag.PALETTE, b"")
        if len(colours) % entry or not entry <= len(colours) <= 256 * entry:
            raise FormatError(
                f"palette has {len(colours)} bytes; expected 1 to 256 times {entry}"
            )
        palette = np.frombuffer(colours, np.uint8).reshape(-1, entry)
    orientation = sections.get(Tag.ORIENTATION, b"\1")
    if len(orientation) != 1 or not 1 <= orientation[0] <= 8:
        raise FormatError(f"orientation is {orientation[:4].hex()}; expected 01 to 08")

    def picture_of(rgb: np.ndarray) -> Picture:
        return Picture(
            rgb=rgb,
            mode=mode,
            grey=grey,
            alpha=alpha,
            palette=palette,
            icc=sections.get(Tag.ICC, b""),
            exif=sections.get(Tag.EXIF, b""),
            xmp=sections.get(Tag.XMP, b""),
            orientation=orientation[0],
        )

    return picture_of
