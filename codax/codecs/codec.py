"""A trained codec, ready for use: pictures to range-coder streams and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from codax.codecs import order
from codax.codecs import tokens as tokenizer
from codax.codecs.container import join_layers, split_layers
from codax.codecs.families import family
from codax.codecs.order import SymbolSink, layers_at
from codax.codecs.reversible import Prefix
from codax.codecs.running import Networks
from codax.codecs.tiles import BUCKETS
from codax.codecs.trees import abstract_model, fill_model, read_config
from codax.codecs.weights import (
    read_checkpoint,
    unpack_tables,
    unpack_weights,
    weights_hash,
)
from codax.entropy.coder import CostMeter, SymbolEncoder, TableSet
from codax.entropy.tables import ANCHOR_SPACING
from codax.errors import FormatError

__all__ = ["Codec"]


class Codec:
    """A codec with weights.

    Example:
        >>> import codax
        >>> codec = codax.load("quadtree-tiny")         # doctest: +SKIP
        >>> data = codec.encode(picture, quality=60)    # doctest: +SKIP
        >>> codec.decode(data).save("back.png")         # doctest: +SKIP

    Attributes:
        name: such as `quadtree-tiny-v1`.
        card: the checkpoint's card.
        codec_id: the family's byte in files.
        weights_hash: the six bytes in files.
        qualities: the lowest and the highest that it supports, within 0..100.
        lossless: whether decoded pictures equal what was encoded.
        layers: after how many layers its files can be cut; 1 if they cannot.
        refines: whether its latents can be refined by gradient descent.
        config: the family's configuration.
        model: the networks, an `nnx` module.
    """

    def __init__(
        self,
        packed: dict[str, np.ndarray],
        card: dict[str, Any],
        *,
        buckets: tuple[int, ...] = BUCKETS,
    ):
        """Builds the networks from stored weights.

        Args:
            packed: stored arrays, see `codax.codecs.weights`.
            card: the checkpoint's card.
            buckets: sides in cells of 16 pixels that networks are compiled for.

        Raises:
            ModelError: weights that do not fit or break the exactness bounds.
            ConfigError: buckets that cannot hold any picture.
        """
        kind = family(card["codec"])
        self.card = card
        self.name: str = card["name"]
        self.codec_id = kind.codec_id
        self.qualities, self.lossless = kind.qualities, kind.lossless
        self.weights_hash = weights_hash(packed)
        self.config = read_config(kind.config, card["config"])
        graph, shapes = abstract_model(kind.networks, self.config)
        state = fill_model(shapes, unpack_weights(packed))
        self._networks = Networks(graph, state, buckets)
        self.model = self._networks.model
        prior = self.model.prior
        prior.check_exact()
        self.layers = order.layer_count(prior)
        sources = prior.sources
        self.refines = all(hasattr(s, "anneal") for s in sources.values())
        names = {source.tables for source in sources.values()}
        sets = {name: unpack_tables(packed, name) for name in names}
        self._sets = {target: sets[source.tables] for target, source in sources.items()}

    @classmethod
    def from_folder(cls, folder: Path, **options: Any) -> Codec:
        """Loads a checkpoint folder; raises ModelError if it cannot be used."""
        packed, card = read_checkpoint(folder)
        return cls(packed, card, **options)

    # The public face: whole files.

    def encode(
        self,
        image: Image.Image | np.ndarray,
        quality: float | None = None,
        **options: Any,
    ) -> bytes:
        """Encodes a picture to the bytes of a file.

        Args:
            image: a Pillow picture, or an array uint8[H W], [H W 3] or [H W 4];
                uint16[H W] for a lossless codec.
            quality: 0..100 in half steps, default 75.
            **options: the targets and metadata of `codax.codecs.files.encode_image`.

        Returns:
            A `.codax` file.

        Raises:
            ImageError: a picture that cannot be coded.
            UnsupportedError: a kind of picture or a target out of reach.
            ConfigError: a value out of range.
        """
        from codax.codecs.files import encode_image

        return encode_image(self, image, quality=quality, **options)

    def decode(self, data: bytes, **options: Any) -> Image.Image:
        """Decodes the bytes of a file made with these weights.

        Args:
            data: a `.codax` file.
            **options: those of `codax.codecs.files.decode_image`.

        Returns:
            The picture.

        Raises:
            FormatError: the file is damaged.
            ModelError: it was made with other weights.
        """
        from codax.codecs.files import decode_image

        return decode_image(data, codec=self, **options)

    # The pieces, for use under jit, vmap and grad.

    def analysis(self, x: jax.Array, quality: jax.Array) -> dict[str, jax.Array]:
        """Latents of pictures.

        Args:
            x: float32[N H W 3], 0..255, H and W multiples of 64.
            quality: int32[N], half steps 0..200.

        Returns:
            `y` float32[N H/16 W/16 M], and what else the codec has, in latent steps.
        """
        return self.model.analysis(x, quality)

    def synthesis(self, latents: dict[str, jax.Array], quality: jax.Array) -> jax.Array:
        """Pictures of decoded latents.

        Args:
            latents: in latent steps, as `rate` returns them; `y` is enough.
            quality: int32[N], half steps 0..200.

        Returns:
            float32[N 16h 16w 3], about 0..255.
        """
        return self.model.synthesis(latents, quality)

    def rate(
        self, latents: dict[str, jax.Array], quality: jax.Array, key=None
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Bits by step, each float32[N], and decoded latents; see `order.rate`."""
        return order.rate(self.model.prior, latents, quality, key)

    # Tokens, of the codecs that have them: see `codax.codecs.tokens`.

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Sizes of the vocabularies of a cell's tokens, one for each token."""
        return tokenizer.vocabulary(self)

    def tokens(self, images: Any, quality: float | None = None) -> jax.Array:
        """Tokens int32[N h w L] of pictures uint8 or float32[N H W 3]."""
        return tokenizer.tokens(self, images, quality)

    def from_tokens(self, tokens: Any, quality: float | None = None) -> jax.Array:
        """Pictures uint8[N 16h 16w 3] of tokens int32[N h w L]."""
        return tokenizer.from_tokens(self, tokens, quality)

    def file_tokens(self, data: bytes) -> np.ndarray:
        """The tokens in a file, int32[1 h w L]."""
        return tokenizer.file_tokens(self, data)

    # Streams.

    def compress(self, rgb: np.ndarray, quality: int, *, refine: int = 0) -> bytes:
        """Codes samples.

        Args:
            rgb: uint8[H W 3]; a lossless codec also takes grey, uint8[H W 1] or
                uint16[H W 1].
            quality: half steps 0..200.
            refine: steps of gradient descent on the latents, where `refines`.

        Returns:
            The range-coder stream, or those of the quality's layers joined; before that
            of a lossless codec a `Prefix`.
        """
        coders = [SymbolEncoder() for _ in range(layers_at(quality, self.layers))]
        prefix, _ = self._encode(rgb, quality, coders, refine=refine)
        streams = [coder.finish() for coder in coders]
        if self.layers > 1:
            return join_layers(streams, self.layers)
        return prefix + streams[0]

    def costs(self, rgb: np.ndarray, quality: int) -> dict[str, np.ndarray]:
        """Where the bits of a stream go, from the tables that code it.

        Args:
            rgb: uint8[H W 3].
            quality: half steps 0..200.

        Returns:
            By step, bits float64[rows columns] at each position of the step's own grid:
            H/16 by W/16 for those of y, H/64 by W/64 for z, rounded up.
        """
        meters = [CostMeter() for _ in range(layers_at(quality, self.layers))]
        _, state = self._encode(rgb, quality, meters)
        extents = self._networks.extents(*rgb.shape[:2])
        steps = [step for step in self.model.prior.steps if step.coded]
        found = {}
        every = [bits for meter in meters for bits in meter.bits]
        # Further steps are of layers that the quality does not have, or of the chroma
        # of a lossless codec's grey picture.
        for step, bits in zip(steps, every, strict=False):
            own = order.positions(step, state, *extents[step.target])
            found[step.name] = np.zeros(own.shape)
            found[step.name][own] = bits.reshape(own.sum(), -1).sum(-1)
        return found

    def _encode(
        self,
        rgb: np.ndarray,
        quality: int,
        sinks: Sequence[SymbolSink],
        *,
        refine: int = 0,
    ) -> tuple[bytes, dict[str, np.ndarray]]:
        """Walks the coding order for a picture, its symbols going to the sinks.

        Returns:
            What stands before them in the stream, and what a decoder will have.
        """
        height, width = rgb.shape[:2]
        prefix, shifts = b"", {}
        if self.lossless:
            cut, bands = Prefix.cut(rgb, self.model.prior.levels)
            prefix, shifts = cut.write(), self.model.shifts(cut.shifts)
            latents = self._networks.padded(bands, height, width)
        else:
            latents = self._networks.analyse(rgb, quality)
            if refine:
                # Imported late: optax takes half a second.
                from codax.codecs.refining import refine as refined

                latents = refined(self._networks, rgb, latents, quality, refine)
        state = order.encode(
            self.model.prior,
            self._networks.steps(height, width, quality, shifts=shifts),
            latents,
            self._networks.extents(height, width),
            self._tables(quality),
            sinks,
        )
        return prefix, state

    def decompress(
        self,
        stream: bytes,
        height: int,
        width: int,
        quality: int,
        *,
        oracle: bool = False,
    ) -> np.ndarray:
        """Decodes samples.

        Args:
            stream: from `compress`.
            height: rows of the picture.
            width: columns of the picture.
            quality: half steps 0..200.
            oracle: evaluate the exact networks with NumPy instead of XLA.

        Returns:
            uint8[H W 3]; of a lossless codec what was encoded.

        Raises:
            FormatError: the stream is damaged.
        """
        latents, prefix = self._decode(stream, height, width, quality, oracle)
        if prefix is not None:
            return prefix.samples(latents, height, width)
        return self._networks.synthesise(latents, height, width, quality)

    def decode_latents(
        self,
        stream: bytes,
        height: int,
        width: int,
        quality: int,
        *,
        oracle: bool = False,
    ) -> dict[str, np.ndarray]:
        """The exact latents of a stream: int32, z in steps, y in sixteenths.

        Args:
            stream: from `compress`.
            height: rows of the picture.
            width: columns of the picture.
            quality: half steps 0..200.
            oracle: evaluate the exact networks with NumPy instead of XLA.

        Returns:
            By name, int32[h w C] on the picture's own grids.

        Raises:
            FormatError: the stream is damaged.
        """
        return self._decode(stream, height, width, quality, oracle)[0]

    def _decode(
        self, stream: bytes, height: int, width: int, quality: int, oracle: bool
    ) -> tuple[dict[str, np.ndarray], Prefix | None]:
        """The latents of a stream, and what stood before them in it."""
        if not 0 <= quality <= 200:
            raise FormatError(f"quality {quality / 2:g}, expected 0 to 100")
        model, networks, prefix = self.model, self._networks, None
        shapes = networks.shapes(height, width)
        extents = networks.extents(height, width)
        shifts: dict[str, int] = {}
        if self.lossless:
            prefix, stream = Prefix.read(stream, height, width, model.prior.levels)
            shapes = {name: shapes[name] for name in model.coded(prefix.colours)}
            shifts = model.shifts(prefix.shifts)
        streams = [stream]
        if self.layers > 1:
            streams = split_layers(stream)[0]
            expected = layers_at(quality, self.layers)
            if len(streams) != expected:
                raise FormatError(
                    f"{len(streams)} layers at quality {quality / 2:g}, expected "
                    f"{expected} of the codec's {self.layers}"
                )
        found = order.decode(
            model.prior,
            networks.steps(height, width, quality, shifts=shifts, oracle=oracle),
            shapes,
            extents,
            self._tables(quality),
            streams,
        )
        latents = {
            name: value[0, : extents[name][0], : extents[name][1]].astype(np.int32)
            for name, value in found.items()
        }
        return prefix.whole(latents) if prefix else latents, prefix

    def _tables(self, quality: int) -> dict[str, TableSet]:
        """By target, the tables at a quality; static ones have a set an anchor."""
        anchor = (quality + ANCHOR_SPACING // 2) // ANCHOR_SPACING
        return {
            target: sets[anchor if len(sets) > 1 else 0]
            for target, sets in self._sets.items()
        }
