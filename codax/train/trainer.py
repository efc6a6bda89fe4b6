"""The compiled step of a run: crops, loss, gradients, optimiser, average.

Everything random in a step is keyed by the seed, the step's number and a crop's place
in it, so that a run resumes exactly and any number of devices, on one host or several,
draws the same crops and noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from codax.codecs.families import family
from codax.entropy.exact import keep_in_bounds
from codax.errors import ConfigError
from codax.train.config import TrainConfig
from codax.train.data import crop_batch
from codax.train.hosts import Hosts
from codax.train.loss import Distortion, rate_distortion
from codax.train.optimizer import is_under, make_optimizer, norm_of, updates_counted
from codax.train.soap import refresh_bases
from codax.transforms.autoencoder import QUALITY_ANCHORS, QUALITY_SPACING

__all__ = ["State", "Trainer"]

ENCODER = ("g_a", "h_a")

State = dict[str, Any]


class Trainer:
    """The compiled step of a configuration, and the state that it moves.

    On several devices each works on its share of the crops; weights, optimiser and the
    resident set lie on all of them. So do those of several hosts.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Any,
        devices: Sequence[jax.Device] | None = None,
        *,
        hosts: Hosts | None = None,
        distortion: Distortion | None = None,
        optimizer: optax.GradientTransformation | None = None,
    ):
        """Splits the networks once; from here on everything is pure functions.

        Args:
            config: the run.
            model: the codec's networks.
            devices: where to compute; all of the hosts if None.
            hosts: that train together; this one alone if None.
            distortion: one's own instead of the configuration's.
            optimizer: likewise, see `make_optimizer`.

        Raises:
            ConfigError: the crops cannot be shared out evenly among the devices.
        """
        self.config = config
        parts: Any = nnx.split(model, nnx.Param, ...)
        self.graph, self.params, self.fixed = parts
        self.adapts: bool = model.adapts
        self.span: int = getattr(model, "token_span", 1)
        self.distortion = distortion or config.distortion
        self.own_optimizer = optimizer
        self.optimizer = make_optimizer(config, optimizer)
        self.hosts = hosts or Hosts()
        devices = devices or self.hosts.devices()
        self.mesh = Mesh(np.array(devices), ("crops",)) if len(devices) > 1 else None
        for name in ("batch", "branch_batch"):
            if getattr(config, name) // config.accumulate % len(devices):
                raise ConfigError(
                    f"{name}: got {getattr(config, name)} in {config.accumulate} "
                    f"parts, expected a multiple of the {len(devices)} devices in each"
                )

    def __eq__(self, other: object) -> bool:
        """Equal if they compile to the same step, which JAX then keeps for both."""
        return isinstance(other, Trainer) and (
            (self.config, self.graph, self.mesh, self.distortion, self.own_optimizer)
            == (
                other.config,
                other.graph,
                other.mesh,
                other.distortion,
                other.own_optimizer,
            )
        )

    def __hash__(self) -> int:
        return hash((self.config, self.mesh))

    def drawn(self, batch: int) -> int:
        """How many of a step's crops are drawn ones; they come last."""
        return round(self.config.drawn * batch)

    def place(self, tree: Any) -> Any:
        """Puts arrays on the device, or a copy on each of them.

        Of several hosts each has to have the same.
        """
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        if self.hosts.count == 1:
            return jax.device_put(tree, everywhere)
        # Which, unlike `device_put`, does not compare each array over the hosts.
        put = partial(jax.make_array_from_process_local_data, everywhere)
        return jax.tree.map(lambda x: put(np.asarray(x)), tree)

    def place_state(self, state: State) -> State:
        """Places copies: parts that share a buffer cannot both be given to a step.

        Of several hosts the first one's.
        """
        if self.mesh is None:
            # Compiles nothing, unlike `jnp.copy`; on several devices it does not copy.
            return jax.device_put(state, may_alias=False)
        if self.hosts.count > 1:
            return self.place(self.hosts.equal(state))
        return self.place(jax.tree.map(jnp.copy, state))

    def local(self, tree: Any) -> Any:
        """Arrays to compute with outside of a step: this host's copy."""
        if self.hosts.count == 1:
            return tree
        return jax.tree.map(lambda x: x.addressable_data(0), tree)

    def refreshed(self, state: State) -> State:
        """The state with SOAP's bases refreshed, placed as it was."""
        if self.hosts.count == 1:
            return state | {"opt": self.place(refresh_bases(state["opt"]))}
        local, form = jax.tree.flatten(self.local(state["opt"]))
        found = jax.tree.leaves(refresh_bases(jax.tree.unflatten(form, local)))
        # Only what changed travels.
        changed = [i for i, old in enumerate(local) if found[i] is not old]
        fresh = self.place(self.hosts.equal([found[i] for i in changed]))
        leaves = jax.tree.leaves(state["opt"])
        for i, leaf in zip(changed, fresh, strict=True):
            leaves[i] = leaf
        return state | {"opt": jax.tree.unflatten(form, leaves)}

    def share(self, count: int) -> range:
        """Which of a step's streamed crops this host loads, by their places.

        Each device takes as many; places from `count` on are left blank.
        """
        if self.mesh is None or self.hosts.count == 1:
            return range(count)
        devices = list(self.mesh.devices.flat)
        each = -(-count // len(devices))
        mine = [d.process_index == self.hosts.rank for d in devices]
        return range(each * mine.index(True), each * (mine.index(True) + sum(mine)))

    def spread(self, crops: np.ndarray) -> Any:
        """Crops for `steps`, of the whole batch.

        Args:
            crops: uint8[k m size size 3], those of `share`.
        """
        if self.mesh is None or self.hosts.count == 1:
            return crops
        sharding = NamedSharding(self.mesh, PartitionSpec(None, "crops"))
        return jax.make_array_from_process_local_data(sharding, crops)

    def _share_out(self, x: jax.Array) -> jax.Array:
        """Splits the first axis among the devices; the values stay the same."""
        if self.mesh is None:
            return x
        spread = NamedSharding(self.mesh, PartitionSpec("crops"))
        return jax.lax.with_sharding_constraint(x, spread)

    def initial_state(self) -> State:
        """Weights, their average, the optimiser, counters and running losses."""
        return {
            "fixed": self.fixed,
            "params": self.params,
            "ema": self.params,
            "opt": self.optimizer.init(self.params),
            "step": jnp.zeros((), jnp.int32),
            "skipped": jnp.zeros((), jnp.int32),
            "run_of_bad": jnp.zeros((), jnp.int32),
            "pixels": jnp.zeros((), jnp.float32),
            "seconds": jnp.zeros((), jnp.float32),
            "loss": jnp.zeros((QUALITY_ANCHORS,), jnp.float32),
        }

    def model(self, params: Any, fixed: Any) -> Any:
        """The networks with these weights."""
        return nnx.merge(self.graph, params, fixed)

    def _changed(
        self, params: Any, fixed: Any, change: Callable[[Any], Any]
    ) -> tuple[Any, Any, Any]:
        """The weights after a change of the networks in place, and what it returned."""
        # Copies: what a merged module is given, it writes back into the trees.
        model = self.model(*jax.tree.map(lambda leaf: leaf, (params, fixed)))
        found = change(model)
        parts: Any = nnx.split(model, nnx.Param, ...)
        return parts[1], parts[2], found

    def _in_bounds(self, params: Any, fixed: Any) -> Any:
        """The weights, those of the exact path within what float32 can sum."""
        return self._changed(params, fixed, lambda m: keep_in_bounds(m.prior))[0]

    def _loss(self, params, fixed, x, quality, key, weights, hard):
        params = self._held(params, hard)
        # At the end networks see the arithmetic that files will see.
        mixed = self.config.bfloat16 and not hard
        with jax.default_matmul_precision("bfloat16" if mixed else "highest"):
            losses, parts = rate_distortion(
                self.model(params, fixed),
                x,
                quality,
                None if hard else key,
                distortion=self.distortion,
                exact=self.config.exact,
            )
        return jnp.mean(losses * weights), (losses, parts)

    def _frozen(self, hard: bool) -> tuple[str, ...]:
        """Networks that stay as they are."""
        return self.config.freeze + (ENCODER if hard else ())

    def _held(self, params: Any, hard: bool) -> Any:
        """The weights, those of frozen networks as constants: no gradients for them."""
        frozen = self._frozen(hard)
        return jax.tree_util.tree_map_with_path(
            lambda path, w: jax.lax.stop_gradient(w) if is_under(path, frozen) else w,
            params,
        )

    def _gradients(self, params, fixed, x, quality, key, weights, hard):
        """Gradients of a step's crops, and losses and parts of each crop."""

        def slope(x, *rest):
            x = self._share_out(x)
            return jax.grad(self._loss, has_aux=True)(params, fixed, x, *rest, hard)

        count = self.config.accumulate
        if count == 1:
            return slope(x, quality, key, weights)

        def add(total, part):
            grads, facts = slope(*part)
            return jax.tree.map(jnp.add, total, grads), facts

        x, quality, weights = (
            a.reshape(count, -1, *a.shape[1:]) for a in (x, quality, weights)
        )
        start = jax.tree.map(jnp.zeros_like, params)
        parts = (x, quality, jax.random.split(key, count), weights)
        total, facts = jax.lax.scan(add, start, parts)
        return (
            jax.tree.map(lambda g: g / count, total),
            jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), facts),
        )

    def _crops(self, data, drawn, key, batch, size) -> jax.Array:
        """The crops of a step: pictures of the data, then drawn ones."""
        count = self.drawn(batch) if drawn else 0

        def cut(pictures, key, count, rescale):
            flat, offsets, heights, widths = pictures
            return crop_batch(flat, offsets, heights, widths, key, count, size, rescale)

        parts = [] if len(data) > 1 else [data[0][: batch - count]]
        if not parts and count < batch:
            parts.append(cut(data, key, batch - count, self.config.rescale))
        if count:
            # Never rescaled: their edges stay as sharp as they were drawn.
            parts.append(cut(drawn, jax.random.fold_in(key, 1), count, 0.0))
        return jnp.concatenate(parts)

    def _step(
        self, state: State, data, drawn, rate, batch, size, hard
    ) -> tuple[State, Any]:
        """One update. Randomness is keyed by seed and step alone."""
        config = self.config
        frozen = self._frozen(hard)
        key = jax.random.fold_in(jax.random.key(config.seed), state["step"])
        crop_key, quality_key, noise_key = jax.random.split(key, 3)
        x = self._crops(data, drawn, crop_key, batch, size)
        low, high = (2 * end for end in family(config.codec).qualities)
        quality = jax.random.randint(quality_key, (batch,), low, high + 1)
        if config.quality >= 0:
            quality = jnp.full_like(quality, config.quality)
        anchor = (quality + QUALITY_SPACING // 2) // QUALITY_SPACING
        running = state["loss"]
        known = jnp.where(running > 0, running, jnp.max(running))
        weights = jnp.where(known[anchor] > 0, 1.0 / known[anchor], 0.3)
        if not config.weighted:
            weights = jnp.full_like(weights, 0.3)
        grads, (losses, parts) = self._gradients(
            state["params"],
            state["fixed"],
            x.astype(jnp.float32),
            quality,
            noise_key,
            weights,
            hard,
        )
        norm = norm_of(grads)
        good = jnp.isfinite(norm)
        before = (state["params"], state["ema"], state["opt"])
        params, ema, opt = jax.lax.cond(
            good,
            lambda: self._updated(state, grads, rate, frozen),
            lambda: before,
        )
        one_hot = jax.nn.one_hot(anchor, QUALITY_ANCHORS)
        count = one_hot.sum(0)
        fresh = (one_hot * losses[:, None]).sum(0) / jnp.maximum(count, 1)
        fresh = jnp.where(running > 0, running + 0.05 * (fresh - running), fresh)
        running = jnp.where((count > 0) & good, fresh, running)
        new = {
            "fixed": state["fixed"],
            "params": params,
            "ema": ema,
            "opt": opt,
            "step": state["step"] + 1,
            "skipped": state["skipped"] + (~good).astype(jnp.int32),
            "run_of_bad": jnp.where(good, 0, state["run_of_bad"] + 1),
            "pixels": state["pixels"] + batch * size * size / 1e6,
            "seconds": state["seconds"],
            "loss": running,
        }
        # Lossless codecs have no error: their PSNR is given as 148 dB.
        mse = jnp.maximum(parts["mse"], 1e-10)
        report = {
            "loss": jnp.mean(losses * weights),
            "bpp": jnp.mean(parts["bpp"]),
            "psnr": jnp.mean(20 * jnp.log10(255.0) - 10 * jnp.log10(mse)),
            "norm": norm,
        }
        if "commitment" in parts:
            report["commitment"] = jnp.mean(parts["commitment"])
        return new, report

    def _updated(
        self, state: State, grads: Any, rate, frozen: tuple[str, ...]
    ) -> tuple[Any, Any, Any]:
        """Weights, their average and the optimiser after a step of these gradients."""
        updates, opt = self.optimizer.update(grads, state["opt"], state["params"])
        params = optax.apply_updates(
            state["params"], jax.tree.map(lambda u: -rate * u, updates)
        )
        if frozen:
            params = jax.tree_util.tree_map_with_path(
                lambda path, new, old: old if is_under(path, frozen) else new,
                params,
                state["params"],
            )
        params = self._in_bounds(params, state["fixed"])
        # The average follows fast at first, so that early states are of use. Counted
        # from the optimiser's start: weights to start from came with older steps.
        count = updates_counted(state)
        if count is None:
            count = state["step"]
        decay = jnp.minimum(self.config.ema, (1.0 + count) / (10.0 + count))
        ema = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state["ema"], params)
        return params, self._in_bounds(ema, state["fixed"]), opt

    def adapt(
        self, state: State, pictures: np.ndarray, stage: str
    ) -> tuple[State, dict[str, float]]:
        """Fits what networks fit to pictures instead of training it.

        At the `end` of a phase it is fitted to the averaged weights, which ship.

        Args:
            state: see `initial_state`.
            pictures: float32[N S S 3], 0..255.
            stage: `start`, `run` or `end`, see `Autoencoder.adapt`.

        Returns:
            The state, and figures for the log.
        """
        averaged = stage == "end"
        weights = state["ema" if averaged else "params"]
        params, fixed, facts = self._changed(
            weights, state["fixed"], lambda model: model.adapt(pictures, stage)
        )
        if averaged:
            return state | {"fixed": fixed}, facts
        ema = jax.tree.map(
            lambda new, old, average: jnp.where(new != old, new, average),
            params,
            state["params"],
            state["ema"],
        )
        return state | {"params": params, "ema": ema, "fixed": fixed}, facts

    @partial(jax.jit, static_argnums=(0, 4, 5, 6), donate_argnums=(1,))
    def steps(self, state, data, rates, batch: int, size: int, hard: bool, drawn=()):
        """`len(rates)` updates in one compiled call.

        Args:
            state: see `initial_state`; given away.
            data: arrays of a `ResidentSet`; or one array uint8[k n size size 3],
                crops of a streaming set, n = batch - drawn crops; more are not seen.
            rates: float32[k], learning rates.
            batch: crops a step.
            size: side of the crops.
            hard: encoder frozen, latents rounded hard.
            drawn: arrays of the drawn `ResidentSet`, see `codax.train.drawn`; without
                them all crops are of the data.

        Returns:
            The state, and the means of loss, bpp, PSNR and gradient norm.
        """
        streamed = data if len(data) == 1 else ()

        def body(state, inputs):
            rate, crops = inputs
            return self._step(state, crops or data, drawn, rate, batch, size, hard)

        if rates.shape[0] == 1:
            return body(state, (rates[0], tuple(x[0] for x in streamed)))
        state, reports = jax.lax.scan(body, state, (rates, streamed))
        return state, jax.tree.map(jnp.mean, reports)
