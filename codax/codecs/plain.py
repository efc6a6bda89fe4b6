"""Networks without more to train than rate and distortion, what they share."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx

from codax.coding.rate import rate

__all__ = ["Plain"]


class Plain(nnx.Module):
    """Networks that rate and distortion alone train, and nothing is fitted in a run.

    Attributes:
        prior: exact networks, tables and the coding order.
    """

    adapts = False
    """Whether `adapt` does anything; where it does not, there is none."""
    counts = False
    """Whether codes and tables are counted: two sets of weights have no middle then."""
    prior: Any

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Latents of pictures float32[N H W 3] 0..255; the codec's own."""
        raise NotImplementedError

    def synthesis(
        self,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures float32[N H W 3] of decoded latents; the codec's own."""
        raise NotImplementedError

    def forward(
        self, x: jax.Array, quality: jax.Array, key: jax.Array | None, *, exact: bool
    ) -> tuple[dict[str, jax.Array], jax.Array, dict[str, jax.Array]]:
        """What training pays for pictures; see `Autoencoder.forward`."""
        latents = self.analysis(x, quality)
        bits, decoded = rate(self.prior, latents, quality, key, exact=exact)
        return bits, self.synthesis(decoded, quality), {}
