"""Loading trained codecs: by name, by path, or as a file wants them."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image

from codax.face.codec import Codec
from codax.face.decoding import decode_file, wrong_weights
from codax.face.runtimes import choose_runtime
from codax.files import container
from codax.files.container import MAX_PIXELS, Container
from codax.files.regions import Region
from codax.zoo import cards

__all__ = ["decode_image", "find_codec", "load", "shared"]


def load(name: str | Path | None = None, *, runtime: str | None = None) -> Codec:
    """Loads a trained codec.

    Args:
        name: `quadtree-tiny-v1`, `quadtree-tiny` for its newest version, or the path
            of a checkpoint folder; the default codec if None.
        runtime: `onnx`, `jax` or `auto`: ONNX Runtime where the checkpoint has graphs,
            else JAX. None for what $CODAX_RUNTIME says, `auto` if nothing.

    Returns:
        The codec, ready to encode and decode.

    Raises:
        ModelError: no such codec, or weights that cannot be used.
        ConfigError: no such runtime.
        UnsupportedError: the runtime is not installed.
    """
    return Codec.from_folder(cards.choose_card(name).folder, runtime=runtime)


def shared(card: cards.Card) -> Codec:
    """A codec that calls share: loaded once, and anew when its weights have changed."""
    runtime = choose_runtime(None, card.fields)
    return _shared(str(card.folder.resolve()), card.weights_hash, runtime)


@functools.lru_cache(maxsize=4)
def _shared(folder: str, weights_hash: str, runtime: str) -> Codec:
    return load(folder, runtime=runtime)


def find_codec(file: Container, weights: str | Path | None = None) -> Codec:
    """Loads the codec that wrote a file.

    Args:
        file: what `container.read` returned.
        weights: path of the user's own weights; None looks among those that ship.

    Raises:
        ModelError: the weights are not at hand, or `weights` are others.
    """
    if weights is None:
        card = cards.find_by_hash(file.codec_id, file.weights_hash)
    else:
        card = cards.find_card(str(weights))
    codec = shared(card)
    if not codec.coder.wrote(file):
        raise wrong_weights(file, codec.coder)
    return codec


def decode_image(
    data: bytes,
    *,
    weights: str | Path | None = None,
    max_pixels: int = MAX_PIXELS,
    oracle: bool = False,
    region: tuple[int, int, int, int] | None = None,
    reduction: int = 1,
) -> Image.Image:
    """Decodes the bytes of a file with the codec that wrote it.

    Args:
        data: the whole file.
        weights: path of the user's own weights, instead of those that ship.
        max_pixels: refuse larger pictures before anything is allocated.
        oracle: find the probabilities with NumPy instead of a runtime; slow.
        region: as of `decode_with`.
        reduction: as of `codax.face.decoding.decode_file`.

    Returns:
        The picture in its mode, with `icc_profile`, `exif` and `xmp` in its `info`.

    Raises:
        FormatError: not a codax file, truncated or damaged.
        UnsupportedError: a file that this version does not handle, or too large.
        ModelError: the weights that wrote the file are not at hand, or are others.
    """
    file = container.read(data, max_pixels=max_pixels)
    return decode_file(
        file,
        lambda _: find_codec(file, weights).coder,
        oracle=oracle,
        region=Region.of_box(region),
        reduction=reduction,
    )
