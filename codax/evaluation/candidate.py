"""A codec as the bench sees it, whether it is one of codax or a classical one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from codax import __version__
from codax.coding.effort import DEFAULT_EFFORT, effort_of
from codax.coding.samples import SampleCoder
from codax.files.container import quality_of_layers

__all__ = ["LEARNED_QUALITIES", "FileCodec", "learned"]

# The headline rule's qualities of a codax codec.
LEARNED_QUALITIES = tuple(float(quality) for quality in range(5, 100, 10))


@dataclass(frozen=True, kw_only=True)
class FileCodec:
    """A codec that turns RGB pictures into the bytes of files and back.

    Attributes:
        name: what rows and reports call it.
        settings: what a reader needs to repeat the run, versions among it; JSON values.
        qualities: the settings of a sweep, rising; higher is better.
        step: the smallest difference of quality that the codec knows.
        encode: (RGB picture, quality) to the bytes of a file.
        decode: bytes to an RGB picture.
        warm_up: whether the first run on each size of picture compiles something, and
            so is repeated before it is timed.
    """

    name: str
    settings: Mapping[str, Any]
    qualities: tuple[float, ...]
    encode: Callable[[Image.Image, float], bytes]
    decode: Callable[[bytes], Image.Image]
    step: float = 1.0
    warm_up: bool = field(default=False, repr=False)


class LearnedCodec(Protocol):
    """What the bench needs of a codec of `codax.load`."""

    @property
    def name(self) -> str:
        """The name of its weights."""
        ...

    @property
    def coder(self) -> SampleCoder:
        """Samples to streams: what it supports."""
        ...

    def encode(
        self,
        picture: Image.Image,
        /,
        *,
        quality: float = 75,
        effort: int = DEFAULT_EFFORT,
        fallback: bool = True,
    ) -> bytes:
        """The bytes of a .codax file."""
        ...

    def decode(self, data: bytes, /) -> Image.Image:
        """The decoded picture."""
        ...


def learned(codec: LearnedCodec, *, effort: int = DEFAULT_EFFORT) -> FileCodec:
    """A codec of `codax.load` for the bench.

    Args:
        codec: what of it is needed.
        effort: of the encoder, 1 to 9; with another than the default the codec is
            called `NAME@eN`.

    Returns:
        The same codec, without the stored form, at those qualities of the headline rule
        that it supports; one whose quality picks layers at a quality for each.

    Raises:
        ConfigError: no such effort.
    """
    effort_of(effort)
    low, high = codec.coder.qualities
    supported = tuple(q for q in LEARNED_QUALITIES if low <= q <= high)
    if codec.coder.layers > 1:
        every = range(1, codec.coder.layers + 1)
        supported = tuple(quality_of_layers(n, codec.coder.layers) / 2 for n in every)
    settings = {"codax": __version__, "weights": codec.coder.weights_hash.hex()}
    other = effort != DEFAULT_EFFORT
    if other:
        settings["effort"] = str(effort)
    return FileCodec(
        name=f"{codec.name}@e{effort}" if other else codec.name,
        settings=settings,
        qualities=supported or (float(high),),
        encode=lambda picture, quality: codec.encode(
            picture, quality=quality, effort=effort, fallback=False
        ),
        decode=lambda data: codec.decode(data).convert("RGB"),
        step=0.5,
        warm_up=True,
    )
