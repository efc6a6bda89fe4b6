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
from codax.coding.forks import check_fork
from codax.coding.order import CELL, Order, Run, State, Step, extent
from codax.coding.reversible import run_whole
from codax.coding.tiles import check_buckets, run_tiles
from codax.entropy.oracle import evaluate

__all__ = ["Networks"]


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

            self._jitted[name] = jax.jit(call)
        jitted = self._jitted[name]
        return lambda *args: jitted(leaves, *args)

    def steps(
        self,
        height: int,
        width: int,
        quality: int,
        *,
        shifts: Mapping[str, int] | None = None,
        oracle: bool = False,
    ) -> Run:
        """What evaluates a step's exact network for a picture.

        Args:
            height: rows of the picture.
            width: columns of the picture.
            quality: half steps 0..200.
            shifts: by array, how many low bits of its values are not in the state.
            oracle: by NumPy instead of XLA.
        """
        check_fork()
        q = np.array([quality], np.int32)
        grid = extent(height, width)

        def run(step: Step, state: State) -> tuple[np.ndarray, ...]:
            if step.whole:
                return (
                    run_whole(self.order, step, state, height, width, shifts or {}),
                )
            network = self._networks[step.name]
            if network is None:
                raise ValueError(f"step {step.name} has static tables, no network")

            def by_oracle(*args):
                prior = self.model.prior
                return evaluate(lambda *a: network(prior, *a[:-1], q, a[-1]), *args)

            def by_xla(*args):
                call = self.compiled(step.name, lambda m, *a: network(m.prior, *a))
                return call(*args[:-1], q, args[-1])

            inputs = [(state[name], self.order.strides[name]) for name in step.reads]
            widths = self.model.prior.output_channels(step)
            stride = self.order.strides[step.target]
            sides = self.order.padded(height, width, step.target)
            outputs = [np.zeros((1, *sides, c), np.float32) for c in widths]
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

    def analyse(self, rgb: np.ndarray, quality: int) -> dict[str, np.ndarray]:
        """Latents of a picture, by target float32[1 h w C] in steps, padded grids.

        Args:
            rgb: uint8[H W 3].
            quality: half steps 0..200.
        """
        q = np.array([quality], np.int32)
        call = self.compiled(
            "analysis",
            lambda m, x, q, e: m.analysis(x.astype(jnp.float32), q, e),
        )
        shapes = self.order.shapes(*rgb.shape[:2])
        outputs = {
            name: np.zeros(shapes[name], np.float32) for name in self.order.analysed
        }

        def network(window, extent):
            found = call(window, q, extent)
            return tuple(found[name] for name in outputs)

        run_tiles(
            network,
            [(rgb[None], float(CELL))],
            [(outputs[name], self.order.strides[name]) for name in outputs],
            extent(*rgb.shape[:2]),
            self.model.analysis_halo,
            self.buckets,
            edge=True,
        )
        return outputs

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

        call = self.compiled("synthesis", function)
        out = np.zeros((1, height, width, 3), np.uint8)
        run_tiles(
            lambda *args: call(*args[:-1], q, args[-1]),
            [(latents[name][None], self.order.strides[name]) for name in names],
            [(out, float(CELL))],
            extent(height, width),
            self.model.synthesis_halo,
            self.buckets,
        )
        return out[0]
