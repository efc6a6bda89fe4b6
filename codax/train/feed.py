"""What the steps of a run are fed: a resident set, streamed crops, drawn pictures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from codax.errors import ConfigError
from codax.train.data import ResidentSet
from codax.train.drawn import drawn_set
from codax.train.pictures import Picture
from codax.train.trainer import Trainer

__all__ = ["Crops", "Feed"]

Crops = Callable[[int, int, int], Iterator[np.ndarray]]
"""(count, side, step): crops uint8[count side side 3] of that step, then of each that
follows. The same for the same step, so that a run resumes exactly."""


class Feed:
    """Gives each call of the compiled step its data.

    Attributes:
        drawn: the drawn pictures on the device, or nothing.
    """

    def __init__(
        self,
        trainer: Trainer,
        resident: ResidentSet,
        stream: Sequence[Picture],
        crops: Crops | None,
        say: Callable[[str], None],
    ):
        """Puts the resident set on the device, or prepares to stream.

        Args:
            trainer: says how crops are shared out.
            resident: the pictures, unless others are streamed.
            stream: pictures to stream, where the configuration says so.
            crops: of one's own, in place of all of these.
            say: takes progress lines.

        Raises:
            ConfigError: there is nothing to stream.
            UnsupportedError: streaming without the extra `codax[data]`.
        """
        self._trainer, self._say = trainer, say
        self._paths, self._own = list(stream), crops
        self._skipped = set(resident.skipped)
        streaming = trainer.config.stream or crops is not None
        if streaming and crops is None and not self._paths:
            raise ConfigError("stream: 0 pictures to stream; name a folder")
        if streaming and crops is None:
            # Late: it brings grain, which nothing else needs.
            from codax.train.streaming import Samples, batches

            self._samples, self._batches = Samples, batches
        self._resident = () if streaming else trainer.place(resident.arrays())
        self.drawn: tuple = ()
        if trainer.config.drawn:
            say("letters, shapes and screens are drawn from the seed")
            self.drawn = trainer.place(drawn_set(trainer.config.seed).arrays())

    def crops(
        self, batch: int, size: int, step: int
    ) -> Generator[np.ndarray, None, None]:
        """This host's crops of a step, then of each that follows.

        Crop i of step s is sample number s * count + i; the count is that of crops
        which are not drawn.
        """
        if self._resident:
            return
        config = self._trainer.config
        count = batch - self._trainer.drawn(batch)
        share = self._trainer.share(count)
        while not count:
            yield np.zeros((0, size, size, 3), np.uint8)
        if self._own is not None:
            blank = np.zeros((max(share.stop - count, 0), size, size, 3), np.uint8)
            for own in self._own(count, size, step):
                whole = np.concatenate([_checked(own, count, size), blank])
                yield whole[share.start : share.stop]
            raise ConfigError("crops: they ended before the run did")
        yield from self._batches(
            self._samples(self._paths, size, config.seed, config.rescale),
            size,
            count,
            step=step,
            share=share,
            workers=config.workers,
            skip=self._skip,
        )

    def call(self, crops: Iterator[np.ndarray], steps: int) -> Any:
        """The data of so many steps, from what `crops` gave."""
        if self._resident:
            return self._resident
        return (self._trainer.spread(np.stack([next(crops) for _ in range(steps)])),)

    def blank(self, batch: int, size: int, steps: int) -> Any:
        """Data of the same shapes, to compile with."""
        share = self._trainer.share(batch - self._trainer.drawn(batch))
        empty = np.zeros((len(share), size, size, 3), np.uint8)
        return self.call(iter([empty] * steps), steps)

    def _skip(self, message: str) -> None:
        """Names a picture that cannot be read, once in a run."""
        if message not in self._skipped:
            self._skipped.add(message)
            self._say(f"skipped: {message}")


def _checked(crops: np.ndarray, count: int, side: int) -> np.ndarray:
    """Crops of one's own, if they are what a step takes."""
    if crops.shape != (count, side, side, 3) or crops.dtype != np.uint8:
        raise ConfigError(
            f"crops: got {crops.dtype}{list(crops.shape)}, expected "
            f"uint8[{count} {side} {side} 3]"
        )
    return crops
