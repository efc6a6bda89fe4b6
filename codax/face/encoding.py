"""From a picture to the bytes of a `.codax` file: aims, sections, the container."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from numbers import Real

import numpy as np
from PIL import Image

from codax.coding.effort import DEFAULT_EFFORT, Effort, effort_of
from codax.coding.samples import SampleCoder
from codax.coding.telling import part
from codax.errors import ConfigError, UnsupportedError
from codax.files import container, pictures, planes
from codax.files.container import Colour, Container, Tag
from codax.files.pictures import Picture
from codax.files.stored import encode_stored

__all__ = ["encode_image", "half_steps"]

METADATA = ("all", "icc", "none")
Search = Callable[["_Files", int | None], int]
_CHEAP = 0.2
"""Of what is told: the search with cheap files."""


def encode_image(
    coder: SampleCoder,
    image: Image.Image | np.ndarray | Picture,
    *,
    quality: float | None = None,
    target_bpp: float | None = None,
    target_size: int | None = None,
    target_psnr: float | None = None,
    lossless: bool = False,
    effort: int = DEFAULT_EFFORT,
    metadata: str = "all",
    fallback: bool = True,
) -> bytes:
    """Encodes a picture to the bytes of a file.

    Where lossless WebP takes fewer bytes than the coder, or fits into a target of size,
    or alone reaches a PSNR, the file is of that: see `codax.files.stored`.

    The targets are searched by bisection over the 201 half steps of quality, on real
    files. A target of size or bpp is never exceeded; a target of PSNR is
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
        effort: how long to look for a smaller file at equal PSNR, 1 to 9, see
            `codax.coding.effort`. Targets are searched with less of it first.
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
    at = _aim(coder, quality, target_bpp, target_size, target_psnr)
    if lossless and not coder.lossless:
        raise ConfigError(
            f"{coder.name} has no lossless path; `codax models` names codecs that have"
        )
    does = effort_of(effort)
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
        files = _Files(coder, picture, sections, does)
        low, high = (2 * quality for quality in coder.qualities)
        if at is not None:
            return files.at(at)
        if target_psnr is not None:
            return files.meeting(partial(_lowest_reaching, coder, target_psnr), high)
        return files.meeting(partial(_highest_within, coder, limit or 0), low)

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


class _Files:
    """The files of one picture by quality, each made once."""

    def __init__(
        self,
        coder: SampleCoder,
        picture: Picture,
        sections: dict[int, bytes],
        effort: Effort,
    ):
        if not coder.refines:
            effort = effort.searching
        self._coder, self._picture, self._sections = coder, picture, sections
        self._effort = effort
        self._samples = picture.samples if coder.lossless else picture.rgb
        self._streams: dict[int, bytes] = {}

    def at(self, quality: int) -> bytes:
        """The file of a quality in half steps."""
        coder = self._coder
        height, width = self._samples.shape[:2]
        return container.write(
            Container(
                codec_id=coder.codec_id,
                weights_hash=coder.weights_hash,
                width=width,
                height=height,
                quality=quality,
                stream=self._stream(quality),
                layered=coder.layers > 1,
                trellis=self._dependent(quality),
                colour=Colour.GREY if self._picture.grey else Colour.RGB,
                bit_depth=8 * self._samples.dtype.itemsize,
                sections=self._sections,
            )
        )

    def meeting(self, search: Search, unmet: int) -> bytes:
        """The file of the quality that a search finds, with cheap files first.

        Args:
            search: finds the quality among files, near one or from nothing.
            unmet: where to look if no cheap file meets the target; more effort may.
        """
        near, begun = None, 0.0
        if self._effort != self._effort.searching:
            parts = self._coder, self._picture, self._sections
            begun = _CHEAP
            try:
                with part(0.0, begun):
                    near = search(_Files(*parts, self._effort.searching), None)
            except UnsupportedError:
                near = unmet
        with part(begun, 1.0):
            return self.at(search(self, near))

    def _stream(self, quality: int) -> bytes:
        if quality not in self._streams:
            self._streams[quality] = self._coder.compress(
                self._samples, quality, **asdict(self._effort)
            )
        return self._streams[quality]

    def _dependent(self, quality: int) -> bool:
        does = self._effort
        return self._coder.dependent(quality, refine=does.refine, search=does.search)

    def psnr(self, quality: int) -> float:
        """PSNR of the samples, in dB; of the luma where the picture is grey."""
        if self._coder.lossless:
            return math.inf
        reference = self._picture.rgb
        height, width = reference.shape[:2]
        with part(0.0, 0.5):
            stream = self._stream(quality)
        with part(0.5, 1.0):
            decoded = self._coder.decompress(
                stream, height, width, quality, trellis=self._dependent(quality)
            )
        if self._picture.grey:
            decoded = np.asarray(Image.fromarray(decoded).convert("L"))
            reference = reference[..., 0]
        error = float(np.mean((reference.astype(np.float32) - decoded) ** 2))
        return 10 * math.log10(255**2 / error) if error else math.inf


