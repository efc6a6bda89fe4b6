"""A trained codec, ready for use: pictures to range-coder streams and back."""

from __future__ import annotations

from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image

from codax.codecs import order
from codax.codecs.families import family
from codax.codecs.order import State, Step, SymbolSink
from codax.codecs.tiles import BUCKETS, check_buckets, run_tiles
from codax.codecs.trees import abstract_model, fill_model, read_config
from codax.codecs.weights import (
    read_checkpoint,
    unpack_tables,
    unpack_weights,
    weights_hash,
)
from codax.entropy.coder import CostMeter, SymbolEncoder, TableSet
from codax.entropy.oracle import evaluate
from codax.entropy.tables import ANCHOR_SPACING
from codax.errors import FormatError

__all__ = ["Codec"]

CELL = 16
"""Pixels of a side of a cell of the latent grid."""
SIDE_HALO = 4
"""Cells that the hyper-analysis looks beyond the analysis."""


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
        self.weights_hash = weights_hash(packed)
        self.buckets = buckets
        self.config = read_config(kind.config, card["config"])
        self._graph, shapes = abstract_model(kind.networks, self.config)
        self._state = fill_model(shapes, unpack_weights(packed))
        prior = self.model.prior
        prior.check_exact()
        transforms = self.config.transforms
        halos = [step.halo for step in prior.steps]
        halos += [transforms.analysis_halo + SIDE_HALO, transforms.synthesis_halo]
        check_buckets(buckets, max(halos))
        self._channels, self._strides = prior.channels, prior.strides
        self._sets = {
            target: unpack_tables(packed, source.tables)
            for target, source in prior.sources.items()
        }
        self._jitted: dict[Any, Any] = {}

    @classmethod
    def from_folder(cls, folder: Path, **options: Any) -> Codec:
        """Loads a checkpoint folder; raises ModelError if it cannot be used."""
        packed, card = read_checkpoint(folder)
        return cls(packed, card, **options)

    @cached_property
    def model(self) -> Any:
        """The networks, an `nnx` module."""
        return nnx.merge(self._graph, self._state)

    @cached_property
    def _leaves(self) -> tuple[list[jax.Array], Any]:
        """The state's arrays as a list: a call of JAX takes it apart in no time."""
        return jax.tree.flatten(self._state)

    # The public face: whole files.

    def encode(
        self,
        image: Image.Image | np.ndarray,
        quality: float | None = None,
        **options: Any,
    ) -> bytes:
        """Encodes a picture to the bytes of a file.

        Args:
            image: a Pillow picture, or an array uint8[H W], [H W 3] or [H W 4].
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

    # Streams.

    def compress(self, rgb: np.ndarray, quality: int) -> bytes:
        """Codes samples.

        Args:
            rgb: uint8[H W 3].
            quality: half steps 0..200.

        Returns:
            The range-coder stream.
        """
        coder = SymbolEncoder()
        self._encode(rgb, quality, coder)
        return coder.finish()

    def costs(self, rgb: np.ndarray, quality: int) -> dict[str, np.ndarray]:
        """Where the bits of a stream go, from the tables that code it.

        Args:
            rgb: uint8[H W 3].
            quality: half steps 0..200.

        Returns:
            By step, bits float64[rows columns] at each position of the step's own grid:
            H/16 by W/16 for those of y, H/64 by W/64 for z, rounded up.
        """
        meter = CostMeter()
        self._encode(rgb, quality, meter)
        extents = self._extents(*rgb.shape[:2])
        coded = [step for step in self.model.prior.steps if step.coded]
        return {
            step.name: bits.reshape(*extents[step.target], -1).sum(-1)
            for step, bits in zip(coded, meter.bits, strict=True)
        }

    def _encode(self, rgb: np.ndarray, quality: int, sink: SymbolSink) -> None:
        """Walks the coding order for a picture, its symbols going to a sink."""
        height, width = rgb.shape[:2]
        grid = _grid(height, width)
        order.encode(
            self.model.prior,
            self._runner(grid, quality),
            self._analyse(rgb, quality, grid),
            self._extents(height, width),
            self._tables(quality),
            sink,
        )

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
            uint8[H W 3].

        Raises:
            FormatError: the stream is damaged.
        """
        latents = self.decode_latents(stream, height, width, quality, oracle=oracle)
        return self._synthesise(latents, height, width, quality)

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
        grid = _grid(height, width)
        if not 0 <= quality <= 200:
            raise FormatError(f"quality {quality / 2:g}, expected 0 to 100")
        extents = self._extents(height, width)
        rows, columns = _padded(grid)
        shapes = {
            name: (1, int(rows * s), int(columns * s), self._channels[name])
            for name, s in self._coded_strides.items()
        }
        found = order.decode(
            self.model.prior,
            self._runner(grid, quality, oracle=oracle),
            shapes,
            extents,
            self._tables(quality),
            stream,
        )
        return {
            name: value[0, : extents[name][0], : extents[name][1]].astype(np.int32)
            for name, value in found.items()
        }

    # How the networks are run.

    @property
    def _coded_strides(self) -> dict[str, float]:
        """Of the arrays that are coded, cells per cell of 1/16."""
        return {name: self._strides[name] for name in self._sets}

    def _extents(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """Of the arrays that are coded, the rows and columns of the picture's own."""
        return {
            name: (ceil(height * s / CELL), ceil(width * s / CELL))
            for name, s in self._coded_strides.items()
        }

    def _tables(self, quality: int) -> dict[str, TableSet]:
        """By target, the tables at a quality; static ones have a set an anchor."""
        anchor = (quality + ANCHOR_SPACING // 2) // ANCHOR_SPACING
        return {
            target: sets[anchor if len(sets) > 1 else 0]
            for target, sets in self._sets.items()
        }

    def _compiled(self, name: str, function):
        """A jitted function of (model, *arrays), kept by name."""
        leaves, structure = self._leaves
        if name not in self._jitted:

            def call(leaves, *args):
                state = jax.tree.unflatten(structure, leaves)
                return function(nnx.merge(self._graph, state), *args)

            self._jitted[name] = jax.jit(call)
        jitted = self._jitted[name]
        return lambda *args: jitted(leaves, *args)

    def _runner(self, grid: tuple[int, int], quality: int, *, oracle: bool = False):
        """Evaluates steps on whole arrays, in buckets or tiles."""
        q = np.array([quality], np.int32)

        def run(step: Step, state: State) -> tuple[np.ndarray, ...]:
            network = step.network
            if network is None:
                raise ValueError(f"step {step.name} has static tables, no network")

            def by_oracle(*args):
                prior = self.model.prior
                return evaluate(lambda *a: network(prior, *a[:-1], q, a[-1]), *args)

            def by_xla(*args):
                call = self._compiled(step.name, lambda m, *a: network(m.prior, *a))
                return call(*args[:-1], q, args[-1])

            inputs = [(state[name], self._strides[name]) for name in step.reads]
            widths = self.model.prior.output_channels(step)
            stride = self._strides[step.target]
            rows, columns = (int(side * stride) for side in _padded(grid))
            outputs = [np.zeros((1, rows, columns, c), np.float32) for c in widths]
            run_tiles(
                by_oracle if oracle else by_xla,
                inputs,
                [(a, stride) for a in outputs],
                grid,
                step.halo,
                self.buckets,
            )
            return tuple(outputs)

        return run

    def _analyse(
        self, rgb: np.ndarray, quality: int, grid: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        q = np.array([quality], np.int32)
        call = self._compiled(
            "analysis",
            lambda m, x, q, e: m.analysis(x.astype(jnp.float32), q, e),
        )
        rows, columns = _padded(grid)
        outputs = {
            name: np.zeros(
                (1, int(rows * s), int(columns * s), self._channels[name]), np.float32
            )
            for name, s in self._coded_strides.items()
        }

        def network(window, extent):
            found = call(window, q, extent)
            return tuple(found[name] for name in outputs)

        run_tiles(
            network,
            [(rgb[None], float(CELL))],
            [(outputs[name], s) for name, s in self._coded_strides.items()],
            grid,
            self.config.transforms.analysis_halo + SIDE_HALO,
            self.buckets,
            edge=True,
        )
        return outputs

    def _synthesise(
        self, latents: dict[str, np.ndarray], height: int, width: int, quality: int
    ) -> np.ndarray:
        q = np.array([quality], np.int32)
        names = self.model.synthesis_reads
        units = [self.model.prior.sources[name].unit for name in names]

        def function(model, *args):
            *kept, q, extent = args
            steps = {
                name: value.astype(jnp.float32) / unit
                for name, value, unit in zip(names, kept, units, strict=True)
            }
            x = model.synthesis(steps, q, extent)
            return (jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8),)

        call = self._compiled("synthesis", function)
        out = np.zeros((1, height, width, 3), np.uint8)
        run_tiles(
            lambda *args: call(*args[:-1], q, args[-1]),
            [(latents[name][None], self._strides[name]) for name in names],
            [(out, float(CELL))],
            _grid(height, width),
            self.config.transforms.synthesis_halo,
            self.buckets,
        )
        return out[0]


def _grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the latent grid."""
    return ceil(height / CELL), ceil(width / CELL)


def _padded(grid: tuple[int, int]) -> tuple[int, int]:
    """A grid with sides that the grid at 1/64 divides."""
    return ceil(grid[0] / 4) * 4, ceil(grid[1] / 4) * 4
