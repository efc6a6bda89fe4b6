"""`wavelet-lossless`: integer sub-bands by a learned prior, and the same samples back.

    x -> YCoCg-R -> 5/3 wavelet -> luma: low, 5, 4, 3, 2, 1 -> chroma: the same

Coding order: all of luma, then all of chroma, each from the coarsest band to the finest
level, so that a grey picture is a beginning of the list. A level is foretold from the
low band that it completes, which is joined from everything coarser; chroma sees luma's
too. Coarse levels code their three bands in one step. The two finest code them in
three, by the fields of a checkerboard:

    step      black    white
    0         hl       lh
    1         lh       hl
    2         hh       hh

Nothing is rounded: the prior gives the mean in eighths and a scale, and the table is
that of scale and mean fraction. The only transform is the integer wavelet.

Source: LeGall and Tabatabai 1988 (5/3), Malvar and Sullivan 2003 (YCoCg-R); coding a
picture's levels from coarse to fine by a learned prior: Mentzer et al. 2019 (L3C), Cao,
Wu and Krähenbühl 2020 (SReC). Here the whole prior is exact integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.codecs.bands import (
    CROSS,
    SQUARE,
    STAR,
    BandHeads,
    BandNetwork,
    differences,
    neighbourhood,
    scale_index,
)
from codax.codecs.plain import Plain
from codax.coding.masks import Mask, checkerboard
from codax.coding.order import Step
from codax.coding.reversible import GROUPS, JOIN, WHOLE, from_bands, to_bands
from codax.entropy.densities import GridShape
from codax.entropy.exact import check_module
from codax.entropy.training import GridSource, Source
from codax.errors import ConfigError
from codax.transforms.rates import RateRange

__all__ = ["Lossless", "LosslessConfig", "LosslessPrior", "lossless"]

LH, HL, HH = 0, 1, 2
SCHEDULE = ((HL, LH), (LH, HL), (HH, HH))
"""The band that black and white fields code, by step."""
MIDDLE = 128
CROPS, CROP = 200, 128
"""Pictures' parts, and their side, that the start is fitted to."""


@dataclass(frozen=True, kw_only=True)
class LosslessConfig:
    """Widths of a `wavelet-lossless` codec."""

    levels: int = 5
    """Levels of the wavelet."""
    split: int = 2
    """The finest levels whose bands are coded in three steps."""
    channels: int = 32
    """Channels of the networks."""
    hidden: int = 48
    """Channels inside their blocks."""

    def __post_init__(self) -> None:
        """Checks what grids and tiles rely on."""
        if not 1 <= self.levels <= 6:
            raise ConfigError(f"levels: got {self.levels}, expected 1 to 6")
        if not 0 <= self.split <= min(self.levels, 4):
            raise ConfigError(
                f"split: got {self.split}, expected 0 to {min(self.levels, 4)}"
            )


def _mask(step: int, colours: int) -> Mask:
    """The band that each field codes at a step."""
    black, white = (
        range(band * colours, (band + 1) * colours) for band in SCHEDULE[step]
    )
    return checkerboard(black, white)


def _stride(level: int) -> float:
    """Cells of a level's grid per cell of 1/16."""
    return 16 / 2**level


def _halo(positions: int, level: int) -> int:
    """Positions of a level's grid as cells of 1/16, a multiple of 4."""
    return 4 * int(np.ceil(positions / _stride(level) / 4))


