"""The networks that every codec of the autoencoder family has, around any prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.enhancement import EnhancementTransform, enhance, fit_errors
from codax.coding.rate import rate
from codax.entropy.trellis import Trellis
from codax.transforms.autoencoder import (
    PIXEL_SCALE,
    Analysis,
    HyperAnalysis,
    ResidualPrediction,
    Synthesis,
    TransformWidths,
)
from codax.transforms.fronts import octaves, split
from codax.transforms.klt import block_order, fit_groups, fit_klt
from codax.transforms.rates import MIDDLE_QUALITY, FineRates

__all__ = ["BLOCKS", "SIDE_HALO", "Autoencoder"]

BLOCKS = 40_000
"""Blocks of 16x16 that the linear transform is fitted to."""
SIDE_HALO = 4
"""Cells that the hyper-analysis looks beyond the analysis."""
FITTED, PART = (110, 180), 8
"""Half steps at which errors are fitted, and pictures that are decoded at once."""


class Autoencoder(nnx.Module):
    """Analysis, synthesis, hyper-analysis where there is side information, and a prior.

    Attributes:
        synthesis_reads: the latents that `synthesis` needs.
        analysis_halo: cells of 1/16 that `analysis` looks beyond its own.
        synthesis_halo: the same of `synthesis`.
        rates: what the qualities stand for.
        g_a: picture to y.
        g_s: decoded y to picture.
        h_a: y to z; absent in codecs without side information.
        g_s_residual: latent residual prediction, where the codec has it.
        g_e: the transform of the enhancement layer, where the codec has one.
        prior: exact networks, tables and the coding order.
        trellis: how `forward` quantises dependently without a key; None for plainly.
    """

    synthesis_reads = ("y",)
    counts = False
    """Whether codes and tables are counted: two sets of weights have no middle then."""

    def __init__(
        self,
        transforms: TransformWidths,
        prior: Any,
        *,
        rngs: nnx.Rngs,
        hyper: tuple[int, int] | None = None,
        residual: int = 0,
        octaves: tuple[int, ...] = (),
        enhancement: FineRates | None = None,
    ):
        """Makes the float networks around a prior.

        Args:
            transforms: widths of the transforms.
            prior: the codec's own.
            rngs: random streams.
            hyper: hidden channels of the hyper-analysis and channels of z, or None.
            residual: hidden channels of the latent residual prediction; 0 for none.
            octaves: latents of each octave of the wavelet front, if they shall start
                apart.
            enhancement: the steps of the enhancement layer, whose networks the prior
                has; None for no such layer.
        """
        self.g_a = Analysis(transforms, rngs=rngs)
        self.g_s = Synthesis(transforms, rngs=rngs)
        self.octaves, self.rates = octaves, transforms.rates
        self.has_side, self.has_residual = hyper is not None, residual > 0
        self.analysis_halo = transforms.analysis_halo + SIDE_HALO * self.has_side
        self.synthesis_halo = transforms.synthesis_halo
        if hyper is not None:
            self.h_a = HyperAnalysis(transforms, *hyper, rngs=rngs)
        if residual:
            self.g_s_residual = ResidualPrediction(transforms, residual, rngs=rngs)
        self.has_enhancement = enhancement is not None
        if enhancement is not None:
            self.g_e = EnhancementTransform(enhancement)
        self.prior = prior
        self.trellis: Trellis | None = None

    @property
    def adapts(self) -> bool:
        """Whether `adapt` does anything."""
        return self.has_enhancement

    @property
    def closes(self) -> bool:
        """Whether files are made by analysis by synthesis."""
        return bool(self.prior.sources["y"].refines)

    def start(self, sample: Callable[[int, int], np.ndarray]) -> None:
        """Starts as the transform coder that fits pictures best.

        Args:
            sample: `(count, side)` -> random parts of pictures, [count side side 3].
        """
        latents = self.g_a.klt.shape[1]
        if self.g_a.front == "space-to-depth":
            blocks = sample(BLOCKS, 16).reshape(BLOCKS, 768)
            colour, matrix, std = fit_klt(blocks, latents)
            back = matrix.T[:, block_order()]
        else:
            crops = sample(BLOCKS // 64, 128)
            colour = crops.mean((0, 1, 2))
            _, bands = split(crops - colour, self.g_a.front)
            groups = octaves() if self.octaves else [np.arange(768)]
            counts = self.octaves or (latents,)
            matrix, std = fit_groups(bands.reshape(-1, 768), groups, counts)
            back = matrix.T
        if not self.g_a.side_path:
            std = np.full_like(std, 1.0 / PIXEL_SCALE)
        self.set_transform_coder(colour, matrix, back, std)

    def set_transform_coder(
        self,
        colour: np.ndarray,
        analysis: np.ndarray,
        synthesis: np.ndarray,
        std: np.ndarray,
    ) -> None:
        """Starts as a transform coder.

        Args:
            colour: float32[3], the mean colour.
            analysis: float32[768 M], see `fit_klt`.
            synthesis: float32[M 768], its transpose in the synthesis's order.
            std: float32[M], standard deviations of the components.
        """
        for transform, matrix in ((self.g_a, analysis), (self.g_s, synthesis)):
            transform.mean[...] = jnp.asarray(colour)
            transform.klt[...] = jnp.asarray(matrix)
        self.g_s.std[...] = jnp.asarray(std)
        if self.has_side:
            self.h_a.std[...] = jnp.asarray(std)
        if self.has_residual:
            self.g_s_residual.std[...] = jnp.asarray(std)
        self.prior.set_scale(std * float(self.rates.gain(MIDDLE_QUALITY)))

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Latents of pictures float32[N H W 3] 0..255, sides multiples of 64."""
        y = self.g_a(x, quality, extent)
        if not self.has_side:
            return {"y": y}
        return {"y": y, "z": self.h_a(y, quality)}

    def forward(
        self, x: jax.Array, quality: jax.Array, key: jax.Array | None, *, exact: bool
    ) -> tuple[dict[str, jax.Array], jax.Array, dict[str, jax.Array]]:
        """What training pays for pictures; the arguments are those of the loss.

        Returns:
            Bits by step, float32[N] each; the pictures as decoded; and further terms of
            the loss, float32[N] each.
        """
        latents = self.analysis(x, quality)
        if key is None and self.closes:
            latents = jax.lax.stop_gradient(self._closed(x, latents, quality, exact))
        bits, decoded = rate(
            self.prior, latents, quality, key, exact=exact, trellis=self.trellis
        )
        out = self.synthesis(decoded, quality)
        if self.has_enhancement:
            more, out = enhance(
                self.prior,
                self.g_e,
                x,
                out,
                decoded,
                quality,
                key,
                exact=exact,
                trellis=self.trellis,
            )
            bits |= more
        return bits, out, {}

    def _closed(
        self,
        x: jax.Array,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        exact: bool = True,
    ) -> dict[str, jax.Array]:
        """Latents after a pass of `codax.coding.analysing.closed`, as files have it."""
        _, kept = rate(
            self.prior, latents, quality, None, exact=exact, trellis=self.trellis
        )
        picture = jnp.clip(jnp.round(self.synthesis(kept, quality)), 0.0, 255.0)
        seen = self.analysis(picture, quality)
        return latents | {
            name: kept[name] + latents[name] - seen[name]
            for name in self.synthesis_reads
        }

    def adapt(self, pictures: np.ndarray, stage: str) -> dict[str, float]:
        """Fits what is fitted to pictures and not trained: the enhancement layer.

        Args:
            pictures: float32[N S S 3], 0..255.
            stage: `start` of a run, `run`, or `end` of a phase; only the first counts.

        Returns:
            Figures for the log.
        """
        if stage == "start" and self.has_enhancement:
            quality = np.linspace(*FITTED, len(pictures)).astype(np.int32)
            errors = pictures - self._without_layer(pictures, quality)
            matrix, std = fit_errors(errors, np.asarray(self.g_e.step[...])[quality])
            self.g_e.klt[...] = jnp.asarray(matrix)
            self.prior.enhancement.set_scale(std)
        return {}

    def _without_layer(self, pictures: np.ndarray, quality: np.ndarray) -> np.ndarray:
        """Pictures as they are decoded without an enhancement layer."""
        graph, state = nnx.split(self)

        @jax.jit
        def decode(state, x, quality):
            model = nnx.merge(graph, state)
            latents = model.analysis(x, quality)
            _, decoded = rate(model.prior, latents, quality, None)
            return model.synthesis(decoded, quality)

        found = [
            decode(state, pictures[at : at + PART], quality[at : at + PART])
            for at in range(0, len(pictures), PART)
        ]
        return np.clip(np.round(np.concatenate(found)), 0.0, 255.0)

    def synthesis(
        self,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of decoded latents in steps."""
        y_hat = latents["y"]
        if self.has_residual:
            y_hat = self.g_s_residual(y_hat, quality)
        return self.g_s(y_hat, quality, extent)
