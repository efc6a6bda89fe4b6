"""The tokenizer's face of a codec: pictures to integers and back, under jit and vmap.

Only codecs whose latents are tokens have it. Tokens lie on a grid of cells of
`token_cell` pixels a side, int32[N h w L] with h = ceil(H / token_cell); token l of a
cell is from 0 to `vocabulary[l] - 1`.

* `fsq`: cells of 16; L is the number of latent channels; the vocabularies are the
  alphabets.
* `rvq`: cells of 16; first a token for each coarse layer, then four for each fine one,
  the quarters (0,0), (0,1), (1,0), (1,1) of the cell.
* `granular`: cells of 16; L is 17, the cell's grain (0 coarse, 1 medium, 2 fine) and 1,
  4 or 16 tokens with zeros behind them. The quality says which shares of cells are
  medium and fine.
* `mcquic`: cells of 32; for each book of the first level a token, of the second the
  four quarters, of the third for each quarter in turn its four quarters.
* `prefix`: cells of 64, the tiles; a token for each rank.

Of `rvq`, `mcquic` and `prefix` the tokens of the first layers are a picture's coarser
tokens, so L says how many layers there are. The tokens of a picture are those in its
file.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.coding.order import extent, layer_count, layers_at
from codax.coding.samples import SampleCoder
from codax.errors import ConfigError
from codax.face.batches import check_pictures, whole_cells
from codax.face.encoding import half_steps
from codax.face.file_tokens import token_cell, vocabulary
from codax.files import container

__all__ = ["from_tokens", "tokens"]


def tokens(coder: SampleCoder, images: Any, quality: float | None = None) -> jax.Array:
    """Tokens of pictures.

    Args:
        coder: with tokens.
        images: uint8 or float32[N H W 3], 0..255; edges are repeated to whole cells.
        quality: within the codec's, its highest if None; picks layers, if any.

    Returns:
        int32[N h w L], h = ceil(H / cell), w = ceil(W / cell) with `token_cell`.

    Raises:
        UnsupportedError: the codec has no tokens.
        ConfigError: another shape, or a quality that the codec does not have.
    """
    vocabulary(coder)
    check_pictures(images)
    at = _half_steps(coder, quality)
    x, own = whole_cells(images, token_cell(coder)), _extent(*images.shape[1:3])
    found = coder.networks().model.tokens(x, _whole(images, at), own)
    used = layers_at(at, layer_count(coder.order))
    return found[..., : coder.networks().token_counts[used - 1]]


def from_tokens(
    coder: SampleCoder,
    tokens: Any,
    quality: float | None = None,
    size: tuple[int, int] | None = None,
) -> jax.Array:
    """Pictures of tokens.

    Args:
        coder: with tokens.
        tokens: int32[N h w L]; those of the first layers are enough, where there are
            any.
        quality: that of the tokens, the codec's highest if None; where there are layers
            it follows from the tokens and must be None.
        size: rows and columns of the pictures, H and W; all of the cells if None.

    Returns:
        uint8[N H W 3].

    Raises:
        UnsupportedError: the codec has no tokens.
        ConfigError: another shape, a token outside its vocabulary (not seen under jit,
            where there are no values to look at), or a size that has other cells.
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
    height, width = _size_of(tokens, token_cell(coder), size)
    own = _extent(height, width)
    x = coder.networks().model.picture(jnp.asarray(tokens), _whole(tokens, at), own)
    return jnp.clip(jnp.round(x[:, :height, :width]), 0, 255).astype(jnp.uint8)


def _extent(height: int, width: int) -> jax.Array:
    """Rows and columns of a picture's own cells of 16x16, int32[2]."""
    return jnp.asarray(extent(height, width), jnp.int32)


def _size_of(tokens: Any, cell: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """The pictures' rows and columns, checked against their tokens."""
    rows, columns = tokens.shape[1:3]
    if size is None:
        return cell * rows, cell * columns
    height, width = size
    if (-(-height // cell), -(-width // cell)) != (rows, columns):
        raise ConfigError(
            f"size is {width}x{height}; {columns}x{rows} cells of {cell} pixels are of "
            f"{cell * (columns - 1) + 1}x{cell * (rows - 1) + 1} to "
            f"{cell * columns}x{cell * rows}"
        )
    return height, width


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