def _on_grid(extent: jax.Array | None, level: int) -> jax.Array | None:
    """A picture's extent in cells of 1/16 on a level's grid."""
    if extent is None:
        return None
    return extent * 2 ** (4 - level) if level <= 4 else -(-extent // 2 ** (level - 4))


def _low_step(group: str) -> Step:
    name = f"{group}_low"

    def network(prior: LosslessPrior, known, quality, extent, *, exact=True):
        # Nothing is known: `known` is zero, and the biases are all that counts.
        return getattr(prior, f"{name}_heads")(
            known, _on_grid(extent, prior.levels), exact=exact
        )

    return Step(name=name, target=name, reads=(name,), network=network)


def _join_step(group: str, level: int, last: bool) -> Step:
    """The low band that a level completes, from all that is coarser."""
    above = level + 1
    reads = (f"{group}_low",) if last else (f"{group}_at{above}", f"{group}{above}")

    def network(prior: LosslessPrior, low, *rest, exact=True):
        *details, _, extent = rest
        sides = extent or (2 * low.shape[1], 2 * low.shape[2])
        return (WHOLE[JOIN](low, *details, extent=sides).astype(jnp.float32),)

    name = f"{group}_at{level}"
    return Step(
        name=name, target=name, reads=reads, network=network, coded=False, whole=JOIN
    )


def _surroundings(group: str, level: int) -> tuple[str, ...]:
    """What the features of a level are made of."""
    if group == "luma":
        return (f"luma_at{level}",)
    return (f"chroma_at{level}", f"luma_at{level}", f"luma{level}")


def _features(prior: LosslessPrior, group: str, level: int, known, extent, exact):
    offsets = STAR if group == "luma" else SQUARE
    seen = [differences(low, extent, offsets) for low in known[:2]]
    seen += [neighbourhood(details) for details in known[2:]]
    network = getattr(prior, f"{group}{level}_features")
    return network(None, jnp.concatenate(seen, -1), extent, exact=exact)


def _whole_level(group: str, level: int) -> Step:
    """A coarse level: its three bands in one step."""
    name = f"{group}{level}"

    def network(prior: LosslessPrior, *args, exact=True):
        *known, _, extent = args
        extent = _on_grid(extent, level)
        x = _features(prior, group, level, known, extent, exact)
        return getattr(prior, f"{name}_heads")(x, extent, exact=exact)

    return Step(
        name=name,
        target=name,
        reads=_surroundings(group, level),
        network=network,
        halo=_halo(2 + BandNetwork.reach, level),
    )


def _split_level(group: str, level: int) -> tuple[Step, ...]:
    """A fine level: its features, then three steps of fields."""
    name = f"{group}{level}"

    def features(prior: LosslessPrior, *args, exact=True):
        *known, _, extent = args
        extent = _on_grid(extent, level)
        return (_features(prior, group, level, known, extent, exact),)

    def part(k: int) -> Callable[..., Any]:
        def network(prior: LosslessPrior, x, known, quality, extent, *, exact=True):
            extent = _on_grid(extent, level)
            seen = neighbourhood(known, CROSS)
            x = getattr(prior, f"{name}_step{k}")(x, seen, extent, exact=exact)
            return getattr(prior, f"{name}_heads{k}")(x, extent, exact=exact)

        return network

    derived = Step(
        name=f"{name}_features",
        target=f"{name}_features",
        reads=_surroundings(group, level),
        network=features,
        coded=False,
        halo=_halo(2 + BandNetwork.reach, level),
    )
    steps = [
        Step(
            name=f"{name}_{k}",
            target=name,
            reads=(f"{name}_features", name),
            network=part(k),
            mask=_mask(k, GROUPS[group]),
            halo=_halo(1 + BandNetwork.reach, level),
        )
        for k in range(len(SCHEDULE))
    ]
    return (derived, *steps)


@cache
def _steps(levels: int, split: int) -> tuple[Step, ...]:
    """The coding order."""
    steps: list[Step] = []
    for group in GROUPS:
        steps.append(_low_step(group))
        for level in range(levels, 0, -1):
            steps.append(_join_step(group, level, last=level == levels))
            if level > split:
                steps.append(_whole_level(group, level))
            else:
                steps += _split_level(group, level)
    return tuple(steps)


class LosslessPrior(nnx.Module):
    """The prior: exact networks, tables, and the coding order above."""

    def __init__(self, config: LosslessConfig, *, rngs: nnx.Rngs):
        """Makes the networks; `set_scale` sets what depends on the data."""
        self.levels, self.split = config.levels, config.split
        self.width = config.channels
        self.grid_shape = GridShape()
        width, hidden = config.channels, config.hidden
        for group, c in GROUPS.items():
            low = BandHeads(c, c, phases=False, rngs=rngs)
            setattr(self, f"{group}_low_heads", low)
            if group == "luma":
                seen = len(STAR)
            else:
                seen = 3 * len(SQUARE) + 3 * len(CROSS)
            for level in range(1, self.levels + 1):
                name = f"{group}{level}"
                network = BandNetwork(0, seen, width, hidden, rngs=rngs)
                setattr(self, f"{name}_features", network)
                if level > self.split:
                    heads = BandHeads(width, 3 * c, phases=False, rngs=rngs)
                    setattr(self, f"{name}_heads", heads)
                    continue
                for k in range(len(SCHEDULE)):
                    known = 3 * c * len(CROSS)
                    network = BandNetwork(width, known, width, hidden, rngs=rngs)
                    setattr(self, f"{name}_step{k}", network)
                    heads = BandHeads(width, c, phases=True, rngs=rngs)
                    setattr(self, f"{name}_heads{k}", heads)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The coding order."""
        return _steps(self.levels, self.split)

    @property
    def sources(self) -> dict[str, Source]:
        """By target of a coding step, how its latents are coded."""
        source = GridSource(density=self.grid_shape)
        return {step.target: source for step in self.steps if step.coded}

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each array of the state."""
        found = {}
        for group, c in GROUPS.items():
            found[f"{group}_low"] = c
            for level in range(1, self.levels + 1):
                found[f"{group}{level}"] = 3 * c
                found[f"{group}_at{level}"] = c
                found[f"{group}{level}_features"] = self.width
        return found

    @property
    def strides(self) -> dict[str, float]:
        """Cells of each array of the state per cell of 1/16."""
        found = {}
        for group in GROUPS:
            found[f"{group}_low"] = _stride(self.levels)
            for level in range(1, self.levels + 1):
                for name in (f"{level}", f"_at{level}", f"{level}_features"):
                    found[group + name] = _stride(level)
        return found

    def output_channels(self, step: Step) -> tuple[int, ...]:
        """Channels of the arrays that a step's network gives."""
        if not step.coded:
            return (self.channels[step.target],)
        every = self.channels[step.target]
        return (every if step.mask is None else step.mask.width,) * 2

    def check_exact(self) -> None:
        """Checks that every layer is exact; raises ModelError if one is not."""
        check_module("prior", self)

    def set_scale(self, std: dict[str, np.ndarray]) -> None:
        """Starts the scales at the bands' own.

        Args:
            std: by target, float32[channels], standard deviations.
        """
        for group, c in GROUPS.items():
            low = getattr(self, f"{group}_low_heads")
            low.set_index(scale_index(std[f"{group}_low"]))
            for level in range(1, self.levels + 1):
                name = f"{group}{level}"
                index = scale_index(std[name])
                if level > self.split:
                    getattr(self, f"{name}_heads").set_index(index)
                    continue
                bands = index.reshape(3, c)
                for k, (black, white) in enumerate(SCHEDULE):
                    phases = bands[np.array([black, white, white, black])]
                    getattr(self, f"{name}_heads{k}").set_index(phases)


class Lossless(Plain):
    """The codec: the integer wavelet around the prior.

    Attributes:
        prior: exact networks, tables and the coding order.
        analysis_halo: unused, the wavelet takes pictures whole.
        synthesis_halo: the same.
    """

    analysis_halo = synthesis_halo = 0
    rates = RateRange(low=1.0, high=2.0)
    """Any will do: there is no distortion to weigh."""

    def __init__(self, config: LosslessConfig, *, rngs: nnx.Rngs):
        """Makes the networks."""
        self.prior = LosslessPrior(config, rngs=rngs)

    @property
    def synthesis_reads(self) -> tuple[str, ...]:
        """The latents that `synthesis` needs."""
        return tuple(self.prior.sources)

    def start(self, sample: Callable[[int, int], np.ndarray]) -> None:
        """Starts the scales at those of the data.

        Args:
            sample: `(count, side)` -> random parts of pictures, [count side side 3].
        """
        crops = sample(CROPS, CROP).astype(np.uint8)
        bands = to_bands(crops, self.prior.levels, MIDDLE)
        self.prior.set_scale({n: b.std((0, 1, 2)) for n, b in bands.items()})

    def analysis(
        self, x: jax.Array, quality: jax.Array, extent: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Sub-bands of pictures float32[N H W 3] 0..255, sides multiples of 64."""
        samples = jnp.round(x).astype(jnp.int32)
        bands = to_bands(samples, self.prior.levels, MIDDLE)
        return {name: value.astype(jnp.float32) for name, value in bands.items()}

    def synthesis(
        self,
        latents: dict[str, jax.Array],
        quality: jax.Array,
        extent: jax.Array | None = None,
    ) -> jax.Array:
        """Pictures float32[N H W 3] of sub-bands: those that they were made of."""
        height, width = (2 * side for side in latents["luma1"].shape[1:3])
        bands = {
            n: jax.lax.stop_gradient(v).astype(jnp.int32) for n, v in latents.items()
        }
        return from_bands(bands, height, width, MIDDLE).astype(jnp.float32)


def lossless(config: LosslessConfig, *, rngs: nnx.Rngs) -> Lossless:
    """Makes the codec's networks."""
    return Lossless(config, rngs=rngs)
