"""The integers of the exact path: what a unit is, and how far values reach.

No JAX: readers of weights and of streams need these numbers, too.
"""

from __future__ import annotations

__all__ = [
    "BIAS_SCALE",
    "EXACT_LIMIT",
    "GRID_LIMIT",
    "HEAD_LIMIT",
    "KERNEL_SCALE",
    "LATENT_LIMIT",
    "SIGNED",
    "STORED",
    "UNIT",
    "WEIGHT_BITS",
    "WEIGHT_LIMIT",
]

EXACT_LIMIT = 2**24
"""float32 holds every integer up to this one."""
UNIT = 64
"""Activations are integers in units of 1/64."""
SIGNED = 511
"""Signed activations lie in -511..511, rectified ones in 0..511: +-8 in real units."""
WEIGHT_BITS = 8
KERNEL_SCALE = 2.0**WEIGHT_BITS
"""The integer weight is the shadow times this."""
WEIGHT_LIMIT = 1023
BIAS_SCALE = UNIT * KERNEL_SCALE
"""The same of a bias."""
STORED = {
    "float16": ("<f2", 1.0),
    "float32": ("<f4", 1.0),
    "kernel": ("<i2", KERNEL_SCALE),
    "bias": ("<i4", BIAS_SCALE),
    "unit": ("<i2", float(UNIT)),
}
"""How arrays are stored, by what their variable says as `stored`: type and factor.
Variables that say nothing are float16, as the transforms are."""
LATENT_LIMIT = 2**15 - 1
"""Decoded latents lie in +-LATENT_LIMIT sixteenths of a step, about +-2048 steps."""
HEAD_LIMIT = 2**13 - 1
"""Mean heads lie in +-HEAD_LIMIT, in units of 1/1024 of the channel's scale."""
GRID_LIMIT = 2**14 - 1
"""Integers on their grid lie in +-GRID_LIMIT, so that escapes reach all of them."""
