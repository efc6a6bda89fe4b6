"""Training pictures: a folder of any formats and sizes becomes crops of one size.

Two ways. The *resident set* keeps every decoded picture in memory, on the device
where there is one, and `crop_batch` cuts and augments there, inside the compiled
step. The *streaming set* decodes a picture for every sample on worker threads and
serves what does not fit. Both pick crops of random place, flip, transpose and, for a
share of them, scale.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps

from codax.errors import CodaxError, ConfigError, ImageError
from codax.files.folders import PICTURES, search
from codax.files.opening import open_image
from codax.files.pictures import from_image
from codax.files.writing import writing

SMALLEST_SCALE = 0.5


def find_pictures(
    folders: Sequence[Path | str], skip: Callable[[str], None] | None = None
) -> list[Path]:
    """Lists the pictures of one or several folders and of their subfolders.

    Args:
        folders: Folders; a file's kind is judged by its suffix.
        skip: Takes a line for each thing that is named like a picture but is no file.

    Returns:
        Paths, sorted, each once.

    Raises:
        ConfigError: A folder is missing, or there is no picture in any of them.
    """
    found: set[Path] = set()
    passed_over: dict[str, None] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder; name a folder of pictures")
        inside = search(folder)
        found.update(inside.files)
        passed_over |= dict.fromkeys(inside.passed_over)
    if skip:
        for message in passed_over:
            skip(message)
    if not found:
        names = ", ".join(str(folder) for folder in folders) or "no folder"
        kinds = " ".join(sorted(PICTURES))
        raise ConfigError(f"{names}: no picture found; expected files of {kinds}")
    return sorted(found)


def split(paths: Sequence[Path], held_out: int = 24) -> tuple[list[Path], list[Path]]:
    """Sets pictures aside that no run ever trains on.

    The choice follows the SHA-256 of the files' bytes, smallest first, so that it is
    the same on every machine and under every file name, and a picture that is added
    changes at most one of the others' sides.

    Args:
        paths: Pictures, for example of one folder out of several.
        held_out: How many to set aside, 0 or more.

    Returns:
        Training paths and held-out paths, both in the order of `paths`.

    Raises:
        ConfigError: Nothing would be left for training.
    """
    if not 0 <= held_out < len(paths):
        raise ConfigError(
            f"held_out: {held_out} of {len(paths)} pictures, expected 0 to "
            f"{len(paths) - 1}; hold out fewer or add pictures"
        )
    digests = {path: hashlib.sha256(path.read_bytes()).digest() for path in paths}
    chosen = set(sorted(paths, key=lambda path: digests[path])[:held_out])
    training = [path for path in paths if path not in chosen]
    return training, [path for path in paths if path in chosen]


def read_rgb(path: Path) -> np.ndarray:
    """Reads a picture as `codax encode` does, upright, as uint8[H W 3].

    Alpha is dropped, and grey of 16 bits becomes 8.

    Raises:
        ImageError: The file is missing, damaged, not a picture, or of a kind that is
            not coded, such as floats or 16 bits of colour.
    """
    try:
        rgb = from_image(ImageOps.exif_transpose(open_image(path))).rgb
    except CodaxError as error:
        raise ImageError(f"{path}: {error}") from error
    return rgb if rgb.dtype == np.uint8 else (rgb >> 8).astype(np.uint8)


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
        cls, paths: Sequence[Path], cache: Path | None = None, threads: int = 2
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


def _decode_all(paths: Sequence[Path], threads: int) -> ResidentSet:
    def read(path: Path) -> np.ndarray | str:
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


def _fingerprint(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


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


class StreamingSet:
    """Crops of pictures that are decoded when they are wanted.

    Sample number `index` depends on the seed, the index and the files alone: not on
    the number of threads, nor on what was asked for before. So a run resumes at the
    exact sample. Every picture gives one sample in each pass over the set.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int,
        seed: int,
        rescale: float = 0.5,
        skip: Callable[[str], None] | None = None,
    ):
        """Keeps the settings; nothing is read yet.

        Args:
            paths: Pictures, see `find_pictures`; their order matters.
            size: Side of the crops.
            seed: Any integer of 0 or more.
            rescale: Probability, 0..1, that a crop is reduced from a larger window.
            skip: Takes a line for each picture that cannot be read, from any thread;
                it may come twice.

        Raises:
            ConfigError: No paths, or a size below 1.
        """
        if not paths:
            raise ConfigError("0 pictures, expected at least 1; name a folder")
        if size < 1:
            raise ConfigError(f"size: {size}, expected 1 or more")
        self._paths = list(paths)
        self._size = size
        self._seed = seed
        self._rescale = rescale
        self._skip = skip
        self.skipped: dict[Path, str] = {}

    def sample(self, index: int) -> np.ndarray:
        """Sample number `index`, uint8[size size 3].

        In place of a picture that cannot be read comes the next one of the pass.

        Raises:
            ImageError: No picture at all can be read.
        """
        count = len(self._paths)
        turn, place = divmod(index, count)
        order = np.random.default_rng([self._seed, turn]).permutation(count)
        for step in range(count):
            path = self._paths[order[(place + step) % count]]
            if path in self.skipped:
                continue
            try:
                picture = read_rgb(path)
            except ImageError as error:
                self.skipped[path] = str(error)
                if self._skip:
                    self._skip(str(error))
                continue
            # The turn has one number, a sample two and a constant: never the same.
            return self._cut(picture, np.random.default_rng([self._seed, index, 1]))
        raise ImageError(f"0 of {count} pictures can be read; {self.skipped[path]}")

    def _cut(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        size = self._size
        sides = picture.shape[:2]
        scale = 1.0
        if random.uniform() < self._rescale:
            lowest = min(max(size / min(sides), SMALLEST_SCALE), 1)
            scale = random.uniform(lowest, 1)
        taken = int(np.ceil(size / scale))
        top, left = (random.integers(max(side - taken, 0) + 1) for side in sides)
        window = picture[top : top + taken, left : left + taken]
        missing = [max(taken - side, 0) for side in window.shape[:2]]
        if any(missing):
            window = np.pad(window, [*((0, m) for m in missing), (0, 0)], "edge")
        if scale < 1:
            box = (0, 0, size / scale, size / scale)
            image = Image.fromarray(window)
            window = np.asarray(
                image.resize((size, size), Image.Resampling.BILINEAR, box)
            )
        flips = random.integers(2, size=3)
        window = window[:: 1 - 2 * flips[0], :: 1 - 2 * flips[1]]
        return window.swapaxes(0, 1) if flips[2] else window

    def batches(
        self,
        count: int,
        step: int = 0,
        share: range | None = None,
        threads: int = 2,
        ahead: int = 2,
    ) -> Iterator[np.ndarray]:
        """Yields batches without end, decoded ahead of time on worker threads.

        Args:
            count: Samples in a batch, whose numbers are step * count and so on.
            step: First batch's number.
            share: Which of a batch's samples are wanted, all if None; from `count` on
                they are blank.
            threads: Worker threads.
            ahead: Batches decoded in advance.

        Yields:
            uint8[share size size 3].
        """
        share = range(count) if share is None else share
        blank = np.zeros((self._size, self._size, 3), np.uint8)
        pool = ThreadPoolExecutor(threads)
        waiting: deque[list[Future[np.ndarray]]] = deque()
        try:
            while True:
                while len(waiting) < 1 + ahead:
                    first = step * count
                    numbers = [first + place for place in share if place < count]
                    waiting.append([pool.submit(self.sample, n) for n in numbers])
                    step += 1
                found = [one.result() for one in waiting.popleft()]
                yield np.stack(found + [blank] * (len(share) - len(found)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
