"""From a run to the folder that ships: stored weights, tables, card, checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from codax.codecs.families import family
from codax.coding.layers import beyond_symbols
from codax.coding.trees import abstract_model, fill_model
from codax.errors import ModelError
from codax.face.building import pack_model
from codax.face.codec import Codec
from codax.train.config import TrainConfig
from codax.train.graphs.networks import add_graphs, graphs_of
from codax.train.state import averaged
from codax.zoo.weights import (
    digest,
    of_networks,
    read_checkpoint,
    weights_hash,
    write_checkpoint,
)

__all__ = [
    "check_estimate",
    "codec_of",
    "count_kmac",
    "export_weights",
    "make_card",
    "networks_of",
    "pack_codec",
]

Arrays = Mapping[str, np.ndarray]


def networks_of(arrays: Arrays, config: TrainConfig) -> Any:
    """The `nnx` module of `ema/...` and `fixed/...` arrays.

    Raises:
        ModelError: something is missing.
    """
    graph, shapes = abstract_model(family(config.codec).networks, config.model)
    return nnx.merge(graph, fill_model(shapes, averaged(arrays)))


def pack_codec(arrays: Arrays, config: TrainConfig) -> dict[str, np.ndarray]:
    """Stored weights and tables of `ema/...` and `fixed/...` arrays.

    Raises:
        ModelError: something is missing, not finite or beyond its range.
    """
    return pack_model(networks_of(arrays, config))


def make_card(
    packed: Arrays, config: TrainConfig, *, version: int = 1
) -> dict[str, Any]:
    """The fields of a card that follow from the weights and the configuration."""
    kind = family(config.codec)
    return {
        "name": f"{config.codec}-{config.preset}-v{version}",
        "codec": config.codec,
        "preset": config.preset,
        "version": version,
        "codec_id": kind.codec_id,
        "weights_hash": weights_hash(dict(packed)).hex(),
        "config": dataclasses.asdict(config.model),
        "qualities": list(kind.qualities),
        "lossless": kind.lossless,
    }


def codec_of(arrays: Arrays, config: TrainConfig, **options: Any) -> Codec:
    """The codec of a run's weights, as an export would write it, in memory.

    Args:
        arrays: `ema/...` and `fixed/...`.
        config: the run's configuration.
        **options: those of `Codec`.

    Returns:
        A codec that codes pictures to files and back.

    Raises:
        ModelError: the weights break a bound.
    """
    packed = pack_codec(arrays, config)
    codec = Codec(
        packed,
        make_card(packed, config),
        graphs=lambda: graphs_of(codec.model, packed),
        **options,
    )
    return codec


def export_weights(
    arrays: Arrays,
    config: TrainConfig,
    folder: Path,
    *,
    version: int = 1,
    facts: Mapping[str, Any] | None = None,
    share: str | None = None,
) -> Codec:
    """Writes a checkpoint folder, with graphs, and loads it back: exactness is checked.

    Args:
        arrays: `ema/...` and `fixed/...`, as `weights.npz` holds them.
        config: the run's configuration.
        folder: the folder's parent, usually `checkpoints`.
        version: N of `codec-preset-vN`.
        facts: further fields of the card (hours, data, results).
        share: a checkpoint of the same parent, such as `quadtree-tiny-v2`: networks
            that are equal there are not stored again.

    Returns:
        The codec, loaded from the new folder.

    Raises:
        ModelError: the weights break a bound, or there is nothing to share.
    """
    packed = whole = pack_codec(arrays, config)
    card = {**make_card(packed, config, version=version), **(facts or {})}
    codec = Codec(packed, card)
    card["kmac_per_pixel"] = count_kmac(codec)
    card["parameters"] = int(
        sum(v.size for k, v in packed.items() if not k.startswith("tables/"))
    )
    if share is not None:
        names = _equal_networks(packed, read_checkpoint(folder / share)[0])
        if not names:
            raise ModelError(f"{share}: no network equals this run's; nothing to share")
        known = of_networks(packed, names)
        packed = {path: v for path, v in packed.items() if path not in known}
        card["shared"] = {
            "from": share,
            "networks": names,
            "digest": digest(known).hex()[:16],
        }
    write_checkpoint(folder / card["name"], packed, card, codec.coder.order)
    add_graphs(folder / card["name"], codec.model, whole)
    return Codec.from_folder(folder / card["name"])


def _equal_networks(packed: Arrays, other: Arrays) -> list[str]:
    """Networks whose arrays are the same in both."""
    names = sorted({path.split("/")[0] for path in packed} - {"prior", "tables"})
    return [
        name
        for name in names
        if digest(of_networks(packed, [name])) == digest(of_networks(other, [name]))
    ]


def count_kmac(codec: Codec) -> dict[str, float]:
    """Thousands of multiply-adds a pixel, as XLA counts the compiled programs.

    Half the floating point operations of a 768x512 picture's programs.
    """
    pixels = 768 * 512
    grid = (32, 48)
    model, prior = codec.model, codec.model.prior
    quality = np.array([100], np.int32)
    extent = np.array(grid, np.int32)
    state = {
        name: np.zeros(
            (1, *(int(side * prior.strides[name]) for side in grid), c), np.float32
        )
        for name, c in prior.channels.items()
    }

    def kmac(function, *args) -> float:
        lowered = jax.jit(function).lower(*args, quality, extent)
        cost = lowered.compile().cost_analysis()
        return float((cost or {})["flops"]) / 2 / pixels / 1000

    x = np.zeros((1, 512, 768, 3), np.float32)
    latents = {name: state[name] for name in model.synthesis_reads}
    analysis, synthesis = kmac(model.analysis, x), kmac(model.synthesis, latents)
    probabilities = 0.0
    for step in prior.steps:
        if step.network is not None and not step.whole:
            network = partial(step.network, prior)
            probabilities += kmac(network, *(state[name] for name in step.reads))
    return {
        "encode": round(analysis + probabilities, 2),
        "decode": round(synthesis + probabilities, 2),
        "prior": round(probabilities, 2),
    }


def check_estimate(codec: Codec, pictures: list[np.ndarray], quality: int) -> float:
    """Compares the smooth estimate of training with real streams.

    Args:
        codec: the exported codec.
        pictures: uint8[H W 3], sides multiples of 64.
        quality: half steps.

    Returns:
        How many more bytes the streams take than estimated, as a share of the estimate,
        over all pictures; below 0 for fewer.

    Raises:
        ModelError: a picture's differ by more than 1 % and what streams take.
    """
    worst = files = estimated = 0.0
    model, trellis = codec.model, codec.coder.trellis
    model.trellis = trellis  # as training has it
    told = quality if trellis is None else trellis.told(quality)
    at = np.array([told], np.int32)
    beyond = beyond_symbols(quality, codec.coder.layers)
    estimate = jax.jit(lambda x: model.forward(x, at, None, exact=True)[0])
    for rgb in pictures:
        bits = estimate(rgb[None].astype(np.float32))
        expected = float(sum(b[0] for b in bits.values())) / 8
        size = len(codec.coder.compress(rgb, quality, passes=1))
        worst = max(worst, (abs(size - expected) - beyond) / size)
        files, estimated = files + size, estimated + expected
    if worst > 0.01:
        raise ModelError(
            f"estimate and file sizes differ by {100 * worst:.2f} % + {beyond} bytes, "
            "expected 1 %; what trains is not what codes"
        )
    return files / estimated - 1.0
