"""From a picture to the bytes of a `.codax` file: aims, sections, the container."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import numpy as np
from PIL import Image

from codax.coding.samples import SampleCoder
from codax.errors import ConfigError, UnsupportedError
from codax.files import container, pictures, planes
from codax.files.container import Colour, Container, Tag
from codax.files.pictures import Picture
from codax.files.stored import encode_stored

__all__ = ["check_refine", "encode_image"]

METADATA = ("all", "icc", "none")


def encode_image(
    coder: SampleCoder,
    image: Image.Image | np.ndarray | Picture,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_size: int | None = None,
    target_psnr: float | None = None,
    lossless: bool = False,
    refine: int = 0,
    metadata: str = "all",
    fallback: bool = True,
) -> bytes:
    """Encodes a picture to the bytes of a file.

    Where lossless WebP takes fewer bytes than the coder, or fits into a target of size,
    or alone reaches a PSNR, the file is of that: see `codax.files.stored`.

    The targets are searched by bisection over the 201 half steps of quality, on real
    files (at most nine). A target of size or bpp is never exceeded; a target of PSNR is
    never missed. A target that no quality reaches is an error.

    Args:
        coder: what codes the samples.
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
        fallback: False always gives a file of the coder's.

    Returns:
        The bytes of the file.

    Raises:
        ImageError: a picture that cannot be read.
        UnsupportedError: a kind of picture that is not coded, or a target that no
            quality reaches.
        ConfigError: a value out of range, or more than one aim.
    """
    half_steps = _half_steps(coder, quality, target_bpp, target_size, target_psnr)
    if lossless and not coder.lossless:
        raise ConfigError(
            f"{coder.name} has no lossless path; `codax models` names codecs that have"
        )
    check_refine(coder, refine)
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
    if picture.rgb.dtype == np.uint16 and not coder.lossless:
        raise UnsupportedError(
            f"picture has 16 bits a sample; {coder.name} codes 8; use a lossless codec "
            "or convert it first, for example with `magick IN -depth 8 OUT`"
        )
    sections = _sections(picture, metadata)
    limit = target_size
    if target_bpp is not None:
        limit = math.floor(target_bpp * picture.rgb[..., 0].size / 8)

    def stored_within(limit: float) -> bytes | None:
        if not fallback:
            return None
        return encode_stored(picture, sections, limit=limit, thorough=coder.lossless)

    def coded() -> bytes:
        return _coded(
            coder, picture, sections, half_steps, limit or 0, target_psnr, refine
        )

    if limit is not None:
        return stored_within(limit) or coded()
    try:
        data = coded()
    except UnsupportedError:
        # A PSNR beyond the coder's reach: without loss it is met.
        if target_psnr is None or not (found := stored_within(math.inf)):
            raise
        return found
    return stored_within(len(data)) or data


def _coded(
    coder: SampleCoder,
    picture: Picture,
    sections: dict[int, bytes],
    half_steps: int | None,
    limit: int,
    target_psnr: float | None,
    refine: int,
) -> bytes:
    """The file of the coder at a quality, or at that which meets one of the targets."""
    samples = picture.samples if coder.lossless else picture.rgb
    height, width = samples.shape[:2]
    streams: dict[int, bytes] = {}

    def file_at(trial: int) -> bytes:
        if trial not in streams:
            streams[trial] = coder.compress(samples, trial, refine=refine)
        return container.write(
            Container(
                codec_id=coder.codec_id,
                weights_hash=coder.weights_hash,
                width=width,
                height=height,
                quality=trial,
                stream=streams[trial],
                layered=coder.layers > 1,
                trellis=coder.dependent(trial, refine=refine),
                colour=Colour.GREY if picture.grey else Colour.RGB,
                bit_depth=8 * samples.dtype.itemsize,
                sections=sections,
            )
        )

    def psnr_at(trial: int) -> float:
        file_at(trial)
        if coder.lossless:
            return math.inf
        dependent = coder.dependent(trial, refine=refine)
        decoded = coder.decompress(
            streams[trial], height, width, trial, trellis=dependent
        )
        return _psnr(picture, decoded)

    if half_steps is not None:
        return file_at(half_steps)
    if target_psnr is not None:
        return file_at(_lowest_reaching(coder, psnr_at, target_psnr))
    return file_at(_highest_within(coder, lambda trial: len(file_at(trial)), limit))


def check_refine(coder: SampleCoder, refine: int) -> None:
    """Checks steps of refining.

    Args:
        coder: what codes the samples.
        refine: how many.

    Raises:
        ConfigError: the codec has nothing to refine, or less than no steps.
    """
    if not isinstance(refine, int) or isinstance(refine, bool):
        raise ConfigError(f"refine is {refine!r}; expected a number of steps")
    if refine and not coder.refines:
        raise ConfigError(f"{coder.name} has no latents that can be refined")
    if refine < 0:
        raise ConfigError(f"refine is {refine}; expected a number of steps, 0 or more")


def _half_steps(
    coder: SampleCoder,
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
        if name == "quality":
            continue
        if not _is_number(value) or not 0 < value < math.inf:  # type: ignore[operator]
            raise ConfigError(f"{name} is {value!r}; expected a positive number")
    if given and quality is None:
        return None
    low, high = coder.qualities
    quality = max(low, min(75, high)) if quality is None else quality
    if not _is_number(quality):
        raise ConfigError(
            f"quality is {quality!r}; expected a number of {low} to {high}"
        )
    if not low <= quality <= high:
        raise ConfigError(
            f"quality is {quality}; expected {low} to {high}, as {coder.name} supports"
        )
    return round(2 * quality)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _highest_within(
    coder: SampleCoder, size_at: Callable[[int], int], limit: int
) -> int:
    """Finds the highest quality, in half steps, whose file is within the limit."""
    low, high = (2 * quality for quality in coder.qualities)
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
    coder: SampleCoder, psnr_at: Callable[[int], float], target: float
) -> int:
    """Finds the lowest quality, in half steps, whose PSNR reaches the target."""
    low, high = (2 * quality for quality in coder.qualities)
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
