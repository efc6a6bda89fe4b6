"""The resident set: every decoded picture in memory, on the device where there is one.

`crop_batch` cuts and augments there, inside the compiled step: crops of random place,
flip, transpose and, for a share of them, scale. What does not fit into memory is
streamed (`codax.train.streaming`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from codax.errors import ConfigError, ImageError
from codax.files.writing import writing
from codax.train.pictures import SMALLEST_SCALE, Picture, digest, read_rgb


@dataclass(frozen=True, kw_only=True)
class ResidentSet:
    """Decoded pictures, one behind the other in one array.

    Attributes:
        flat: uint8[P 3], the pixels of all pictures, row by row.
        offsets: int32[n], where each picture begins, in pixels.
        heights: int32[n], rows of each picture.
        widths: int32[n], columns of each picture.
        skipped: One message for each file that could not be read.
    """

    flat: np.ndarray
    offsets: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    skipped: tuple[str, ...] = ()

    @classmethod
    def load(
        cls, paths: Sequence[Picture], cache: Path | None = None, threads: int = 2
    ) -> ResidentSet:
        """Decodes pictures into memory; those that cannot be are left out.

        Args:
            paths: Pictures, see `find_pictures`.
            cache: An `.npz` file to keep the decoded pixels in; it is written if it
                is missing or was made from other files.
            threads: Pictures decoded at once.

        Raises:
            ConfigError: No picture could be read, or they are too many to index.
        """
        key = _fingerprint(paths) if cache else ""
        resident = _read_cache(cache, key) if cache else None
        if resident is None:
            resident = _decode_all(paths, threads)
            if cache:
                _write_cache(cache, key, resident)
        return resident

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.offsets)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The first four arguments of `crop_batch`, to be put on a device once."""
        return self.flat, self.offsets, self.heights, self.widths


def _decode_all(paths: Sequence[Picture], threads: int) -> ResidentSet:
    def read(path: Picture) -> np.ndarray | str:
        try:
            return read_rgb(path)
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(read, paths))
    skipped = tuple(result for result in results if isinstance(result, str))
    pictures = [result for result in results if not isinstance(result, str)]
    del results
    if not pictures:
        first = f"; the first: {skipped[0]}" if skipped else ""
        raise ConfigError(f"0 of {len(paths)} pictures could be read{first}")
    heights = np.array([len(picture) for picture in pictures], np.int32)
    widths = np.array([picture.shape[1] for picture in pictures], np.int32)
    ends = np.cumsum(heights.astype(np.int64) * widths)
    if ends[-1] >= 2**31:
        raise ConfigError(
            f"{ends[-1]} pixels, expected fewer than 2^31 in a resident set; "
            "use the streaming set"
        )
    flat = np.empty((ends[-1], 3), np.uint8)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int32)
    for start, end in zip(starts, ends, strict=True):
        # Let go of each picture as it is copied: memory never holds all of them twice.
        flat[start:end] = pictures.pop(0).reshape(-1, 3)
    return ResidentSet(
        flat=flat, offsets=starts, heights=heights, widths=widths, skipped=skipped
    )


def _fingerprint(paths: Sequence[Picture]) -> str:
    return hashlib.sha256(b"".join(map(digest, paths))).hexdigest()


def _read_cache(cache: Path, key: str) -> ResidentSet | None:
    """The set of a cache file, or None if it is missing, damaged or of other files."""
    try:
        with np.load(cache, allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            fields = ("flat", "offsets", "heights", "widths")
            return ResidentSet(
                **{name: stored[name] for name in fields},
                skipped=tuple(str(message) for message in stored["skipped"]),
            )
    except Exception:  # A damaged zip file raises many kinds; it is made again.
        return None


def _write_cache(cache: Path, key: str, resident: ResidentSet) -> None:
    """Writes the set for runs to come, if it can be; several may start at once."""
    with contextlib.suppress(OSError), writing(cache) as file:
        np.savez(
            file,
            key=np.array(key),
            flat=resident.flat,
            offsets=resident.offsets,
            heights=resident.heights,
            widths=resident.widths,
            skipped=np.array(resident.skipped, dtype=np.str_),
        )


def crop_batch(
    flat: jax.Array,
    offsets: jax.Array,
    heights: jax.Array,
    widths: jax.Array,
    key: jax.Array,
    batch: int,
    size: int,
    rescale: float = 0.5,
) -> jax.Array:
    """Cuts random crops out of a resident set; pure, for use under jit and scan.

    Every pixel of the set is equally likely to choose the picture. Beyond a picture
    that is smaller than the crop its edge is repeated.

    Args:
        flat: uint8[P 3], see `ResidentSet`.
        offsets: int32[n].
        heights: int32[n].
        widths: int32[n].
        key: PRNG key, used up.
        batch: Number of crops, static.
        size: Side of the crops, static.
        rescale: Share of the crops, 0..1, that are taken from a larger window and
            reduced (by a factor of 0.5 to 1, antialiased); static. The first
            `round(rescale * batch)` of the batch are these.

    Returns:
        uint8[batch size size 3].
    """
    reduced = round(rescale * batch)
    keys = jax.random.split(key, batch)
    pictures = (flat, offsets, heights, widths)

    def crop(key: jax.Array, resize: bool) -> jax.Array:
        return _crop(pictures, key, size, resize)

    parts = []
    if reduced:
        parts.append(jax.vmap(lambda k: crop(k, True))(keys[:reduced]))
    if reduced < batch:
        parts.append(jax.vmap(lambda k: crop(k, False))(keys[reduced:]))
    return jnp.concatenate(parts)


def _crop(
    pictures: tuple[jax.Array, ...], key: jax.Array, size: int, resize: bool
) -> jax.Array:
    """One crop, uint8[size size 3]."""
    flat, offsets, heights, widths = pictures
    pick_key, place_key, scale_key, turn_key = jax.random.split(key, 4)
    pixel = jax.random.randint(pick_key, (), 0, len(flat))
    picture = jnp.searchsorted(offsets, pixel, side="right") - 1
    sides = jnp.stack([heights[picture], widths[picture]])
    flips = jax.random.bernoulli(turn_key, 0.5, (3,))

    scale = jnp.float32(1)
    if resize:
        lowest = jnp.clip(size / jnp.min(sides), SMALLEST_SCALE, 1)
        scale = jax.random.uniform(scale_key, (), minval=lowest, maxval=1)
    taken = jnp.ceil(size / scale).astype(jnp.int32)  # side of the window in use
    room = jnp.maximum(sides - taken, 0) + 1
    corner = jax.random.randint(place_key, (2,), 0, room)

    # The window has a fixed shape; rows and columns beyond `taken` get no weight.
    span = jnp.arange(round(size / SMALLEST_SCALE) if resize else size)
    rows, columns = (
        jnp.clip(corner[i] + span, 0, sides[i] - 1).astype(jnp.int32) for i in (0, 1)
    )
    index = offsets[picture] + rows[:, None] * widths[picture] + columns
    window = flat[index]
    if resize:
        window = jax.image.scale_and_translate(
            window.astype(jnp.float32),
            (size, size, 3),
            (0, 1),
            jnp.stack([scale, scale]),
            jnp.zeros(2),
            method="linear",
        )
        window = jnp.clip(jnp.round(window), 0, 255).astype(jnp.uint8)
    window = jnp.where(flips[0], window[::-1], window)
    window = jnp.where(flips[1], window[:, ::-1], window)
    return jnp.where(flips[2], window.swapaxes(0, 1), window)
