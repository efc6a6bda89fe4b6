"""The latents in files of codecs to learn on, by the runtime at hand. No JAX."""

from __future__ import annotations

import numpy as np

from codax.coding.samples import SampleCoder
from codax.errors import UnsupportedError
from codax.face.decoding import read_for
from codax.transforms.arrays import depth_to_space

__all__ = ["LARGEST", "channels", "file_latents"]

LARGEST = 127
"""Latents lie in +-127."""


def channels(coder: SampleCoder) -> int:
    """Channels of a codec's latents.

    Raises:
        UnsupportedError: it has none to learn on.
    """
    found = coder.runtime.latent_channels
    if found is None:
        raise UnsupportedError(
            f"{coder.name} has no latents to learn on; codecs of the family walloc have"
        )
    return found


def file_latents(coder: SampleCoder, data: bytes) -> np.ndarray:
    """The latents that a file holds; nothing is synthesised.

    Args:
        coder: that wrote the file.
        data: a `.codax` file.

    Returns:
        int8[1 h w C], h = 2 ceil(H / 16) and w = 2 ceil(W / 16).

    Raises:
        UnsupportedError: the codec has no latents to learn on.
        FormatError: the file is damaged.
        ModelError: it was made with other weights.
    """
    channels(coder)
    file = read_for(coder, data)
    found = coder.decode_latents(file.stream, file.height, file.width, file.quality)
    quarters = np.clip(found["y"][None], -LARGEST, LARGEST).astype(np.int8)
    return depth_to_space(quarters, 2)
