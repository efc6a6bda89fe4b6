"""The codec families: for each its number in files, its configuration, its networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from codax.codecs.adaptive import AdaptiveConfig, adaptive
from codax.codecs.channelwise import ChannelwiseConfig, channelwise
from codax.codecs.factorized import FactorizedConfig, factorized
from codax.codecs.fsq import FsqConfig, fsq
from codax.codecs.hyperprior import HyperpriorConfig, hyperprior
from codax.codecs.lossless import LosslessConfig, lossless
from codax.codecs.quadtree import QuadtreeConfig, quadtree
from codax.codecs.rvq import RvqConfig, rvq
from codax.codecs.wavelet import WaveletConfig, wavelet
from codax.errors import ConfigError

__all__ = ["FAMILIES", "Family", "family"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One codec family.

    Attributes:
        codec_id: the byte in a file's header; never reused.
        config: its configuration, a frozen dataclass.
        networks: makes its module, `networks(config, rngs=...)`.
        qualities: the lowest and the highest that it supports, within 0..100.
        lossless: whether decoded pictures equal what was encoded.
    """

    codec_id: int
    config: type[Any]
    networks: Callable[..., Any]
    qualities: tuple[int, int] = (0, 100)
    lossless: bool = False


FAMILIES: dict[str, Family] = {
    "factorized": Family(codec_id=1, config=FactorizedConfig, networks=factorized),
    "hyperprior": Family(codec_id=2, config=HyperpriorConfig, networks=hyperprior),
    "channelwise": Family(codec_id=3, config=ChannelwiseConfig, networks=channelwise),
    "quadtree": Family(codec_id=4, config=QuadtreeConfig, networks=quadtree),
    "wavelet": Family(codec_id=5, config=WaveletConfig, networks=wavelet),
    "wavelet-lossless": Family(
        codec_id=6,
        config=LosslessConfig,
        networks=lossless,
        qualities=(100, 100),
        lossless=True,
    ),
    "fsq": Family(codec_id=7, config=FsqConfig, networks=fsq, qualities=(0, 60)),
    "rvq": Family(codec_id=8, config=RvqConfig, networks=rvq),
    "adaptive": Family(codec_id=10, config=AdaptiveConfig, networks=adaptive),
}


def family(name: str) -> Family:
    """Looks a family up.

    Raises:
        ConfigError: there is no such family.
    """
    if name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigError(f"codec {name!r} is unknown; the families are {known}")
    return FAMILIES[name]
