"""Pictures or tokens in files as a data set: what PyTorch's `DataLoader` asks of one.

PyTorch is not imported: a data set has a length and gives items by number. Workers may
be forked, since files are read by ONNX Runtime (docs/processes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codax.errors import CodaxError
from codax.face.codec import Codec
from codax.face.public import decode

__all__ = ["Pictures", "Tokens"]


class Pictures:
    """The pictures of `.codax` files, by number.

    Example:
        >>> from torch.utils.data import DataLoader         # doctest: +SKIP
        >>> files = sorted(Path("coded").glob("*.codax"))   # doctest: +SKIP
        >>> loader = DataLoader(                            # doctest: +SKIP
        ...     Pictures(files, crop), batch_size=32, num_workers=8
        ... )
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        transform: Callable[[np.ndarray], Any] | None = None,
        *,
        mode: str = "RGB",
    ):
        """Opens nothing yet.

        Args:
            files: paths; their weights are found by what each file names.
            transform: of a picture's samples to an item, such as a crop; None leaves
                them. Must be picklable where workers are spawned.
            mode: Pillow's, which pictures are converted to.
        """
        self._files, self._transform, self._mode = list(files), transform, mode

    def __len__(self) -> int:
        """How many files."""
        return len(self._files)

    def __getitem__(self, number: int) -> Any:
        """A picture, uint8[H W 3], or what the transform makes of it.

        Args:
            number: of the file.

        Raises:
            CodaxError: the file cannot be decoded; says which.
            OSError: it cannot be read.
        """
        path = self._files[number]
        try:
            # A copy, since PyTorch takes arrays that can be written to.
            samples = np.array(decode(Path(path)).convert(self._mode))
        except CodaxError as error:
            raise type(error)(f"{path}: {error}") from error
        return samples if self._transform is None else self._transform(samples)


class Tokens:
    """The tokens in `.codax` files, by number; no picture is decoded.

    Example:
        >>> codec = codax.load("prefix-tiny")               # doctest: +SKIP
        >>> files = sorted(Path("coded").glob("*.codax"))   # doctest: +SKIP
        >>> loader = DataLoader(                            # doctest: +SKIP
        ...     Tokens(files, codec, part), shuffle=True, batch_size=32, num_workers=8
        ... )
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        codec: Codec,
        transform: Callable[[np.ndarray], Any] | None = None,
    ):
        """Opens nothing yet.

        Args:
            files: paths.
            codec: that wrote them all, so that they have one vocabulary; one on ONNX
                Runtime can be forked.
            transform: of a file's tokens to an item, such as a part of them; None
                leaves them. Must be picklable where workers are spawned.

        Raises:
            UnsupportedError: the codec has no tokens.
        """
        self.vocabulary = codec.vocabulary
        self._files, self._codec, self._transform = list(files), codec, transform

    def __len__(self) -> int:
        """How many files."""
        return len(self._files)

    def __getitem__(self, number: int) -> Any:
        """A file's tokens, int32[h w L], or what the transform makes of them.

        Args:
            number: of the file.

        Raises:
            CodaxError: a damaged file, one of other weights, or a stored picture; says
                which.
            OSError: it cannot be read.
        """
        path = self._files[number]
        try:
            found = self._codec.file_tokens(Path(path).read_bytes())[0]
        except CodaxError as error:
            raise type(error)(f"{path}: {error}") from error
        return found if self._transform is None else self._transform(found)
