"""`walloc`: latents to learn on: wavelet packets, one matrix, eight bits.

    x -> packets -> matrix -> companding -> int8 latents at 1/8 ---> four quarters
                                                 |
                        x_hat <- packets <- matrix + network

The analysis is whole numbers from end to end: rounded lifting
(`codax/transforms/packets.py`), a matrix of integers, and a companding of straight
lines. So a picture has the same latents under every runtime, and they are those in its
file. The matrix has 192 numbers for each channel, and encoding takes a tenth of the
time of `quadtree`; only what decodes is a network.

Coding order, in cells of 2x2 latents: the first quarter in the two halves of a
checkerboard; then the one diagonally below it, then the other two, each from the
quarters that are known here and around.

Source: Jacobellis and Yadwadkar 2024 (Learned Compression for Compressed Learning):
packets, one linear map, companding, a nonlinear decoder. There the wavelet is of floats
and the latents become a lossless picture; whole numbers and the coding order are this
project's. Lines that get flatter by powers of two are how speech is companded (G.711).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.bands import (
    SQUARE,
    BandHeads,
    BandNetwork,
    neighbourhood,
    scale_index,
)
from codax.codecs.plain import Plain
from codax.coding.masks import channels
from codax.coding.order import Step
from codax.entropy.densities import GridShape
from codax.entropy.exact import check_module
from codax.entropy.training import GridSource, Source
from codax.entropy.units import EXACT_LIMIT
from codax.errors import ConfigError
from codax.transforms import packets
from codax.transforms.arrays import depth_to_space, space_to_depth
from codax.transforms.autoencoder import Blocks
from codax.transforms.klt import leading
from codax.transforms.layers import Dense, Fixed, pointwise
from codax.transforms.rates import RateRange

__all__ = ["Walloc", "WallocConfig", "WallocPrior", "walloc"]

LINES = ((64.0, 1.0), (64.0, 0.5), (124.0, 0.25))
"""The companding: lengths in latent steps and slopes of its lines, which end at 127."""
BITS = 14
"""Behind the point of what the matrix gives, at most: as many as there is room for."""
QUARTERS = (0, 3, 1, 2)
"""In the order in which they are coded."""
LOW = 4
"""The first channels are seen in the eight cells around, too."""
STEP_HALO = 4
SAMPLES, SIDE = 400, 128
"""Parts of pictures that the matrix is fitted to, and their side."""
PART = 25
"""Such parts at a time."""


@dataclass(frozen=True, kw_only=True)
class WallocConfig:
    """Widths of a `walloc` codec."""

    latents: int = 12
    """Channels of the latents, of 192."""
    step: float = 32.0
    """Step of the latents near zero, in levels of an orthonormal transform."""
    width: int = 96
    """Channels of the decoder's network at 1/8."""
    blocks: int = 6
    """Its blocks."""
    features: int = 64
    """Channels of the prior's networks at 1/16."""
    hidden: int = 96
    """Channels inside their blocks."""

    def __post_init__(self) -> None:
        """Checks the values."""
        if not 1 <= self.latents <= packets.BANDS:
            raise ConfigError(
                f"latents: got {self.latents}, expected 1 to {packets.BANDS}"
            )
        if not 1.0 <= self.step <= 256.0:
            raise ConfigError(f"step: got {self.step:g}, expected 1 to 256")


def compand(steps: jax.Array) -> jax.Array:
    """Whole numbers in +-127 of latents in steps; exact, by straight lines."""
    size, total, begin = jnp.abs(steps), jnp.zeros_like(steps), 0.0
    for length, slope in LINES:
        total = total + jnp.clip(size - begin, 0.0, length) * slope
        begin += length
    return jnp.sign(steps) * jnp.floor(total + 0.5)


def expand(latents: jax.Array) -> jax.Array:
    """The middle of what `compand` gives a latent for, in steps."""
    size, total, begin = jnp.abs(latents), jnp.zeros_like(latents), 0.0
    for length, slope in LINES:
        own = length * slope
        total = total + jnp.clip(size - begin, 0.0, own) / slope
        begin += own
    return jnp.sign(latents) * total


