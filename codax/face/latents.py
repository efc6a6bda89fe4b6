"""Latents to learn on: pictures to small integers and back, under jit and vmap.

Only codecs whose analysis is whole numbers have it, those of `walloc`. Latents lie on a
grid of 8x8 pixels, int8[N h w C] in +-127; near zero they are in equal steps, further
off in wider ones (`codax.codecs.walloc.expand` undoes that). They are those in the
picture's file, to the last bit, under every runtime and on every machine.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codax.coding.order import CELL
from codax.coding.samples import SampleCoder
from codax.errors import ConfigError
from codax.face.batches import check_pictures, whole_cells
from codax.face.file_latents import LARGEST, channels

__all__ = ["from_latents", "latents"]


def latents(coder: SampleCoder, images: Any) -> jax.Array:
    """Latents of pictures.

    Args:
        coder: with latents to learn on.
        images: uint8 or float32[N H W 3], 0..255, rounded; edges are repeated to whole
            cells of 16 pixels.

    Returns:
        int8[N h w C], h = 2 ceil(H / 16) and w = 2 ceil(W / 16).

    Raises:
        UnsupportedError: the codec has none.
        ConfigError: another shape or type.
    """
    channels(coder)
    check_pictures(images)
    if images.dtype not in (jnp.uint8, jnp.float32):
        raise ConfigError(f"images: got {images.dtype}, expected uint8 or float32")
    return coder.networks().compiled("latents", _latents)(images)


def from_latents(coder: SampleCoder, latents: Any) -> jax.Array:
    """Pictures of latents.

    Args:
        coder: with latents to learn on.
        latents: int8[N h w C], h and w even.

    Returns:
        uint8[N 8h 8w 3].

    Raises:
        UnsupportedError: the codec has none.
        ConfigError: another shape or type, or a latent of -128 (not seen under jit,
            where there are no values to look at).
    """
    count = channels(coder)
    shape = latents.shape
    whole = len(shape) == 4 and 0 not in shape and not (shape[1] % 2 or shape[2] % 2)
    if not whole or shape[-1] != count:
        raise ConfigError(
            f"latents: got shape {shape}, expected [N h w {count}] with even h and w"
        )
    if latents.dtype != jnp.int8:
        raise ConfigError(f"latents: got {latents.dtype}, expected int8")
    if not isinstance(latents, jax.core.Tracer):
        wrong = np.argwhere(np.asarray(latents) < -LARGEST)
        if len(wrong):
            raise ConfigError(
                f"latent -128 at {wrong[0].tolist()}; expected -{LARGEST} to {LARGEST}"
            )
    return coder.networks().compiled("from_latents", _pictures)(latents)


def _latents(model: Any, images: jax.Array) -> jax.Array:
    return model.g_a(whole_cells(images, CELL)).astype(jnp.int8)


def _pictures(model: Any, latents: jax.Array) -> jax.Array:
    x = model.g_s(latents.astype(jnp.float32))
    return jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8)
