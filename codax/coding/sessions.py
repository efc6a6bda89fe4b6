"""Running a codec's networks with ONNX Runtime. No JAX.

The exact networks give the integers of every other runtime: their products are sums of
whole numbers below 2**24, which float32 holds in any order. What could lower precision
is switched off by name, and a fixed input is tried when a network is loaded: a
processor on which it fails is refused.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from codax.coding.checks import check_order
from codax.coding.evaluating import Network, analyse, running, synthesise
from codax.coding.order import Order, Run, Step
from codax.coding.tiles import check_buckets
from codax.errors import ModelError, UnsupportedError
from codax.transforms.threads import processors, side_by_side

__all__ = ["PROBE_QUALITY", "SIDES", "Graph", "Sessions", "probe", "probe_sum"]

SIDES = tuple(range(4, 97, 4))
"""Sides of tiles in cells of 1/16: graphs take any. Tiles overlap, so that larger ones
have less to compute."""
STEADY = 64
"""The largest side of floats, which come out a little otherwise in other tiles: an
encoder shall write the same bytes as ever. Of 96 the synthesis takes 250 MB, too."""
OPTIONS = {
    # bfloat16 in products of float32, where a processor has it.
    "mlas.enable_gemm_fastmath_arm64_bfloat16": "0",
    "session.set_denormal_as_zero": "0",
    # Threads that wait for the next call sleep, so that others can compute.
    "session.intra_op.allow_spinning": "0",
}
OLDEST = (1, 19)
"""ONNX Runtime that has all that is used here."""
SHRINK = ("memory.enable_memory_arena_shrinkage", "cpu:0")
"""Of a run: memory is given back after it. Without an arena it would be mapped anew for
every array, and a picture of 0.4 megapixels took 350 instead of 230 MB."""
PROBE_SIDE, PROBE_EXTENT, PROBE_QUALITY = 8, (7, 6), 100


@dataclass(frozen=True)
class Graph:
    """A network without its weights.

    Attributes:
        model: the bytes of ONNX.
        weights: names of the stored arrays that it takes.
    """

    model: bytes
    weights: tuple[str, ...]


class Sessions:
    """The networks of a codec as sessions of ONNX Runtime, made when first needed.

    Attributes:
        order: the coding order.
        buckets: sides of tiles in cells of 1/16.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        packed: Mapping[str, np.ndarray],
        order: Order,
        tests: Mapping[str, str],
        *,
        buckets: tuple[int, ...] = SIDES,
    ):
        """Takes the parts of a checkpoint.

        Args:
            graphs: by the name of the network.
            packed: stored arrays by path.
            order: the coding order.
            tests: what exact networks give for `probe`, by the name of the step.
            buckets: see the class.

        Raises:
            ModelError: a coding order that cannot be walked, or a step without a graph.
            ConfigError: buckets that cannot hold any picture.
            UnsupportedError: no ONNX Runtime here, or one that is too old.
        """
        check_order(order)
        for step in order.steps:
            if step.network is None or step.whole:
                continue
            if step.network not in graphs or step.name not in tests:
                raise ModelError(f"graphs: step {step.name} has no graph or no test")
        check_buckets(buckets, max(step.halo for step in order.steps))
        self.order, self.buckets = order, buckets
        self._steady = tuple(side for side in buckets if side <= STEADY) or buckets
        self._graphs, self._packed, self._tests = graphs, packed, tests
        self._runtime = _load_runtime()
        self._made: dict[str, Any] = {}
        self._process = os.getpid()

    # What the interpreters ask for.

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
        self._make(
            str(step.network)
            for step in self.order.steps
            if step.network is not None and not step.whole
        )

        def network_of(step: Step) -> tuple[Network, list[int]]:
            session = self._session(str(step.network))
            return lambda *args: self._call(session, args, quality), _channels(session)

        return running(self.order, (height, width), network_of, self.buckets, shifts)

    def analyse(self, rgb: np.ndarray, quality: int) -> dict[str, np.ndarray]:
        """Latents of a picture, by target float32[1 h w C] in steps, padded grids.

        Args:
            rgb: uint8[H W 3].
            quality: half steps 0..200.
        """
        session = self._session("analysis")
        return analyse(
            self.order,
            rgb,
            [output.name for output in session.get_outputs()],
            lambda *args: self._call(session, args, quality),
            _halo(session),
            self._steady,
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
        session = self._session("synthesis")
        return synthesise(
            self.order,
            {
                name: latents[name].astype(np.int32, copy=False)
                for name in self.synthesis_reads
            },
            (height, width),
            lambda *args: self._call(session, args, quality),
            _halo(session),
            self._steady,
        )

    @property
    def synthesis_reads(self) -> tuple[str, ...]:
        """The latents that the synthesis needs."""
        inputs = self._session("synthesis").get_inputs()
        *names, _, _ = (value.name for value in inputs)
        return tuple(names)

    @property
    def batch(self) -> int:
        """Pictures at a time that are fast here: one, since graphs take one."""
        return 1

    @property
    def synthesis_halo(self) -> int:
        """How far the synthesis looks, in cells of 1/16."""
        return _halo(self._session("synthesis"))

    # Tokens and latents of files.

    @property
    def vocabulary(self) -> tuple[int, ...] | None:
        """Sizes of the vocabularies of a cell's tokens; None of a codec without."""
        return self._numbers("vocabulary")

    @property
    def token_counts(self) -> tuple[int, ...] | None:
        """How many tokens a cell may have; None of a codec without."""
        return self._numbers("token_counts")

    @property
    def latent_channels(self) -> int | None:
        """Channels of latents to learn on; None of a codec without."""
        found = self._numbers("latent_channels")
        return found[0] if found else None

    def _numbers(self, key: str) -> tuple[int, ...] | None:
        if "synthesis" not in self._graphs:
            return None
        facts = self._session("synthesis").get_modelmeta().custom_metadata_map
        return tuple(map(int, facts[key].split())) if key in facts else None

    # Sessions.

    def _session(self, name: str) -> Any:
        """The session of a network, made once a process."""
        self._forget_others()
        if name not in self._made:
            self._made[name] = self._load(name)
        return self._made[name]

    def _make(self, names: Iterable[str]) -> None:
        """Makes sessions that will be needed, on all processors at once."""
        self._forget_others()
        missing = [name for name in names if name not in self._made]
        side_by_side(self._session, missing)

    def _forget_others(self) -> None:
        """Lets go of sessions of the process that this one was forked from.

        A fork copies no threads: to use or to free those sessions would wait for them
        for ever.
        """
        if self._process != os.getpid():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._made))
            self._made, self._process = {}, os.getpid()

    def _load(self, name: str) -> Any:
        """Makes the session of a network, and tries it if it is exact."""
        ort = self._runtime
        options = ort.SessionOptions()
        options.intra_op_num_threads = processors()
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        for key, value in OPTIONS.items():
            options.add_session_config_entry(key, value)
        if name not in self._graphs:
            raise ModelError(f"graphs: there is none of {name!r}")
        graph = self._graphs[name]
        try:
            values = [
                ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(self._packed[n]))
                for n in graph.weights
            ]
            options.add_external_initializers(list(graph.weights), values)
            session = ort.InferenceSession(
                graph.model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            words = " ".join(str(error).split())
            raise ModelError(
                f"graph {name} does not fit the weights: {words}"
            ) from None
        if name in self._tests:
            self._try(name, session)
        return session

    def _call(self, session: Any, args: Any, quality: int) -> tuple[np.ndarray, ...]:
        """Runs a network on `(*windows, extent)`."""
        *windows, extent = args
        values = [*windows, np.array([quality], np.int32), extent]
        given = {
            own.name: np.ascontiguousarray(value)
            for own, value in zip(session.get_inputs(), values, strict=True)
        }
        options = self._runtime.RunOptions()
        options.add_run_config_entry(*SHRINK)
        return tuple(session.run(None, given, options))

    def _try(self, name: str, session: Any) -> None:
        """Checks an exact network on its fixed input."""
        (step,) = (s for s in self.order.steps if s.network == name)
        args = probe(self.order, step)
        if probe_sum(self._call(session, args, PROBE_QUALITY)) != self._tests[name]:
            raise UnsupportedError(
                f"step {step.name}: this processor or its ONNX Runtime computes whole "
                "numbers wrong, so that files would not decode; use another, or the "
                "runtime of JAX with `runtime=jax`"
            )


def probe(order: Order, step: Step) -> list[np.ndarray]:
    """A fixed input of a step's exact network, with the extent behind it.

    Whole numbers that look random, by a rule that any language can follow: value k of
    an array is ((k * 2654435761 + 12345) mod 2**32) >> 22, less 512; of tokens modulo
    the smallest alphabet instead.
    """
    args = []
    for name in step.reads:
        side = int(PROBE_SIDE * order.strides[name])
        shape = (1, side, side, order.channels[name])
        place = np.arange(np.prod(shape), dtype=np.uint64)
        value = ((place * 2654435761 + 12345) % 2**32 >> 22).astype(np.int64)
        sizes = getattr(order.sources.get(name), "sizes", None)
        value = value % min(n for n, _ in sizes) if sizes else value - 512
        args.append(value.reshape(shape).astype(np.float32))
    return [*args, np.array(PROBE_EXTENT, np.int32)]


def probe_sum(outputs: Any) -> str:
    """The CRC-32 of what a network gives, whole numbers as int32, little-endian."""
    found = 0
    for array in outputs:
        found = zlib.crc32(np.asarray(array).astype("<i4").tobytes(), found)
    return f"{found:08x}"


def _channels(session: Any) -> list[int]:
    return [output.shape[-1] for output in session.get_outputs()]


def _halo(session: Any) -> int:
    return int(session.get_modelmeta().custom_metadata_map["halo"])


def _load_runtime() -> Any:
    """ONNX Runtime, loaded when a codec first needs it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError(
            "ONNX Runtime is missing; `pip install onnxruntime` brings it"
        ) from error
    version = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
    if version < OLDEST:
        raise UnsupportedError(
            f"ONNX Runtime is {onnxruntime.__version__}, expected "
            f"{'.'.join(map(str, OLDEST))} or newer; `pip install -U onnxruntime`"
        )
    return onnxruntime