class WallocAnalysis(nnx.Module):
    """Pictures to latents; whole numbers from end to end, and nothing is trained."""

    def __init__(self, latents: int):
        """Makes the matrix; `fit` sets it."""
        # A run that starts from other weights fits what depends on the step anew.
        stored = partial(Fixed, stored="float32", of_rates=True)
        self.matrix = stored(jnp.zeros((packets.BANDS, latents)))
        self.unit = stored(jnp.ones((latents,)))

    def __call__(self, x: jax.Array, extent: jax.Array | None = None) -> jax.Array:
        """Latents of pictures.

        Args:
            x: float32[N H W 3], 0..255, sides multiples of 16; rounded.
            extent: int32[2], rows and columns of cells of 16 pixels that belong to the
                picture; None when all do.

        Returns:
            float32[N H/8 W/8 C], whole numbers in +-127.
        """
        bands = packets.split(jnp.round(x), extent)
        return compand(pointwise(bands, self.matrix[...]) * self.unit[...])

    def fit(self, vectors: np.ndarray) -> None:
        """Sets the matrix to whole numbers near vectors float64[192 C], in steps."""
        reach = packets.limits() @ np.abs(vectors)
        # A bit less than there is room for, because the matrix is rounded.
        bits = np.minimum(np.floor(np.log2(EXACT_LIMIT / reach)) - 1, BITS)
        self.matrix[...] = jnp.asarray(np.round(vectors * 2.0**bits), jnp.float32)
        self.unit[...] = jnp.asarray(2.0**-bits, jnp.float32)


class WallocSynthesis(nnx.Module):
    """Latents to pictures: a linear map to packets, and a network beside it."""

    def __init__(self, config: WallocConfig, *, rngs: nnx.Rngs):
        """Makes the transform; the network begins as nothing."""
        shape = (config.latents, packets.BANDS)
        self.klt = nnx.Param(jnp.zeros(shape), of_rates=True)
        self.std = Fixed(jnp.ones((config.latents,)), of_rates=True)
        self.error = Fixed(jnp.ones((packets.BANDS,)), of_rates=True)
        self.enter = Dense(config.latents, config.width, rngs=rngs)
        self.fine = Blocks(config.blocks, config.width, rngs=rngs)
        self.leave = Dense(config.width, packets.BANDS, rngs=rngs, gain=0.0)

    def __call__(self, latents: jax.Array, extent: jax.Array | None = None):
        """Pictures float32[N 8h 8w 3], about 0..255, of latents float32[N h w C]."""
        steps = expand(latents)
        f = self.enter(steps / self.std[...])
        f = self.fine(f, None if extent is None else 2 * extent)
        change = self.leave(f) * self.error[...]
        return packets.join(pointwise(steps, self.klt[...]) + change, extent)

    def fit(self, latents: np.ndarray, bands: np.ndarray) -> None:
        """Sets the linear map to that of least squares, and the network's units.

        Args:
            latents: float32[n C].
            bands: float32[n 192].
        """
        steps = np.asarray(expand(jnp.asarray(latents)), np.float64)
        square = steps.T @ steps + 1e-3 * np.eye(steps.shape[1])
        matrix = np.linalg.solve(square, steps.T @ bands)
        left = bands - steps @ matrix
        self.klt[...] = jnp.asarray(matrix, jnp.float32)
        std = np.maximum(steps.std(0), 0.1)
        self.std[...] = jnp.asarray(std, jnp.float32)
        self.error[...] = jnp.asarray(np.sqrt((left**2).mean(0)), jnp.float32)


def _network(name: str, known: int):
    """The network of a step that knows so many quarters."""

    def network(prior: WallocPrior, y, quality, extent, *, exact=True):
        count = prior.latents
        parts = [y[..., q * count : (q + 1) * count] for q in QUARTERS[:known]]
        low = jnp.concatenate([part[..., :LOW] for part in parts], -1)
        seen = jnp.concatenate([*parts, neighbourhood(low, SQUARE)], -1)
        x = getattr(prior, f"{name}_features")(None, seen, extent, exact=exact)
        return getattr(prior, f"{name}_heads")(x, extent, exact=exact)

    return network


def _first(prior: WallocPrior, y, quality, extent, *, exact=True):
    # Nothing is known: `y` is zero, and the biases are all that counts.
    return prior.black_heads(y[..., : prior.latents], extent, exact=exact)


