"""The codec families: for each its number in files, its configuration, its networks.

One dict holds them. A family from outside the package joins it by `register`, which a
file of one's own calls (`--codec FILE.py` loads it), or which an installed package
calls in a module that it names under the entry-point group `codax.codecs`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from codax.codecs.adaptive import AdaptiveConfig, adaptive
from codax.codecs.channelwise import ChannelwiseConfig, channelwise
from codax.codecs.factorized import FactorizedConfig, factorized
from codax.codecs.fsq import FsqConfig, fsq
from codax.codecs.granular import GranularConfig, granular
from codax.codecs.hyperprior import HyperpriorConfig, hyperprior
from codax.codecs.lossless import LosslessConfig, lossless
from codax.codecs.mcquic import McquicConfig, mcquic
from codax.codecs.prefix import PrefixConfig, prefix
from codax.codecs.quadtree import QuadtreeConfig, quadtree
from codax.codecs.rvq import RvqConfig, rvq
from codax.codecs.walloc import WallocConfig, walloc
from codax.codecs.wavelet import WaveletConfig, wavelet
from codax.errors import CodaxError, ConfigError
from codax.files.scripts import run_file

__all__ = ["FAMILIES", "Family", "family", "load_file", "register"]

OUTSIDE = range(192, 250)
"""Ids in files for codecs from outside; the weights' hash tells them apart."""
GROUP = "codax.codecs"
NAME = re.compile(r"[a-z][a-z0-9]*(-(?!v[0-9]+$)[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One codec family.

    Attributes:
        name: of the family, which begins the names of its weights.
        codec_id: the byte in a file's header; of the package's own never reused.
        config: its configuration, a frozen dataclass.
        networks: makes its module, `networks(config, rngs=...)`.
        qualities: the lowest and the highest that it supports, within 0..100.
        lossless: whether decoded pictures equal what was encoded.
    """

    name: str
    codec_id: int
    config: type[Any]
    networks: Callable[..., Any]
    qualities: tuple[int, int] = (0, 100)
    lossless: bool = False

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ConfigError: one is not what it should be.
        """
        low_high = self.qualities if isinstance(self.qualities, tuple) else ()
        whole = [q for q in low_high if type(q) is int and 0 <= q <= 100]
        for name, right, expected in (
            ("name", isinstance(self.name, str) and NAME.fullmatch(self.name),
             "lower-case letters and digits, words joined by dashes, no version"),
            ("codec_id", type(self.codec_id) is int and 0 < self.codec_id < 256,
             "a whole number of 1 to 255"),
            ("config", isinstance(self.config, type) and is_dataclass(self.config),
             "a dataclass"),
            ("networks", callable(self.networks), "a function that makes a module"),
            ("qualities", len(whole) == len(low_high) == 2 and whole == sorted(whole),
             "two whole numbers of 0 to 100, the lower first"),
            ("lossless", isinstance(self.lossless, bool), "True or False"),
        ):  # fmt: skip
            if not right:
                value = getattr(self, name)
                raise ConfigError(f"family: {name} is {value!r}; expected {expected}")


OWN = (
    Family(name="factorized", codec_id=1, config=FactorizedConfig, networks=factorized),
    Family(name="hyperprior", codec_id=2, config=HyperpriorConfig, networks=hyperprior),
    Family(
        name="channelwise", codec_id=3, config=ChannelwiseConfig, networks=channelwise
    ),
    Family(name="quadtree", codec_id=4, config=QuadtreeConfig, networks=quadtree),
    Family(name="wavelet", codec_id=5, config=WaveletConfig, networks=wavelet),
    Family(
        name="wavelet-lossless",
        codec_id=6,
        config=LosslessConfig,
        networks=lossless,
        qualities=(100, 100),
        lossless=True,
    ),
    Family(name="fsq", codec_id=7, config=FsqConfig, networks=fsq, qualities=(0, 60)),
    Family(name="rvq", codec_id=8, config=RvqConfig, networks=rvq),
    Family(
        name="walloc",
        codec_id=10,
        config=WallocConfig,
        networks=walloc,
        qualities=(75, 75),
    ),
    Family(name="granular", codec_id=11, config=GranularConfig, networks=granular),
    Family(name="prefix", codec_id=12, config=PrefixConfig, networks=prefix),
    Family(name="mcquic", codec_id=13, config=McquicConfig, networks=mcquic),
    Family(name="adaptive", codec_id=14, config=AdaptiveConfig, networks=adaptive),
)
FAMILIES: dict[str, Family] = {own.name: own for own in OWN}
"""By name. Id 9 is taken by stored pictures; 14 is a
draft without weights, whose bytes may change."""


def register(family: Family) -> None:
    """Adds a family from outside the package; the same one again takes its place.

    Raises:
        ConfigError: no `Family`, a name of the package's own, or an id that is none of
            192 to 249.
    """
    if not isinstance(family, Family):
        raise ConfigError(
            f"register: got {type(family).__name__}; expected codax.Family(name=...)"
        )
    name = family.name
    if any(name == own.name for own in OWN):
        raise ConfigError(f"codec {name!r} is one of codax's own; choose another name")
    if family.codec_id not in OUTSIDE:
        raise ConfigError(
            f"codec {name!r}: codec_id is {family.codec_id}; codecs from outside have "
            f"{OUTSIDE[0]} to {OUTSIDE[-1]}"
        )
    FAMILIES[name] = family


def family(name: str) -> Family:
    """Looks a family up, among those of installed packages too.

    Nothing is imported because a file or a card names it: unknown names make installed
    packages register all that they have, and a file is only ever loaded when the user
    names it.

    Raises:
        ConfigError: there is no such family.
    """
    if name not in FAMILIES:
        for entry in entry_points(group=GROUP):
            entry.load()
    if name not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ConfigError(
            f"codec {name!r} is unknown here; bring it in with `codax.register`, or "
            f"install the package that has it; the families are {known}"
        )
    return FAMILIES[name]


def load_file(path: str | Path) -> list[str]:
    """Runs a Python file that registers codecs.

    Args:
        path: the file; what lies beside it can be imported by it.

    Returns:
        The names of the families that are there now and were not, or were others.

    Raises:
        ConfigError: the file is missing, fails, or registers no codec.
    """
    before = dict(FAMILIES)
    try:
        run_file(Path(path), "codax_codec_file")
    except CodaxError:
        # What a file registered before it failed does not stay.
        FAMILIES.clear()
        FAMILIES.update(before)
        raise
    found = [name for name, own in FAMILIES.items() if before.get(name) is not own]
    if not found:
        raise ConfigError(
            f"{path}: registers no codec; expected codax.register(Family(...))"
        )
    return found
