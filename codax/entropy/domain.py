"""Between latents in steps and the fixed domain in which a prior works, in integers.

A latent's step grows eighteenfold from quality 100 to quality 0, and its variance
differs by channel a millionfold. So a prior sees latents divided by a per-channel
power of two and by the quality's gain, and its means and scales are multiplied back,
all in integers:

    seen  = clip(round(y16 * m_q * 4 / c))        units of 1/64
    mean  = clip(round(head * g_q * c / 64))      sixteenths of a latent step
    index = clip((raw + o_q + 8) >> 4, 0, 63)     raw and o_q in sixteenths

`y16` is a decoded latent in sixteenths of a step, c the channel's power of two, m_q
and g_q factors with 8 significant bits, o_q an integer offset: one for each quality in
half steps, computed once from `RateRange.gain` and stored with the weights. round is
floor(x + 1/2).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.entropy.exact import half_up, inward_clip
from codax.entropy.tables import LOG_SCALE_STEP, SCALE_COUNT
from codax.entropy.units import LATENT_LIMIT, SIGNED
from codax.transforms.layers import Fixed
from codax.transforms.rates import RateRange

__all__ = ["LatentDomain"]

QUALITIES = 201


def _eight_bits(value: np.ndarray) -> np.ndarray:
    """Rounds positive values to 8 significant bits."""
    exponent = np.floor(np.log2(value))
    return np.round(value * 2.0 ** (7 - exponent)) * 2.0 ** (exponent - 7)


class LatentDomain(nnx.Module):
    """The stored constants of the conversion, and the conversion itself.

    Every factor has at most 8 significant bits or is a power of two, so that all
    products below are exact in float32.
    """

    def __init__(self, channels: int, rates: RateRange):
        """Makes the constants for channels of unit scale; see `set_scale`."""
        relative = np.asarray(rates.relative_gain(np.arange(QUALITIES)), np.float64)

        def fixed(value: np.ndarray, *, of_rates: bool) -> Fixed:
            array = jnp.asarray(value, jnp.float32)
            return Fixed(array, stored="float32", of_rates=of_rates)

        offset = np.round(16 * np.log(relative) / LOG_SCALE_STEP)
        # Those of the rates follow from the configuration alone: a run that starts
        # from other weights keeps its own.
        self.see_factor = fixed(_eight_bits(1.0 / relative), of_rates=True)
        self.mean_factor = fixed(_eight_bits(relative), of_rates=True)
        self.index_offset = fixed(offset, of_rates=True)
        self.channel_scale = fixed(np.ones(channels), of_rates=False)

    def set_scale(self, std: np.ndarray) -> None:
        """Sets the channels' powers of two.

        Args:
            std: float32[C], standard deviations in latent steps at the middle quality.
        """
        power = 2.0 ** np.round(np.log2(np.maximum(std, 1e-3)))
        self.channel_scale[...] = jnp.asarray(power, jnp.float32)

    def _at(self, table: Fixed, quality: jax.Array) -> jax.Array:
        return jnp.take(table[...], quality)[:, None, None, None]

    def see(
        self,
        y16: jax.Array,
        quality: jax.Array,
        *,
        exact: bool = True,
        scale: jax.Array | None = None,
    ):
        """Latents as a prior sees them.

        Args:
            y16: float32[N h w C], integers, sixteenths of a step.
            quality: int32[N], half steps 0..200.
            exact: round to integers.
            scale: powers of two, broadcast to y16, instead of `channel_scale`.

        Returns:
            float32[N h w C], integers in +-511, units of 1/64 of the channel's scale.
        """
        scale = self.channel_scale[...] if scale is None else scale
        # The reciprocal of a power of two is exact.
        x = y16 * self._at(self.see_factor, quality) * (4.0 / scale)
        return inward_clip(half_up(x) if exact else x, -SIGNED, SIGNED)

    def mean(
        self, head: jax.Array, quality: jax.Array, scale: jax.Array, *, exact=True
    ):
        """A mean in sixteenths of a step from a head in 1/1024 of the scale.

        Args:
            head: float32[N h w k], integers in +-HEAD_LIMIT.
            quality: int32[N].
            scale: float32, broadcast to head: `channel_scale` of its symbols.
            exact: round to integers.

        Returns:
            float32[N h w k], integers in +-LATENT_LIMIT.
        """
        x = head * self._at(self.mean_factor, quality) * (scale * 2.0**-6)
        return inward_clip(half_up(x) if exact else x, -LATENT_LIMIT, LATENT_LIMIT)

    def index(self, raw: jax.Array, quality: jax.Array, *, exact=True) -> jax.Array:
        """The scale table's index, 0..63, from a raw head in sixteenths of an index."""
        x = (raw + self._at(self.index_offset, quality)) * 2.0**-4
        return inward_clip(half_up(x) if exact else x, 0.0, SCALE_COUNT - 1.0)