@cache
def _steps(latents: int) -> tuple[Step, ...]:
    """The coding order of so many channels."""
    first = range(latents)
    parts = [
        ("black", _first, channels(first, (0, 3))),
        ("white", _network("white", 1), channels(first, (1, 2))),
    ]
    for known, quarter in enumerate(QUARTERS[1:], 1):
        own = range(quarter * latents, (quarter + 1) * latents)
        name = f"quarter{quarter}"
        parts.append((name, _network(name, known), channels(own)))
    return tuple(
        Step(
            name=name,
            target="y",
            reads=("y",),
            network=network,
            mask=mask,
            halo=STEP_HALO,
        )
        for name, network, mask in parts
    )


class WallocPrior(nnx.Module):
    """The prior: exact networks, tables, and the coding order above."""

    def __init__(self, config: WallocConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        self.latents = count = config.latents
        self.grid_shape = GridShape()
        width = config.features
        self.black_heads = BandHeads(count, count, phases=False, rngs=rngs)
        for known, step in enumerate(self.steps[1:]):
            seen = max(known, 1) * (count + min(LOW, count) * len(SQUARE))
            network = BandNetwork(0, seen, width, config.hidden, rngs=rngs)
            setattr(self, f"{step.name}_features", network)
            heads = BandHeads(width, count, phases=False, rngs=rngs)
            setattr(self, f"{step.name}_heads", heads)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""
        return _steps(self.latents)

    @property
    def sources(self) -> dict[str, Source]:
        """By target of a coding step, how its latents are coded."""
        return {"y": GridSource(density=self.grid_shape)}

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state: the four quarters of a cell."""
        return {"y": 4 * self.latents}

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        return {"y": 1.0}

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        return (self.latents,) * 2

    def check_exact(self) -> None:
        """Checks that every layer is exact; raises ModelError if one is not."""
        check_module("prior", self)

    def set_scale(self, std: np.ndarray) -> None:
        """Starts the scales at the latents' standard deviations, float32[C]."""
        index = scale_index(std)
        for step in self.steps:
            getattr(self, f"{step.name}_heads").set_index(index)


class Walloc(Plain):
    """The codec: whole numbers around the prior, and a network that decodes.

    Attributes:
        g_a: pictures to latents.
        g_s: latents to pictures.
        prior: exact networks, tables and the coding order.
        latent_channels: of the latents' face, see `codax.face.latents`.
        analysis_halo: cells of 1/16 that `analysis` looks beyond its own.
        synthesis_halo: the same of `synthesis`.
    """

    synthesis_reads = ("y",)
    analysis_halo = 4
    rates = RateRange(low=0.005, high=0.05)
    """Of the loss: rate and distortion are of different networks, which it weighs."""

    def __init__(self, config: WallocConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `start` fits the linear maps."""
        self.latent_channels, self.step = config.latents, config.step
        self.synthesis_halo = (config.blocks + 1) // 2 + 2
        self.g_a = WallocAnalysis(config.latents)
        self.g_s = WallocSynthesis(config, rngs=rngs)
        self.prior = WallocPrior(config, rngs=rngs)

    def start(self, sample: Callable[[int, int], np.ndarray]) -> None:
        """Fits the linear maps and the scales of the latents to pictures.

        Args:
            sample: `(count, side)` -> random parts of pictures, [count side side 3].
        """
        crops = np.round(sample(SAMPLES, SIDE)).astype(np.float32)
        parts = [crops[at : at + PART] for at in range(0, len(crops), PART)]
        split = jax.jit(packets.split)
        bands = np.concatenate([np.asarray(split(part)) for part in parts])
        bands = bands.reshape(-1, packets.BANDS)
        norms = packets.synthesis_norms()
        scaled = (bands * norms).astype(np.float32)
        square = (scaled.T @ scaled).astype(np.float64)
        vectors, _ = leading(square, self.latent_channels)
        self.g_a.fit(vectors * norms[:, None] / self.step)
        analyse = jax.jit(self.g_a)
        latents = np.concatenate([np.asarray(analyse(part)) for part in parts])
        latents = latents.reshape(-1, self.latent_channels)
        self.g_s.fit(latents, bands)
        self.prior.set_scale(latents.std(0))

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Latents of pictures float32[N H W 3] 0..255, by quarters of cells."""
        return {"y": space_to_depth(self.g_a(x, extent), 2)}

    def synthesis(
        self,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures float32[N 16h 16w 3] of latents by quarters of cells."""
        return self.g_s(depth_to_space(latents["y"], 2), extent)


def walloc(config: WallocConfig, *, rngs: nnx.Rngs) -> Walloc:
    """Makes the codec's networks."""
    return Walloc(config, rngs=rngs)
