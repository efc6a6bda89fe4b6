"""Many pictures to files and back: a result or an error for each. No JAX.

On an accelerator pictures of one size class run in batches of a fixed size, so that a
program is compiled once, and the bytes of a file depend neither on the pictures beside
it nor on its place. On a processor one picture at a time is fastest: a network takes
all its cores.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

from PIL import Image

from codax.coding.gathering import gathered
from codax.coding.order import extent
from codax.coding.samples import SampleCoder
from codax.errors import ConfigError
from codax.face.decoding import decode_file
from codax.face.encoding import encode_image
from codax.files import container, pictures
from codax.files.container import Container
from codax.files.pictures import Picture

__all__ = ["decode_many", "encode_many"]

T = TypeVar("T")
Work = Callable[[SampleCoder, Any], T]


def encode_many(
    coder: SampleCoder, images: Iterable[Any], batch: int | None, **options: Any
) -> list[bytes | Exception]:
    """Encodes pictures.

    Args:
        coder: what codes the samples.
        images: as `encode_image` takes them.
        batch: pictures at a time; None for what is fast on this device.
        **options: those of `encode_image`.

    Returns:
        For each picture the bytes of its file, or what was wrong with it.

    Raises:
        ConfigError: an option out of range.
        TypeError: no such option.
    """
    unknown = sorted(options.keys() - inspect.signature(encode_image).parameters.keys())
    if unknown:
        raise TypeError(f"encode_many() got an unexpected keyword {unknown[0]!r}")
    # What cannot be read costs no place in a batch.
    read = [_tried(partial(_taken_apart, image)) for image in images]
    return _each(
        coder,
        read,
        lambda picture: picture.rgb.shape[:2],
        lambda own, picture: encode_image(own, picture, **options),
        batch,
    )


def decode_many(
    coder: SampleCoder, files: Iterable[bytes], batch: int | None, *, max_pixels: int
) -> list[Image.Image | Exception]:
    """Decodes files.

    Args:
        coder: of the weights that wrote them.
        files: whole files.
        batch: pictures at a time; None for what is fast on this device.
        max_pixels: of each picture.

    Returns:
        For each file its picture, or what was wrong with it.

    Raises:
        ConfigError: a limit that is none, or a batch that the runtime cannot do.
    """
    read = [
        _tried(partial(container.read, data, max_pixels=max_pixels)) for data in files
    ]
    return _each(
        coder,
        read,
        lambda file: (file.height, file.width),
        lambda own, file: decode_file(file, lambda _: own),
        batch,
    )


def _taken_apart(image: Any) -> Picture:
    return image if isinstance(image, Picture) else pictures.from_image(image)


def _each(
    coder: SampleCoder,
    items: Sequence[Picture | Container | Exception],
    size_of: Callable[[Any], tuple[int, int]],
    work: Work[T],
    batch: int | None,
) -> list[T | Exception]:
    """Does what can be done, in batches of one size class; results in turn."""
    size = _checked(coder, batch)
    results: list[Any] = [_of_picture(item) for item in items]
    own = coder
    if size > 1:
        own = copy.copy(coder)
        own.runtime = coder.runtime.batched(size)

    def class_of(place: int) -> tuple[int, ...]:
        cells = extent(*size_of(items[place]))
        return tuple(
            next((b for b in coder.runtime.buckets if side <= b), side)
            for side in cells
        )

    todo = [n for n, item in enumerate(items) if not isinstance(item, Exception)]
    groups = [todo]
    if size > 1:
        groups = [list(g) for _, g in groupby(sorted(todo, key=class_of), class_of)]
    for alike in groups:
        for begin in range(0, len(alike), size):
            now = alike[begin : begin + size]
            jobs = [partial(_tried, partial(work, own, items[n])) for n in now]
            found = gathered(jobs) if size > 1 else [jobs[0]()]
            for place, result in zip(now, found, strict=True):
                results[place] = _of_picture(result)
    return results


def _of_picture(result: T) -> T:
    """A result, or an error that is one picture's; what is of the call is raised."""
    if isinstance(result, ConfigError):
        raise result
    return result


def _checked(coder: SampleCoder, batch: int | None) -> int:
    """How many pictures at a time.

    Raises:
        ConfigError: a number that cannot be.
    """
    if batch is None:
        return coder.runtime.batch
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise ConfigError(f"batch is {batch!r}; expected a whole number from 1 up")
    if batch > 1 and not hasattr(coder.runtime, "batched"):
        raise ConfigError(
            f"batch is {batch}; ONNX Runtime takes one picture at a time: leave it "
            'out, or load the codec with `runtime="jax"`'
        )
    return batch


def _tried(job: Callable[[], T]) -> T | Exception:
    """The result of a job, or its error: one picture must not cost the others."""
    try:
        return job()
    except Exception as error:
        return error
