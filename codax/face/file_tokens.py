"""The tokens in files, by the runtime at hand. No JAX."""

from __future__ import annotations

import numpy as np

from codax.coding.order import CELL, layer_count, layers_at
from codax.coding.samples import SampleCoder
from codax.entropy.ranks import token_slots
from codax.entropy.sources import DigitSymbols
from codax.errors import UnsupportedError
from codax.face.decoding import read_for

__all__ = ["file_tokens", "token_cell", "vocabulary"]


def vocabulary(coder: SampleCoder) -> tuple[int, ...]:
    """Sizes of the vocabularies of a cell's tokens, one for each token.

    Raises:
        UnsupportedError: the codec has no tokens.
    """
    found = coder.runtime.vocabulary
    if found is None:
        raise UnsupportedError(
            f"{coder.name} has no tokens; codecs of fsq, rvq, granular, mcquic and "
            "prefix have"
        )
    return found


def token_cell(coder: SampleCoder) -> int:
    """Pixels of a side of the cell that has a codec's tokens.

    Raises:
        UnsupportedError: the codec has no tokens.
    """
    vocabulary(coder)
    return round(CELL / coder.order.strides[coder.runtime.synthesis_reads[0]])


def file_tokens(coder: SampleCoder, data: bytes) -> np.ndarray:
    """The tokens that a file holds, int32[1 h w L]; nothing is synthesised.

    Args:
        coder: that wrote the file.
        data: a `.codax` file.

    Raises:
        UnsupportedError: the codec has no tokens.
        FormatError: the file is damaged.
        ModelError: it was made with other weights.
    """
    sizes = vocabulary(coder)
    file = read_for(coder, data)
    latents = coder.decode_latents(
        file.stream, file.height, file.width, file.quality, trellis=file.trellis
    )
    if "grain" in latents:
        parts = (latents[name] for name in ("grain", "coarse", "medium", "fine"))
        return token_slots(*(part[None] for part in parts))
    source = coder.order.sources["y"]
    found = latents["y"] // source.unit
    if isinstance(source, DigitSymbols):
        # Digits lie around 0, tokens from it.
        found = found + np.asarray(sizes, np.int32) // 2
    used = layers_at(file.quality, layer_count(coder.order))
    return found[None, ..., : coder.runtime.token_counts[used - 1]]
