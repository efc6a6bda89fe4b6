"""Where a codec's weights are to be had again, in another process too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codax.errors import ModelError
from codax.zoo import cards

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """What a pickled codec is: whose weights, and how they were loaded.

    Attributes:
        codec_id: of its family.
        weights_hash: of its weights.
        folder: where they were.
        runtime: that was asked for; None for the best.
        options: of `Codec.from_folder`.
    """

    codec_id: int
    weights_hash: bytes
    folder: str
    runtime: str | None
    options: tuple[tuple[str, Any], ...]

    def find(self) -> Path:
        """The folder of the weights of the hash, wherever they are here.

        Raises:
            ModelError: they are not at hand.
        """
        try:
            return cards.find_by_hash(self.codec_id, self.weights_hash).folder
        except ModelError:
            folder = Path(self.folder)
            if not folder.is_dir():
                raise
            return folder

    def check(self, found: bytes) -> None:
        """Compares the hash of weights with that of those that were pickled.

        Raises:
            ModelError: it is another.
        """
        if found != self.weights_hash:
            raise ModelError(
                f"{self.folder} has other weights than those that were pickled, "
                f"{self.weights_hash.hex()}"
            )
