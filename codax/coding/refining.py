"""Refining latents: an encoder's second look at one picture, by gradient descent.

The analysis is one network for all pictures. Here the latents of one picture are
themselves what is trained, on what the file of just this picture costs: bits plus
lambda times distortion. Only the encoder takes longer; the file is an ordinary one.

Each latent is drawn to one of its two neighbouring integers (see
`codax.entropy.quantisers.drawn`), at a temperature that falls, so that in the end
rounding changes little.

Source: Yang, Bamler and Mandt 2020, "Improving inference for neural image compression"
(stochastic Gumbel annealing).
"""

from __future__ import annotations

from math import ceil, cos, pi

import jax
import jax.numpy as jnp
import numpy as np
import optax

from codax.coding.order import CELL, extent
from codax.coding.rate import rate
from codax.coding.running import Networks
from codax.coding.telling import part, tell
from codax.coding.tiles import Span, inside, kept, tiles, window
from codax.transforms.layers import grid_mask

__all__ = ["refine"]

RATE = 0.02
"""Adam's learning rate at the beginning, in latent steps; it ends at a tenth."""
WARM, COLD = 0.5, 0.1
"""Temperatures of the beginning and of the end."""
ADAM = optax.scale_by_adam()


def refine(
    networks: Networks,
    rgb: np.ndarray,
    latents: dict[str, np.ndarray],
    quality: int,
    steps: int,
) -> dict[str, np.ndarray]:
    """Refines the latents of a picture, tile by tile.

    Args:
        networks: of a codec whose sources can all `anneal`.
        rgb: uint8[H W 3].
        latents: by target, float32[1 h w C] in steps, on padded grids.
        quality: half steps 0..200.
        steps: of gradient descent, 1 or more.

    Returns:
        Latents of the same shapes. Those of a tile stay as they were if a file of the
        refined ones would be worse.
    """
    found = {name: value.copy() for name, value in latents.items()}
    grid = extent(*rgb.shape[:2])
    model = networks.model
    looks = max(model.synthesis_halo, *(step.halo for step in model.prior.steps))
    every = list(tiles(grid, 4 * ceil(looks / 4), networks.buckets))
    for number, (row, column) in enumerate(every):
        parts = {
            name: window(value, row, column, networks.order.strides[name])
            for name, value in found.items()
        }
        x = window(rgb[None], row, column, float(CELL), edge=True)
        corner = CELL * np.array([row.begin, column.begin])
        pixels = (rgb.shape[:2] - corner).astype(np.int32)
        moves = {
            name: _at_stride(_core(row, column), networks.order.strides[name])
            for name in parts
        }
        q = np.array([quality], np.int32)
        args = (x, q, inside(row, column, grid), pixels)
        with part(number / len(every), (number + 1) / len(every)):
            refined = _refine_tile(networks, parts, moves, steps, args)
        for name, value in refined.items():
            whole, stride = found[name], networks.order.strides[name]
            source, target = kept(row, column, stride, whole.shape[1:3])
            whole[0][target] = value[0][source]
    return found


def _core(row: Span, column: Span) -> np.ndarray:
    """Which cells of a tile are its own, float32[rows columns]."""
    sides = [
        (np.arange(span.size) >= span.low - span.begin)
        & (np.arange(span.size) < span.high - span.begin)
        for span in (row, column)
    ]
    return np.outer(*sides).astype(np.float32)


def _refine_tile(networks, latents, moves, steps: int, args) -> dict[str, np.ndarray]:
    """The better of a tile's latents and of what gradient descent makes of them."""
    price = networks.compiled("price", _price)
    move = networks.compiled("move", _move)
    refined, state = latents, ADAM.init(latents)
    for number in range(steps):
        done = number / steps
        tell(done)
        speed = RATE * (0.55 + 0.45 * cos(pi * done))
        temperature = WARM * (COLD / WARM) ** done
        schedule = np.array([number, speed, temperature], np.float32)
        refined, state = move(refined, state, moves, schedule, *args)
    if price(refined, *args) < price(latents, *args):
        return {name: np.asarray(value) for name, value in refined.items()}
    return latents


def _at_stride(core: np.ndarray, stride: float) -> np.ndarray:
    """Cells of 1/16 on another grid, float32[1 h w 1]."""
    sides = [(np.arange(int(n * stride)) / stride).astype(int) for n in core.shape]
    return core[np.ix_(*sides)][None, :, :, None]


def _price(model, latents, x, quality, cells, pixels, *, key=None, temperature=None):
    """Bits plus lambda times distortion, in bits.

    Args:
        model: the networks.
        latents: by target, float32[1 h w C] in steps.
        x: uint8[1 H W 3].
        quality: int32[1], half steps.
        cells: int32[2], rows and columns at 1/16 that belong to the picture.
        pixels: int32[2], the same in pixels, or more than x has.
        key: for draws of the latents; None for hard rounding.
        temperature: of the draws.
    """
    bits, decoded = rate(
        model.prior, latents, quality, key, extent=cells, temperature=temperature
    )
    seen = jnp.clip(model.synthesis(decoded, quality, cells), 0.0, 255.0)
    error = grid_mask((seen - x.astype(jnp.float32)) ** 2, pixels)
    lmbda = model.rates.lmbda(quality[0].astype(jnp.float32))
    total = sum(cost[0] for cost in bits.values())
    return total + lmbda * error.sum() / 3


def _move(model, latents, state, moves, schedule, *args):
    """One step of gradient descent: the latents and Adam's state after it."""
    number, speed, temperature = schedule
    key = jax.random.key(number.astype(jnp.int32))

    def price(own):
        return _price(model, own, *args, key=key, temperature=temperature)

    gradient = jax.grad(price)(latents)
    update, state = ADAM.update(gradient, state)
    moved = {
        name: value - speed * moves[name] * update[name]
        for name, value in latents.items()
    }
    return moved, state
