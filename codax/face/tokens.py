"""The tokenizer's face of a codec: pictures to integers and back, under jit and vmap.

Only codecs whose latents are tokens have it: `fsq`, `rvq` and `granular`. Tokens lie on
the grid of cells of 16x16 pixels, int32[N h w L]; token l of a cell is from 0 to
`vocabulary[l] - 1`.

* `fsq`: L is the number of latent channels; the vocabularies are the alphabets.
* `rvq`: first a token for each coarse layer, then four for each fine one, the quarters
  (0,0), (0,1), (1,0), (1,1) of the cell. The tokens of the first layers are a picture's
  coarser tokens, so L says how many layers there are.
* `granular`: L is 17, the cell's grain (0 coarse, 1 medium, 2 fine) and 1, 4 or 16
  tokens with zeros behind them. The quality says which shares of cells are medium and
  fine.

The tokens of a picture are those in its file.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.coding.order import CELL, layer_count, layers_at
from codax.coding.samples import SampleCoder
from codax.errors import ConfigError
from codax.face.encoding import half_steps
from codax.face.file_tokens import vocabulary
from codax.files import container

__all__ = ["from_tokens", "tokens"]


def tokens(coder: SampleCoder, images: Any, quality: float | None = None) -> jax.Array:
    """Tokens of pictures.

    Args:
        coder: with tokens.
        images: uint8 or float32[N H W 3], 0..255; edges are repeated to whole cells.
        quality: within the codec's, its highest if None; of rvq it picks layers.

    Returns:
        int32[N h w L], h = ceil(H / 16), w = ceil(W / 16).

    Raises:
        UnsupportedError: the codec has no tokens.
        ConfigError: another shape, or a quality that the codec does not have.
    """
    vocabulary(coder)
    if len(images.shape) != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ConfigError(f"images: got shape {images.shape}, expected [N H W 3]")
    at = _half_steps(coder, quality)
    missing = [(0, -side % CELL) for side in images.shape[1:3]]
    x = jnp.asarray(images).astype(jnp.float32)
    x = jnp.pad(x, ((0, 0), *missing, (0, 0)), mode="edge")
    found = coder.networks().model.tokens(x, _whole(images, at))
    used = layers_at(at, layer_count(coder.order))
    return found[..., : coder.networks().token_counts[used - 1]]


def from_tokens(
    coder: SampleCoder, tokens: Any, quality: float | None = None
) -> jax.Array:
    """Pictures of tokens.

    Args:
        coder: with tokens.
        tokens: int32[N h w L]; of rvq those of the first layers are enough.
        quality: that of the tokens, the codec's highest if None; of rvq it follows from
            the tokens and must be None.

    Returns:
        uint8[N 16h 16w 3].

    Raises:
        UnsupportedError: the codec has no tokens.
        ConfigError: another shape, or a token outside its vocabulary (not seen under
            jit, where there are no values to look at).
    """
    sizes = vocabulary(coder)
    counts = coder.networks().token_counts
    if len(tokens.shape) != 4 or tokens.shape[-1] not in counts:
        raise ConfigError(
            f"tokens: got shape {tokens.shape}, expected [N h w L] with L of "
            f"{', '.join(map(str, counts))}"
        )
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ConfigError(f"tokens: got {tokens.dtype}, expected integers")
    if not isinstance(tokens, jax.core.Tracer):
        _check_range(np.asarray(tokens), sizes)
    at = _half_steps(coder, quality)
    if len(counts) > 1:
        if quality is not None:
            raise ConfigError(
                "quality: follows from the number of tokens; leave it out"
            )
        layers = counts.index(tokens.shape[-1]) + 1
        at = container.quality_of_layers(layers, len(counts))
    x = coder.networks().model.picture(jnp.asarray(tokens), _whole(tokens, at))
    return jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8)


def _half_steps(coder: SampleCoder, quality: float | None) -> int:
    """A quality in half steps; the codec's highest if there is none."""
    return half_steps(coder, coder.qualities[1] if quality is None else quality)


def _whole(like: Any, half_steps: int) -> jax.Array:
    """The quality of each picture of a batch, int32[N]."""
    return jnp.full(like.shape[:1], half_steps, jnp.int32)


def _check_range(tokens: np.ndarray, sizes: tuple[int, ...]) -> None:
    """Refuses tokens outside their vocabularies."""
    limit = np.asarray(sizes[: tokens.shape[-1]])
    wrong = (tokens < 0) | (tokens >= limit)
    if wrong.any():
        n, row, column, place = (int(i[0]) for i in np.nonzero(wrong))
        raise ConfigError(
            f"token {int(tokens[n, row, column, place])} at [{n}, {row}, {column}, "
            f"{place}]; its vocabulary has {limit[place]}: 0 to {limit[place] - 1}"
        )
