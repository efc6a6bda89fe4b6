"""Columns of pictures to columns of files and back, a batch of rows at a time.

Rows come as Ray Data and Hugging Face's `datasets` have them, a dictionary of columns;
neither is imported here. What fails says so in its own row, and costs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from codax.errors import CodaxError, ConfigError, UnsupportedError
from codax.face.codec import Codec
from codax.files.container import MAX_PIXELS
from codax.files.opening import first_line, open_image

__all__ = ["Decode", "Encode"]

Many = Callable[[list[Any]], Sequence[Any]]
"""Things to results or errors, in turn."""


class Encode:
    """Encodes a column of pictures.

    Rows lose the pictures and get two columns: the files, and what was wrong; a row has
    an empty one of both.

    Example:
        >>> import ray, codax.ray                           # doctest: +SKIP
        >>> rows = ray.data.read_binary_files("photos", include_paths=True)
        ...                                                 # doctest: +SKIP
        >>> coded = rows.map_batches(                       # doctest: +SKIP
        ...     codax.ray.Encode,
        ...     fn_constructor_args=[codax.load()],
        ...     fn_constructor_kwargs={"quality": 60},
        ...     batch_size=32,
        ...     concurrency=8,
        ... )
    """

    def __init__(
        self,
        codec: Codec,
        *,
        column: str = "bytes",
        output: str = "codax",
        batch: int | None = None,
        retries: int = 2,
        **options: Any,
    ):
        """Takes what all rows share.

        Args:
            codec: of `codax.load`; travels as the hash of its weights.
            column: of the bytes of picture files, Pillow pictures, or arrays.
            output: the column of files, bytes; beside it is `<output>_error`, text.
            batch: as of `Codec.encode_many`.
            retries: how often a picture is tried again whose error is none of codax's,
                such as a lack of memory.
            **options: of `Codec.encode_many`, such as `quality`.
        """
        self._codec, self._column, self._output = codec, column, output
        self._retries = retries
        self._options = {"batch": batch, **options}

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Encodes the pictures of rows.

        Args:
            rows: columns of equal length.

        Raises:
            ConfigError: no such column, or an option out of range.
        """

        def work(pictures: list[Any]) -> Sequence[Any]:
            return self._codec.encode_many(pictures, **self._options)

        names = self._column, self._output
        return _replaced(rows, names, _opened, work, self._retries, b"")


class Decode:
    """Decodes a column of files to arrays.

    Rows lose the files and get two columns: the pictures, and what was wrong; a row has
    an empty one of both.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        column: str = "codax",
        output: str = "image",
        mode: str = "RGB",
        batch: int | None = None,
        max_pixels: int = MAX_PIXELS,
        retries: int = 2,
    ):
        """Takes what all rows share.

        Args:
            codec: whose weights made the files; travels as their hash.
            column: of `.codax` files, bytes.
            output: the column of pictures, uint8[H W 3]; beside it is
                `<output>_error`, text.
            mode: Pillow's, which all pictures are converted to: RGB, or RGBA or L.
            batch: as of `Codec.decode_many`.
            max_pixels: likewise.
            retries: as of `Encode`.
        """
        self._codec, self._column, self._output = codec, column, output
        self._mode, self._retries = mode, retries
        self._options: Any = {"batch": batch, "max_pixels": max_pixels}

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """Decodes the files of rows.

        Args:
            rows: columns of equal length.

        Raises:
            ConfigError: no such column, or an option out of range.
        """

        def work(files: list[Any]) -> Sequence[Any]:
            found = self._codec.decode_many(files, **self._options)
            return _each(self._pixels, found)

        bands = Image.getmodebands(self._mode)
        nothing = np.zeros((0, 0) if bands == 1 else (0, 0, bands), np.uint8)
        names = self._column, self._output
        return _replaced(rows, names, bytes, work, self._retries, nothing)

    def _pixels(self, image: Image.Image) -> np.ndarray:
        """A picture's samples in the wanted mode."""
        if image.mode == "I;16":
            raise UnsupportedError(
                "picture has 16 bits a sample, which a column of 8 bits cannot hold"
            )
        return np.asarray(image.convert(self._mode))


def _opened(source: Any) -> Any:
    """A picture: of the bytes of a file, else what it is."""
    return open_image(source) if isinstance(source, bytes) else source


def _each(do: Callable[[Any], Any], things: Iterable[Any]) -> list[Any]:
    """What comes of each; errors stay, and become."""
    found: list[Any] = []
    for thing in things:
        try:
            found.append(thing if isinstance(thing, Exception) else do(thing))
        except Exception as error:
            found.append(error)
    return found


def _results(
    sources: Iterable[Any], read: Callable[[Any], Any], work: Many, retries: int
) -> list[Any]:
    """A result or an error for each source, in turn."""
    things = _each(read, sources)
    done = iter(work([thing for thing in things if not isinstance(thing, Exception)]))
    found = [t if isinstance(t, Exception) else next(done) for t in things]
    for place, thing in enumerate(things):
        for _ in range(retries):
            if isinstance(thing, Exception) or not _may_pass(found[place]):
                break
            (found[place],) = work([thing])
    return found


def _may_pass(result: Any) -> bool:
    """Whether another try may do: codax's own errors are the picture's."""
    return isinstance(result, Exception) and not isinstance(result, CodaxError)


def _replaced(
    rows: Mapping[str, Any],
    names: tuple[str, str],
    read: Callable[[Any], Any],
    work: Many,
    retries: int,
    nothing: Any,
) -> dict[str, Any]:
    """Rows with results in place of what they came of.

    Args:
        rows: columns of equal length.
        names: of the column that goes, and of that which comes.
        read: makes of a source what work takes.
        work: see `Many`.
        retries: see `Encode`.
        nothing: what stands where there is an error.
    """
    column, output = names
    if column not in rows:
        raise ConfigError(
            f"rows have no column {column!r}; expected one of {', '.join(rows)}"
        )
    found = _results(rows[column], read, work, retries)
    rest = {name: values for name, values in rows.items() if name != column}
    failed = [isinstance(result, Exception) for result in found]
    return {
        **rest,
        output: [nothing if bad else r for r, bad in zip(found, failed, strict=True)],
        f"{output}_error": [
            first_line(r) if bad else "" for r, bad in zip(found, failed, strict=True)
        ],
    }