def half_steps(coder: SampleCoder, quality: float) -> int:
    """A quality as files have it.

    Args:
        coder: what has to support it.
        quality: within 0..100, rounded to half steps.

    Returns:
        0..200.

    Raises:
        ConfigError: no number, or not one that the coder supports.
    """
    low, high = coder.qualities
    if not _is_number(quality):
        raise ConfigError(
            f"quality is {quality!r}; expected a number of {low} to {high}"
        )
    if not low <= quality <= high:
        raise ConfigError(
            f"quality is {quality}; expected {low} to {high}, as {coder.name} supports"
        )
    return round(2 * quality)


def _aim(
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
    return half_steps(coder, max(low, min(75, high)) if quality is None else quality)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _highest_within(
    coder: SampleCoder, limit: int, files: _Files, near: int | None
) -> int:
    """Finds the highest quality, in half steps, whose file is within the limit."""
    low, high = (2 * quality for quality in coder.qualities)
    found = _highest(lambda trial: len(files.at(trial)) <= limit, low, high, near)
    if found < low:
        raise UnsupportedError(
            f"a target of {limit} bytes is out of reach: quality {low / 2:g} takes "
            f"{len(files.at(low))}; raise the target"
        )
    return found


def _lowest_reaching(
    coder: SampleCoder, target: float, files: _Files, near: int | None
) -> int:
    """Finds the lowest quality, in half steps, whose PSNR reaches the target."""
    low, high = (2 * quality for quality in coder.qualities)
    before = None if near is None else near - 1
    found = 1 + _highest(lambda trial: files.psnr(trial) < target, low, high, before)
    if found > high:
        raise UnsupportedError(
            f"a target of {target:g} dB is out of reach: quality {high / 2:g} gives "
            f"{files.psnr(high):.2f}; lower the target"
        )
    return found


def _highest(
    holds: Callable[[int], bool], low: int, high: int, near: int | None
) -> int:
    """The highest number that holds, where all below it do; low - 1 if none does.

    Args:
        holds: whether a number does.
        low: the lowest number.
        high: the highest.
        near: where to look first, in steps that grow; None for bisection.
    """
    at, step = (low + high) // 2 if near is None else min(max(near, low), high), 2
    known, fails, told = low - 1, high + 1, 0.0
    while fails - known > 1:
        # Each trial is its part of what bisection has still to do.
        trials = (fails - known - 1).bit_length()
        begun, told = told, told + (1 - told) / trials
        with part(begun, told):
            found = holds(at)
        if found:
            known = at
        else:
            fails = at
        at = (known + fails) // 2
        if near is not None and fails > high:
            at = min(known + step, high)
        elif near is not None and known < low:
            at = max(fails - step, low)
        step *= 4
    return known


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
    for tag, payload in sections.items():
        container.check_section(tag, len(payload))
    return sections
