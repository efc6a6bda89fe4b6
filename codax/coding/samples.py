"""Samples to range-coder streams and back, with the weights of one codec. No JAX.

What evaluates networks is a *runtime*, see `codax.coding.runtimes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from codax.coding import interpreters
from codax.coding.analysing import closed, refined
from codax.coding.costs import cost_maps
from codax.coding.enhancement import Enhancement
from codax.coding.enhancing import worth
from codax.coding.evaluating import telling_run
from codax.coding.layers import streams_of
from codax.coding.oracle import Oracle
from codax.coding.order import (
    CELL,
    Order,
    SymbolSink,
    layer_count,
    layers_at,
    steps_of,
)
from codax.coding.preview import Preview
from codax.coding.reversible import Prefix, every_shift, level_count, names_of
from codax.coding.telling import part, tell
from codax.entropy.coder import (
    CheckingDecoder,
    CostMeter,
    SymbolDecoder,
    SymbolEncoder,
    TableSet,
)
from codax.entropy.tables import ANCHOR_SPACING
from codax.entropy.trellis import Trellis
from codax.errors import FormatError, UnsupportedError
from codax.files.container import Container, join_layers
from codax.files.regions import Region

__all__ = ["SampleCoder"]

# Of what `telling` says: a pass of analysis by synthesis, a step of refinement and the
# symbols of an encoder in times of the analysis, and where symbols of a decoder end.
# By the clock of 2048x1360 with quadtree-tiny.
_PASS, _STEP, _SYMBOLS, _DECODED = 2.5, 6.0, 0.54, 0.35
# Where the latents are coded, their picture is synthesised, and flags are decided, of
# an encoder with an enhancement layer.
_CODED, _ENHANCED, _TRIED = 0.97, 0.98, 0.99


class SampleCoder:
    """Samples to streams and back.

    Attributes:
        name: of the weights, such as `quadtree-tiny-v1`.
        codec_id: the family's byte in files.
        weights_hash: the six bytes in files.
        qualities: the lowest and the highest that it supports, within 0..100.
        lossless: whether decoded samples equal what was encoded.
        layers: after how many layers its streams can be cut; 1 if they cannot.
        refines: whether its latents can be refined by gradient descent.
        trellis: how residuals are quantised dependently; None without tables for it.
        enhancement: the transform of the enhancement layer; None without one.
        preview: what makes small pictures; None where nothing does.
        order: the coding order.
        runtime: what evaluates the networks.
        networks: gives the runtime of JAX, for what takes gradients.
        oracle: gives what evaluates the exact networks by NumPy.
    """

    def __init__(
        self,
        packed: Mapping[str, np.ndarray],
        card: Mapping[str, Any],
        order: Order,
        runtime: Any,
        networks: Callable[[], Any] | None = None,
        oracle: Callable[[], Oracle] | None = None,
    ):
        """Takes the parts.

        Args:
            packed: stored arrays, see `codax.zoo.weights`; only the tables are used.
            card: the checkpoint's card.
            order: the coding order of the weights.
            runtime: a `codax.coding.runtimes.Runtime` with the weights.
            networks: see the class; None where `runtime` has them.
            oracle: see the class; None where there are no graphs for it.

        Raises:
            ModelError: tables are missing or break the rules.
        """
        self.name: str = card["name"]
        self.codec_id: int = card["codec_id"]
        self.weights_hash = bytes.fromhex(card["weights_hash"])
        low, high = card.get("qualities") or (0, 100)
        self.qualities: tuple[int, int] = (low, high)
        self.lossless: bool = bool(card.get("lossless", False))
        self.order, self.runtime = order, runtime
        self.networks = networks or (lambda: runtime)
        self.oracle = oracle or self._no_oracle
        self.layers = layer_count(order)
        self.refines = all(order.sources[name].refines for name in order.analysed)
        self.trellis = Trellis.load(packed)
        self.enhancement = Enhancement.load(packed)
        self.preview = Preview.load(packed, card, order, self.enhancement)
        # Sources that share stored tables share what is made of them.
        by_name = {s.tables: s.load(packed) for s in order.sources.values()}
        self._sets = {name: by_name[s.tables] for name, s in order.sources.items()}

    def wrote(self, file: Container) -> bool:
        """Whether a file is of this family and these weights."""
        own = (self.codec_id, self.weights_hash)
        return own == (file.codec_id, file.weights_hash)

    def dependent(self, quality: int, *, refine: int = 0, search: bool = True) -> bool:
        """Whether `compress` quantises dependently, so that the header must say so.

        Refined latents lie near the plain grid already, so that a trellis only loses.

        Args:
            quality: half steps 0..200.
            refine: as of `feed`.
            search: whether it may.
        """
        if self.trellis is None or refine or not search:
            return False
        return quality >= self.trellis.start

    def compress(self, rgb: np.ndarray, quality: int, **effort: Any) -> bytes:
        """Codes samples.

        Args:
            rgb: uint8[H W 3]; a lossless codec also takes grey, uint8[H W 1] or
                uint16[H W 1].
            quality: half steps 0..200.
            **effort: `search`, `passes` and `refine` of `feed`.

        Returns:
            The range-coder stream, or those of the quality's layers joined; before that
            of a lossless codec a `Prefix`.
        """
        coders = [SymbolEncoder() for _ in range(layers_at(quality, self.layers))]
        prefix, _ = self.feed(rgb, quality, coders, **effort)
        streams = [coder.finish() for coder in coders]
        if self.layers > 1:
            return join_layers(streams, self.layers)
        return prefix + streams[0]

    def costs(self, rgb: np.ndarray, quality: int, **effort: Any) -> dict[str, Any]:
        """Where the bits of a stream go, from the tables that code it.

        Args:
            rgb: uint8[H W 3].
            quality: half steps 0..200.
            **effort: as of `compress`.

        Returns:
            By step, bits float64[rows columns] at each position of the step's own grid:
            H/16 by W/16 for those of y, H/64 by W/64 for z, rounded up.
        """
        meters = [CostMeter() for _ in range(layers_at(quality, self.layers))]
        _, state = self.feed(rgb, quality, meters, **effort)
        extents = self.order.extents(*rgb.shape[:2])
        every = [bits for meter in meters for bits in meter.bits]
        return cost_maps(self.order.steps, every, state, extents)

    def feed(
        self,
        rgb: np.ndarray,
        quality: int,
        sinks: Sequence[SymbolSink],
        *,
        search: bool = True,
        passes: int = 0,
        refine: int = 0,
    ) -> tuple[bytes, dict[str, np.ndarray]]:
        """Walks the coding order for a picture, its symbols going to the sinks.

        Args:
            rgb: uint8[H W 3], or what else `compress` takes.
            quality: half steps 0..200.
            sinks: one for each layer.
            search: choose residuals by bits and squared error, on the path of a trellis
                where that is better (see `dependent`), else one by one; False rounds.
            passes: of analysis by synthesis, where `refines`; see
                `codax.coding.analysing`.
            refine: steps of gradient descent on the latents, where `refines`.

        Returns:
            What stands before them in the stream, and what a decoder will have.
        """
        size = height, width = rgb.shape[:2]
        dependent = self.dependent(quality, refine=refine, search=search)
        used = self.trellis if dependent else None
        quality = _told(quality, used)
        # What each part takes, in times of the analysis, as shares of what is told.
        looked = 1.0 + _PASS * passes
        every = looked + _STEP * refine + _SYMBOLS
        prefix, shifts = b"", {}
        extents, tables = self.order.extents(height, width), self.tables(quality)

        def code(latents, sinks, begin, end, known=None, most=None):
            steps = steps_of(self.order, known is not None)
            told = telling_run(run, steps, begin, end)
            return interpreters.encode(
                self.order,
                told,
                latents,
                extents,
                tables,
                sinks,
                used,
                known,
                search=search,
                most=most,
            )

        if self.lossless:
            cut, bands = Prefix.cut(rgb, level_count(self.order.sources))
            prefix, shifts = cut.write(), every_shift(cut.shifts)
            latents = self.order.pad(bands, height, width)
        else:
            with part(0.0, 1.0 / every):
                latents = self.runtime.analyse(rgb, quality)
        run = self.runtime.steps(height, width, quality, shifts=shifts)
        if passes and self.refines:
            with part(1.0 / every, looked / every):
                latents = closed(
                    self.order, self.runtime, code, latents, size, quality, passes
                )
        begun = 0.0 if self.lossless else 1.0 - _SYMBOLS / every
        if refine:
            with part(looked / every, begun):
                latents = refined(self.networks, rgb, latents, quality, refine)
        layer = self.enhancement
        kept = code(latents, sinks, begun, 1.0 if layer is None else _CODED)
        del latents
        if layer is not None:
            known = self.order.own(kept, height, width)
            with part(_CODED, _ENHANCED):
                base = self.runtime.synthesise(known, height, width, quality)
            error = layer.analyse(rgb, base, quality)
            del base, known
            tried = partial(code, begin=_ENHANCED, end=_TRIED)
            late, kept = worth(self.order, size, *error, tried, kept)
            kept = code(late, sinks, _TRIED, 1.0, kept)
        tell(1.0)
        return prefix, kept

    def decompress(
        self,
        stream: bytes,
        height: int,
        width: int,
        quality: int,
        *,
        trellis: bool | None = None,
        oracle: bool = False,
        region: Region | None = None,
    ) -> np.ndarray:
        """Decodes samples.

        Args:
            stream: from `compress`.
            height: rows of the picture.
            width: columns of the picture.
            quality: half steps 0..200.
            trellis: whether it was quantised dependently, as the file's header says;
                None for what `compress` does by itself, without `refine`.
            oracle: evaluate the exact networks with NumPy instead.
            region: the part that is wanted; the networks of the synthesis run there
                only.

        Returns:
            uint8[H W 3]; of a lossless codec what was encoded. Of a region its samples,
            which are those of the whole within one level.

        Raises:
            FormatError: the stream is damaged.
            UnsupportedError: an oracle was asked for, and there are no graphs for it.
        """
        used = self._trellis_of(quality, trellis)
        with part(0.0, 1.0 if self.lossless else _DECODED):
            latents, prefix = self._decode(stream, height, width, quality, used, oracle)
        if prefix is not None:
            samples = prefix.samples(latents, height, width)
            return samples if region is None else region.of(samples)
        told = _told(quality, used)
        with part(_DECODED, 1.0):
            if region is None:
                return self._picture(latents, height, width, told)
            around = region.around(height, width, self.runtime.synthesis_halo)
            own = {
                name: around.of(value, CELL / self.order.strides[name])
                for name, value in latents.items()
            }
            picture = self._picture(own, around.height, around.width, told)
            return region.within(around).of(picture)

    def reduced(
        self,
        stream: bytes,
        height: int,
        width: int,
        quality: int,
        reduction: int,
        *,
        trellis: bool | None = None,
    ) -> np.ndarray:
        """Decodes a smaller picture, where there is a `preview`.

        Args:
            stream: from `compress`, as all up to the quality.
            height: rows of the whole picture.
            width: columns of it.
            quality: half steps.
            reduction: pixels of a side that become one, of `codax.coding.preview`.
            trellis: as of `decompress`.

        Returns:
            uint8[ceil(H/r) ceil(W/r) 3].

        Raises:
            FormatError: the stream is damaged.
            UnsupportedError: there is none.
        """
        if self.preview is None:
            raise UnsupportedError(f"{self.name} has no quick way to small pictures")
        used = self._trellis_of(quality, trellis)
        latents, _ = self._decode(stream, height, width, quality, used, False)
        told = _told(quality, used)
        return self.preview.picture(latents, (height, width), reduction, told)

    def _picture(
        self, latents: dict[str, np.ndarray], height: int, width: int, told: int
    ) -> np.ndarray:
        """The samples of decoded latents, uint8[H W 3]."""
        picture = self.runtime.synthesise(latents, height, width, told)
        if self.enhancement is None:
            return picture
        return self.enhancement.synthesise(picture, latents, told)

    def decode_latents(
        self,
        stream: bytes,
        height: int,
        width: int,
        quality: int,
        *,
        trellis: bool | None = None,
        oracle: bool = False,
        checked: bool = False,
    ) -> dict[str, np.ndarray]:
        """The exact latents of a stream: int32, z in steps, y in sixteenths.

        Args:
            stream: from `compress`.
            height: rows of the picture.
            width: columns of the picture.
            quality: half steps 0..200.
            trellis: whether it was quantised dependently, as the file's header says;
                None for what `compress` does by itself, without `refine`.
            oracle: evaluate the exact networks with NumPy instead.
            checked: see that the stream ends where its symbols do.

        Returns:
            By name, int32[h w C] on the picture's own grids.

        Raises:
            FormatError: the stream is damaged.
        """
        used = self._trellis_of(quality, trellis)
        kind = CheckingDecoder if checked else SymbolDecoder
        return self._decode(stream, height, width, quality, used, oracle, kind)[0]

    def _decode(
        self,
        stream: bytes,
        height: int,
        width: int,
        quality: int,
        trellis: Trellis | None,
        oracle: bool,
        kind: type[SymbolDecoder] | None = None,
    ) -> tuple[dict[str, np.ndarray], Prefix | None]:
        """The latents of a stream, and what stood before them in it."""
        if not 0 <= quality <= 200:
            raise FormatError(f"quality {quality / 2:g}, expected 0 to 100")
        told = _told(quality, trellis)
        order, prefix = self.order, None
        shapes = order.shapes(height, width)
        extents = order.extents(height, width)
        shifts: dict[str, int] = {}
        if self.lossless:
            levels = level_count(order.sources)
            prefix, stream = Prefix.read(stream, height, width, levels)
            shapes = {name: shapes[name] for name in names_of(shapes, prefix.colours)}
            shifts = every_shift(prefix.shifts)
        streams = streams_of(stream, quality, self.layers)
        coders = [(kind or SymbolDecoder)(own) for own in streams]
        runtime = self.oracle() if oracle else self.runtime
        run = runtime.steps(height, width, told, shifts=shifts)
        found = interpreters.decode(
            order,
            telling_run(run, order.steps, 0.0, 1.0),
            shapes,
            extents,
            self.tables(told),
            coders,
            trellis,
        )
        for coder in coders:
            coder.finish()
        latents = order.own(found, height, width)
        return prefix.whole(latents) if prefix else latents, prefix

    def _no_oracle(self) -> Oracle:
        raise UnsupportedError(f"{self.name} has no graphs, which the oracle takes")

    def _trellis_of(self, quality: int, trellis: bool | None) -> Trellis | None:
        """What a stream was quantised dependently with; None where it was not."""
        if trellis is None:
            trellis = self.dependent(quality)
        if trellis and self.trellis is None:
            raise FormatError(
                f"latents are quantised dependently, but {self.name} has no tables for "
                "that; the file is damaged"
            )
        return self.trellis if trellis else None

    def tables(self, quality: int) -> dict[str, TableSet]:
        """By target, the tables at a quality; static ones have a set an anchor."""
        anchor = (quality + ANCHOR_SPACING // 2) // ANCHOR_SPACING
        return {
            target: sets[anchor if len(sets) > 1 else 0]
            for target, sets in self._sets.items()
        }


def _told(quality: int, trellis: Trellis | None) -> int:
    """The quality that networks are told, in half steps."""
    return quality if trellis is None else trellis.told(quality)
