"""Bytes of files before they are made, of codecs whose tokens have a fixed length."""

from __future__ import annotations

from math import ceil, log2

import numpy as np

from codax.coding.order import CELL
from codax.entropy.ranks import counts_of, stream_bytes
from codax.errors import UnsupportedError
from codax.face.codec import Codec
from codax.face.encoding import half_steps
from codax.files import container
from codax.files.container import Container

__all__ = ["file_bytes"]


def file_bytes(codec: Codec, height: int, width: int, quality: float) -> int:
    """The bytes of a picture's file, whatever the picture shows.

    Those of `codec.encode(picture, quality, metadata="none", fallback=False)`, of a
    picture that is not grey.

    Args:
        codec: of the family granular.
        height: rows of the picture.
        width: columns of it.
        quality: 0..100 in half steps.

    Raises:
        UnsupportedError: the bytes of the codec's files depend on the picture.
        ConfigError: a quality out of range.
    """
    coder, at = codec.coder, half_steps(codec.coder, quality)
    source = coder.order.sources.get("grain")
    if source is None or source.kind != "rank":
        raise UnsupportedError(
            f"{codec.name}: bytes depend on the picture; those of the family granular "
            "do not"
        )
    step = coder.order.steps[0]
    nothing = np.zeros((1, *coder.order.padded(CELL, CELL, "grain"), 1), np.float32)
    heads = coder.runtime.steps(CELL, CELL, at)(step, {"grain": nothing}, None)
    shares = (head.ravel()[:1].astype(np.int64) for head in heads)
    cells = ceil(height / CELL) * ceil(width / CELL)
    medium, fine = (int(count[0]) for count in counts_of(cells, *shares))
    frequencies = coder.tables(at)["grain"].frequencies
    grain_bits, token_bits = (24 - round(log2(frequencies[k][0])) for k in (0, 1))
    tokens = (cells - medium - fine) + 4 * medium + 16 * fine
    return len(
        container.write(
            Container(
                codec_id=coder.codec_id,
                weights_hash=coder.weights_hash,
                width=width,
                height=height,
                quality=at,
                stream=bytes(stream_bytes(grain_bits * cells + token_bits * tokens)),
            )
        )
    )
