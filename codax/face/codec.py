"""A trained codec, as people hold it: pictures to files and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from codax.coding.effort import DEFAULT_EFFORT
from codax.coding.oracle import Oracle
from codax.coding.samples import SampleCoder
from codax.coding.sessions import Graph, Sessions
from codax.coding.telling import Progress, listening
from codax.errors import ConfigError, UnsupportedError, needs_extra
from codax.face.decoding import decode_with
from codax.face.encoding import encode_image
from codax.face.file_latents import file_latents
from codax.face.file_tokens import file_tokens, token_cell, vocabulary
from codax.face.many import decode_many, encode_many
from codax.face.origins import Origin
from codax.face.runtimes import choose_runtime, jax_networks, onnx_sessions
from codax.files.container import MAX_PIXELS
from codax.zoo.graphs import read_graphs
from codax.zoo.weights import read_checkpoint

if TYPE_CHECKING:
    import jax

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
        coder: samples to streams and back, what files are made of.
    """

    def __init__(
        self,
        packed: dict[str, np.ndarray],
        card: dict[str, Any],
        *,
        runtime: Sessions | None = None,
        graphs: Callable[[], Mapping[str, Graph]] | None = None,
        **options: Any,
    ):
        """Takes stored weights, and what evaluates their networks.

        Args:
            packed: stored arrays, see `codax.zoo.weights`.
            card: the checkpoint's card.
            runtime: what codes pictures; None for the networks on JAX.
            graphs: gives the networks as graphs, for the oracle; None of a codec that
                has none.
            **options: of the networks on JAX: `buckets`, sides in cells of 16 pixels
                that they are compiled for.

        Raises:
            ModelError: weights that do not fit or break the exactness bounds.
            ConfigError: buckets that cannot hold any picture.
            UnsupportedError: JAX is needed and not installed.
        """
        self.card, self.name = card, str(card["name"])
        self._origin: Origin | None = None
        self._build = functools.partial(jax_networks, packed, card, **options)
        used = self._networks if runtime is None else runtime
        order = used.order

        @functools.cache
        def oracle() -> Oracle:
            return Oracle(graphs(), packed, order)  # type: ignore[misc]

        self.coder = SampleCoder(
            packed, card, order, used, lambda: self._networks, graphs and oracle
        )

    @functools.cached_property
    def _networks(self) -> Any:
        """The networks on JAX, built when first needed."""
        return self._build()

    @property
    def model(self) -> Any:
        """The networks, an `nnx` module; raises UnsupportedError without JAX."""
        return self._networks.model

    def __repr__(self) -> str:
        """Names the codec and what it supports."""
        low, high = self.coder.qualities
        kind = "lossless" if self.coder.lossless else f"quality {low} to {high}"
        return f"<codax.Codec {self.name}, {kind}>"

    @classmethod
    def from_folder(
        cls, folder: Path, *, runtime: str | None = None, **options: Any
    ) -> Codec:
        """Loads a checkpoint folder.

        Args:
            folder: of the checkpoint.
            runtime: `auto`, `onnx` or `jax`, see `codax.face.runtimes`.
            **options: of the runtime: `buckets`, sides of tiles in cells of 16 pixels.

        Raises:
            ModelError: it cannot be used.
            ConfigError: no such runtime.
            UnsupportedError: the runtime is not installed.
        """
        packed, card = read_checkpoint(folder)
        graphs = functools.partial(read_graphs, folder, card)
        if choose_runtime(runtime, card) == "jax":
            found = cls(packed, card, graphs=graphs, **options)
        else:
            sessions = onnx_sessions(folder, packed, card, **options)
            found = cls(packed, card, runtime=sessions, graphs=graphs)
        identity = found.coder.codec_id, found.coder.weights_hash
        place = str(folder.resolve())
        found._origin = Origin(*identity, place, runtime, tuple(options.items()))
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as the weights' hash and folder; they are loaded at the first use.

        Raises:
            UnsupportedError: the codec is of no checkpoint, as while it trains.
        """
        if self._origin is None:
            raise UnsupportedError(
                f"{self.name} was loaded from no folder and cannot be pickled; export "
                "it, and load the checkpoint"
            )
        return _to_be_loaded, (self._origin,)

    def __getattr__(self, name: str) -> Any:
        """Loads a codec that was pickled, when it is first needed."""
        if name.startswith("__") or "_absent" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        origin: Origin = self.__dict__["_absent"]
        options = dict(origin.options)
        loaded = Codec.from_folder(origin.find(), runtime=origin.runtime, **options)
        origin.check(loaded.coder.weights_hash)
        self.__dict__.update(loaded.__dict__)
        del self.__dict__["_absent"]
        return getattr(self, name)

    # The public face: whole files.

    def encode(
        self,
        image: Any,
        quality: float | None = None,
        *,
        target_bpp: float | None = None,
        target_size: int | None = None,
        target_psnr: float | None = None,
        lossless: bool = False,
        effort: int = DEFAULT_EFFORT,
        metadata: str = "all",
        fallback: bool = True,
        progress: Progress | None = None,
    ) -> bytes:
        """Encodes a picture to the bytes of a file.

        Args:
            image: a Pillow picture, or an array of NumPy, JAX, PyTorch or any library
                that hands out arrays: uint8[H W], [H W 3] or [H W 4]; uint16[H W] for
                a lossless codec.
            quality: 0..100 in half steps, default 75.
            target_bpp: bits of the whole file a pixel, at most, instead of a quality.
            target_size: its bytes, at most.
            target_psnr: dB, at least.
            lossless: refuse what does not come back to the last bit.
            effort: how long to look for a smaller file, 1 to 9: 1 rounds, up to 6 a
                path is searched (where the weights have tables for it), 7, 8 and 9
                refine latents by 60, 100 and 300 steps of gradient descent.
            metadata: `all` to keep, `icc` the profile only, or `none`.
            fallback: False always gives a file of this codec, even where lossless WebP
                is smaller.
            progress: is told, from 0 to 1, what is done.

        Returns:
            A `.codax` file.

        Raises:
            ImageError: a picture that cannot be coded.
            UnsupportedError: a kind of picture or a target out of reach.
            ConfigError: a value out of range.
        """
        self._check_encodes()
        with listening(progress):
            return encode_image(
                self.coder,
                image,
                quality=quality,
                target_bpp=target_bpp,
                target_size=target_size,
                target_psnr=target_psnr,
                lossless=lossless,
                effort=effort,
                metadata=metadata,
                fallback=fallback,
            )

    def decode(
        self,
        data: bytes,
        *,
        max_pixels: int = MAX_PIXELS,
        oracle: bool = False,
        region: tuple[int, int, int, int] | None = None,
        progress: Progress | None = None,
    ) -> Image.Image:
        """Decodes the bytes of a file made with these weights.

        Args:
            data: a `.codax` file.
            max_pixels: refuse larger pictures before anything is allocated.
            oracle: find the probabilities with NumPy instead of a runtime; slow.
            region: left, top, width and height of the part that is wanted, in samples
                as they are coded, before any orientation; all of it if None.
            progress: is told, from 0 to 1, what is done.

        Returns:
            The picture.

        Raises:
            FormatError: the file is damaged.
            ModelError: it was made with other weights.
        """
        with listening(progress):
            return decode_with(
                self.coder, data, max_pixels=max_pixels, oracle=oracle, region=region
            )

    def encode_many(
        self,
        images: Iterable[Any],
        quality: float | None = None,
        *,
        batch: int | None = None,
        **options: Any,
    ) -> list[bytes | Exception]:
        """Encodes pictures; one that fails does not cost the others.

        On an accelerator pictures of one size class run together. On one device, at
        one `batch`, bytes depend on no other picture and not on the place.

        Args:
            images: as of `encode`; all are held in memory.
            quality: 0..100 in half steps, default 75.
            batch: pictures at a time on JAX; None for 16 on an accelerator, else one.
            **options: the others of `encode`, but for `progress`.

        Returns:
            For each picture its `.codax` file, or the error.

        Raises:
            ConfigError: a value out of range.
            UnsupportedError: weights that are kept for decoding only.
        """
        self._check_encodes()
        return encode_many(self.coder, images, batch, quality=quality, **options)

    def decode_many(
        self,
        files: Iterable[bytes],
        *,
        batch: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> list[Image.Image | Exception]:
        """Decodes files made with these weights; one that fails costs no other.

        Args:
            files: `.codax` files.
            batch: as of `encode_many`.
            max_pixels: refuse larger pictures before anything is allocated.

        Returns:
            For each file its picture, or the error.

        Raises:
            ConfigError: a value out of range.
        """
        return decode_many(self.coder, files, batch, max_pixels=max_pixels)

    def _check_encodes(self) -> None:
        """Refuses weights of which only what decoding needs was kept."""
        if self.card.get("decodes_only"):
            raise UnsupportedError(
                f"{self.name} is kept for decoding only; `codax models` lists those "
                "that encode"
            )

    # The pieces, for use under jit, vmap and grad.

    def analysis(self, x: jax.Array, quality: Any) -> dict[str, jax.Array]:
        """Latents of pictures.

        Args:
            x: float32[N H W 3], 0..255, H and W multiples of 64.
            quality: 0..100 in half steps, one number or [N].

        Raises:
            ConfigError: another shape, or a quality out of range where it is known.

        Returns:
            `y` float32[N H/16 W/16 M], and what else the codec has, in latent steps.
        """
        if x.ndim != 4 or x.shape[3] != 3 or x.shape[1] % 64 or x.shape[2] % 64:
            raise ConfigError(
                f"x: got {list(x.shape)}, expected [N H W 3], H and W multiples of 64"
            )
        return self.model.analysis(x, self._told(quality, x))

    def synthesis(self, latents: dict[str, jax.Array], quality: Any) -> jax.Array:
        """Pictures of decoded latents.

        Args:
            latents: in latent steps, as `rate` returns them; `y` is enough.
            quality: 0..100 in half steps, one number or [N].

        Returns:
            float32[N 16h 16w 3], about 0..255.
        """
        first = next(iter(latents.values()))
        return self.model.synthesis(latents, self._told(quality, first))

    def rate(
        self, latents: dict[str, jax.Array], quality: Any, key: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Bits by step, each float32[N], and decoded latents.

        Those of an enhancement layer, which codes the error of `synthesis`, are no part
        of them: see `codax.codecs.enhancement.enhance`.

        Args:
            latents: as `analysis` gives them.
            quality: 0..100 in half steps, one number or [N].
            key: for noise, as in training; None for the bits of a file.
        """
        from codax.coding.rate import rate

        told = self._told(quality, next(iter(latents.values())))
        trellis = self.coder.trellis
        return rate(self.model.prior, latents, told, key, trellis=trellis)

    def _told(self, quality: Any, batch: jax.Array) -> jax.Array:
        """What networks are told at qualities 0..100, as files have it."""
        from codax.face.batches import batch_steps

        steps, trellis = batch_steps(quality, batch), self.coder.trellis
        return steps if trellis is None else trellis.told(steps)

    # Tokens and latents, of codecs that have them: `codax.face.tokens`, `.latents`.

    @property
    def vocabulary(self) -> tuple[int, ...]:
        """Sizes of the vocabularies of a cell's tokens, one for each token."""
        return vocabulary(self.coder)

    @property
    def token_cell(self) -> int:
        """Pixels of a side of a cell, which has the tokens of a place."""
        return token_cell(self.coder)

    def tokens(self, images: Any, quality: float | None = None) -> jax.Array:
        """Tokens int32[N h w L] of pictures uint8 or float32[N H W 3]."""
        with needs_extra("the tokenizer of pictures"):
            from codax.face import tokens as tokenizer

        return tokenizer.tokens(self.coder, images, quality)

    def from_tokens(
        self, tokens: Any, quality: float | None = None, size: Any = None
    ) -> jax.Array:
        """Pictures uint8[N H W 3] of tokens int32[N h w L], of cells or a size."""
        with needs_extra("the tokenizer of pictures"):
            from codax.face import tokens as tokenizer

        return tokenizer.from_tokens(self.coder, tokens, quality, size)

    def file_tokens(self, data: bytes) -> np.ndarray:
        """The tokens in a file, int32[1 h w L]."""
        return file_tokens(self.coder, data)

    def latents(self, images: Any) -> jax.Array:
        """Latents int8[N h w C] of pictures uint8 or float32[N H W 3]."""
        with needs_extra("the latents of pictures"):
            from codax.face import latents as face

        return face.latents(self.coder, images)

    def from_latents(self, latents: Any) -> jax.Array:
        """Pictures uint8[N 8h 8w 3] of latents int8[N h w C]."""
        with needs_extra("the pictures of latents"):
            from codax.face import latents as face

        return face.from_latents(self.coder, latents)

    def file_latents(self, data: bytes) -> np.ndarray:
        """The latents in a file, int8[1 h w C]."""
        return file_latents(self.coder, data)


@functools.lru_cache(maxsize=4)
def _to_be_loaded(origin: Origin) -> Codec:
    """A codec that loads its weights when it is first used, once in a process.

    A pool pickles its function anew for every chunk of work.
    """
    codec = Codec.__new__(Codec)
    codec.__dict__["_absent"] = origin
    return codec
