"""Running a codec's networks over pictures of any size: compiled once, in tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codax.coding.checks import check_order
from codax.coding.evaluating import Network, analyse, running, synthesise
from codax.coding.forks import check_fork
from codax.coding.gathering import call_together
from codax.coding.order import Order, Run, Step
from codax.coding.tiles import check_buckets

__all__ = ["Batched", "Networks", "latents_of", "pixels_of"]

BATCH = 16
"""Pictures that an accelerator takes at a time."""


class Networks:
    """The networks of a codec with their weights.

    Attributes:
        order: the coding order of its prior.
        buckets: sides in cells of 1/16 that networks are compiled for.
    """

    def __init__(self, graph: Any, state: Any, buckets: tuple[int, ...]):
        """Takes the parts of an `nnx` module.

        Args:
            graph: its structure.
            state: its arrays.
            buckets: see the class.

        Raises:
            ConfigError: buckets that cannot hold any picture.
            ModelError: a coding order that cannot be walked.
        """
        self._graph, self._state = graph, state
        self._jitted: dict[Any, Any] = {}
        self._batched: dict[int, Batched] = {}
        prior = self.model.prior
        self.order = Order.of(prior)
        check_order(self.order)
        self._networks = {step.name: step.network for step in prior.steps}
        self.buckets = buckets
        halos = [step.halo for step in prior.steps]
        check_buckets(
            buckets, max(*halos, self.model.analysis_halo, self.model.synthesis_halo)
        )

    @cached_property
    def model(self) -> Any:
        """The `nnx` module."""
        return nnx.merge(self._graph, self._state)

    @cached_property
    def _leaves(self) -> tuple[list[jax.Array], Any]:
        """The state's arrays as a list: a call of JAX takes it apart in no time."""
        return jax.tree.flatten(self._state)

    def compiled(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A jitted function of (model, *arrays), kept by name."""
        check_fork()
        leaves, structure = self._leaves
        if name not in self._jitted:

            def call(leaves, *args):
                state = jax.tree.unflatten(structure, leaves)
                return function(nnx.merge(self._graph, state), *args)

            self._jitted[name] = jax.jit(self._shaped(call))
        jitted = self._jitted[name]
        return lambda *args: jitted(leaves, *args)

    def _shaped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A function of `(leaves, *arrays)` as it is compiled: for one picture."""
        return call

    @property
    def batch(self) -> int:
        """Pictures at a time that are fast here: one, but on an accelerator."""
        return 1 if jax.default_backend() == "cpu" else BATCH

    def batched(self, size: int) -> Batched:
        """The same networks, for jobs that run side by side.

        Args:
            size: of each batch; what is missing is filled up, so that what a picture
                gives depends on no other. At least as many as there are jobs.
        """
        if size not in self._batched:
            self._batched[size] = Batched(self._graph, self._state, self.buckets, size)
        return self._batched[size]

    @property
    def vocabulary(self) -> tuple[int, ...] | None:
        """Sizes of the vocabularies of a cell's tokens; None of a codec without."""
        return getattr(self.model, "vocabulary", None)

    @property
    def latent_channels(self) -> int | None:
        """Channels of latents to learn on; None of a codec without."""
        return getattr(self.model, "latent_channels", None)

    @property
    def synthesis_reads(self) -> tuple[str, ...]:
        """The latents that the synthesis needs."""
        return tuple(self.model.synthesis_reads)

    @property
    def synthesis_halo(self) -> int:
        """How far the synthesis looks, in cells of 1/16."""
        return int(self.model.synthesis_halo)

    @property
    def token_counts(self) -> tuple[int, ...] | None:
        """How many tokens a cell may have; None of a codec without."""
        return None if self.vocabulary is None else self.model.token_counts()

    def steps(
        self,
        height: int,
        width: int,
        quality: int,
        *,
        shifts: Mapping[str, int] | None = None,
    ) -> Run:
        """What evaluates a step's exact network for a picture.

        Args:
            height: rows of the picture.
            width: columns of the picture.
            quality: half steps 0..200.
            shifts: by array, how many low bits of its values are not in the state.
        """
        check_fork()
        q = np.array([quality], np.int32)
        prior = self.model.prior

        def network_of(step: Step) -> tuple[Network, tuple[int, ...]]:
            network = self._networks[step.name]
            call = self.compiled(step.name, lambda m, *a: network(m.prior, *a))
            return lambda *a: call(*a[:-1], q, a[-1]), prior.output_channels(step)

        return running(self.order, (height, width), network_of, self.buckets, shifts)

    def analyse(self, rgb: np.ndarray, quality: int) -> dict[str, np.ndarray]:
        """Latents of a picture, by target float32[1 h w C] in steps, padded grids.

        Args:
            rgb: uint8[H W 3].
            quality: half steps 0..200.
        """
        q = np.array([quality], np.int32)
        call = self.compiled("analysis", latents_of)
        names = self.order.analysed

        def network(window, extent):
            found = call(window, q, extent)
            return tuple(found[name] for name in names)

        return analyse(
            self.order,
            rgb,
            names,
            network,
            self.model.analysis_halo,
            self.buckets,
        )

    def synthesise(
        self, latents: dict[str, np.ndarray], height: int, width: int, quality: int
    ) -> np.ndarray:
        """A picture, uint8[H W 3].

        Args:
            latents: by target, integers[h w C] in the units of its source.
            height: rows of the picture.
            width: columns of the picture.
            quality: half steps 0..200.
        """
        q = np.array([quality], np.int32)
        names = self.synthesis_reads
        call = self.compiled("synthesis", pixels_of)
        return synthesise(
            self.order,
            {name: latents[name] for name in names},
            (height, width),
            lambda *args: (call(*args[:-1], q, args[-1]),),
            self.model.synthesis_halo,
            self.buckets,
        )


class Batched(Networks):
    """Networks whose calls by jobs side by side are one call, see `gathering`."""

    def __init__(self, graph: Any, state: Any, buckets: tuple[int, ...], size: int):
        """Takes the parts of `Networks`, and how many pictures are a batch."""
        super().__init__(graph, state, buckets)
        self._size = size

    def compiled(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """As of `Networks`; results are arrays of NumPy."""
        jitted = super().compiled(name, function)

        def together(calls: list[tuple[np.ndarray, ...]]) -> list[Any]:
            filled = calls + calls[:1] * (self._size - len(calls))
            stacked = [np.stack(parts) for parts in zip(*filled, strict=True)]
            found = jax.device_get(jitted(*stacked))
            return [
                jax.tree.map(lambda value, place=place: value[place], found)
                for place in range(len(calls))
            ]

        def call(*args: np.ndarray) -> Any:
            key = name, *((a.shape, a.dtype) for a in args)
            return call_together(key, together, args)

        return call

    def _shaped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """For a batch, each entry a picture's."""
        return lambda leaves, *args: jax.vmap(lambda *own: call(leaves, *own))(*args)


def latents_of(
    model: Any, rgb: jax.Array, quality: jax.Array, extent: jax.Array
) -> dict[str, jax.Array]:
    """Latents of a window of a picture, uint8[1 h w 3], by target."""
    return model.analysis(rgb.astype(jnp.float32), quality, extent)


def pixels_of(model: Any, *args: jax.Array) -> jax.Array:
    """The picture, uint8[1 h w 3], of `(*latents, quality, extent)`.

    The latents are those of `synthesis_reads`, in the units of their sources.
    """
    *kept, quality, extent = args
    steps = {
        name: value.astype(jnp.float32) / model.prior.sources[name].unit
        for name, value in zip(model.synthesis_reads, kept, strict=True)
    }
    x = model.synthesis(steps, quality, extent)
    return jnp.clip(jnp.round(x), 0, 255).astype(jnp.uint8)
