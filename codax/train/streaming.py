"""Crops of pictures that are decoded when they are wanted, by a grain pipeline.

Sample number i depends on the seed, i and the pictures alone: not on workers, hosts, or
what was asked for before. So the step is all of the pipeline's state, and a run resumes
at the exact sample, on any number of hosts.

Imported only for `stream=true`: grain belongs to the extra `codax[data]`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from codax.errors import ConfigError, ImageError, needs_extra
from codax.train.pictures import SMALLEST_SCALE, Picture, read_rgb
from codax.train.shards import Packed

with needs_extra("stream=true"):
    import grain
    from absl import flags

__all__ = ["Samples", "batches"]

AHEAD = 2
"""Batches that each worker has ready."""
IN_FOLDER = -1
"""Stands for the place of a picture that is a file of its own."""


class _Places:
    """Where pictures are, in arrays: millions travel to a worker in a moment."""

    def __init__(self, pictures: Sequence[Picture]):
        packed = [p if isinstance(p, Packed) else None for p in pictures]
        files = [p.file if isinstance(p, Packed) else str(p) for p in pictures]
        self._files, index = np.unique([os.fsencode(f) for f in files], False, True)
        self._file = index.astype(np.int32)
        self._place = np.array([p.place if p else IN_FOLDER for p in packed], np.int64)
        self._size = np.array([p.size if p else 0 for p in packed], np.int64)
        names = [os.fsencode(p.name) if p else b"" for p in packed]
        self._name = np.array(names, np.bytes_)

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, i: int) -> Picture:
        file = os.fsdecode(self._files[self._file[i]])
        if self._place[i] == IN_FOLDER:
            return Path(file)
        name = os.fsdecode(self._name[i])
        return Packed(file, int(self._place[i]), int(self._size[i]), name)


class Samples:
    """Crops by their number. Every picture gives one in each pass over the set."""

    def __init__(
        self, pictures: Sequence[Picture], size: int, seed: int, rescale: float = 0.5
    ):
        """Keeps the settings; nothing is read yet.

        Args:
            pictures: see `codax.train.pictures`; their order matters.
            size: side of the crops.
            seed: any integer of 0 or more, below 2^32.
            rescale: probability, 0..1, that a crop is reduced from a larger window.

        Raises:
            ConfigError: no pictures, or a size below 1.
        """
        if not pictures:
            raise ConfigError("0 pictures, expected at least 1; name a folder")
        if size < 1:
            raise ConfigError(f"size: {size}, expected 1 or more")
        self._pictures = _Places(pictures)
        self._size, self._seed, self._rescale = size, seed, rescale
        # Another order in each pass; the number is that of the sample.
        self._order = grain.MapDataset.range(len(pictures)).shuffle(seed)
        self.skipped: dict[int, str] = {}

    def sample(self, index: int) -> np.ndarray:
        """Sample number `index`, uint8[size size 3].

        In place of a picture that cannot be read comes the next one of the pass.

        Raises:
            ImageError: no picture at all can be read.
        """
        count = len(self._pictures)
        turn, place = divmod(index, count)
        for step in range(count):
            number = self._order[turn * count + (place + step) % count]
            if number in self.skipped:
                continue
            try:
                picture = read_rgb(self._pictures[number])
            except ImageError as error:
                self.skipped[number] = str(error)
                continue
            return self._cut(picture, np.random.default_rng([self._seed, index]))
        raise ImageError(f"0 of {count} pictures can be read; {self.skipped[number]}")

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


class _Batches:
    """What a worker makes of a step's number."""

    def __init__(self, samples: Samples, size: int, count: int, share: range):
        self._samples, self._count, self._share = samples, count, share
        self._blank = np.zeros((size, size, 3), np.uint8)

    def __call__(self, step: int) -> tuple[np.ndarray, str]:
        """The share's crops, and why pictures were passed over, a line each."""
        first, count = step * self._count, self._count
        crops = [
            self._samples.sample(first + i) if i < count else self._blank
            for i in self._share
        ]
        return np.stack(crops), "\n".join(self._samples.skipped.values())


def batches(
    samples: Samples,
    size: int,
    count: int,
    *,
    step: int = 0,
    share: range | None = None,
    workers: int = 2,
    skip: Callable[[str], None] = lambda message: None,
) -> Iterator[np.ndarray]:
    """Yields batches without end, decoded ahead of time.

    Args:
        samples: the crops.
        size: their side.
        count: samples in a batch, whose numbers are step * count and so on.
        step: first batch's number.
        share: which of a batch's samples are wanted, all if None; from `count` on they
            are blank.
        workers: processes that decode; 0 for a thread of this one.
        skip: takes a line for each picture that cannot be read; it may come again.

    Yields:
        uint8[share size size 3].

    Raises:
        ImageError: no picture at all can be read.
    """
    make = _Batches(samples, size, count, range(count) if share is None else share)
    steps = grain.MapDataset.range(step, sys.maxsize).map(make)
    reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=AHEAD)
    ahead = steps.to_iter_dataset(reading)
    if workers:
        if not flags.FLAGS.is_parsed():
            # In a program without absl's flags; grain's processes ask them.
            flags.FLAGS.mark_as_parsed()
        ahead = ahead.mp_prefetch(
            grain.MultiprocessingOptions(
                num_workers=workers, per_worker_buffer_size=AHEAD
            )
        )
    said = ""
    made = iter(ahead)
    try:
        for crops, messages in made:
            if messages != said:
                said = messages
                for message in messages.splitlines():
                    skip(message)
            yield crops
    finally:
        made.close()
