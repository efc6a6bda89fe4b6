"""The training program, top to bottom: read it, copy it, change it.

A run has two phases. The *trunk* keeps a constant learning rate; its state is saved
and is what later hours continue. The *branch* is the last share of a time box: from the
trunk's weights the rate falls to zero on larger crops, and its averaged weights are
what ships. Re-warming an annealed run would lose what annealing won.

    run/config.json   the configuration
    run/log.jsonl     a line for each report
    run/trunk.npz     the trunk's full state (weights, average, optimiser, step)
    run/branch.npz    the branch's full state while it runs
    run/weights.npz   averaged weights of the newest finished branch
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from codax.codecs.trees import unflatten_like
from codax.errors import CodaxError, ConfigError
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet, crop_batch
from codax.train.loss import rate_distortion
from codax.train.soap import refresh_bases, scale_by_soap
from codax.train.start import start_networks
from codax.train.state import load_state, save_state
from codax.transforms.autoencoder import QUALITY_ANCHORS, QUALITY_SPACING

__all__ = ["Trainer", "train"]

SAVE_SECONDS = 60.0
REPORT_SECONDS = 15.0
MOST_BAD_STEPS = 20
LINEAR = ("klt",)
ENCODER = ("g_a", "h_a")

State = dict[str, Any]


def _is_under(path: tuple, names: tuple[str, ...]) -> bool:
    return any(getattr(key, "key", None) in names for key in path)


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Clipping, SOAP or AdamW, and the linear matrices' share of the rate."""
    if config.optimizer == "soap":
        inner = scale_by_soap()
    else:
        inner = optax.scale_by_adam(b1=0.9, b2=0.95)

    def linear_share(updates):
        def scale(path, u):
            return u * (config.linear_rate if _is_under(path, LINEAR) else 1.0)

        return jax.tree_util.tree_map_with_path(scale, updates)

    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        inner,
        optax.stateless(lambda updates, params: linear_share(updates)),
    )


class Trainer:
    """The compiled step of a configuration, and the state that it moves."""

    def __init__(self, config: TrainConfig, model: Any):
        """Splits the networks once; from here on everything is pure functions."""
        self.config = config
        self.graph, self.params, self.fixed = nnx.split(model, nnx.Param, ...)
        self.optimizer = make_optimizer(config)

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

    def _loss(self, params, fixed, x, quality, key, weights, hard):
        losses, parts = rate_distortion(
            self.model(params, fixed),
            x,
            quality,
            None if hard else key,
            distortion=self.config.distortion,
            exact=self.config.exact,
        )
        return jnp.mean(losses * weights), (losses, parts)

    def _step(self, state: State, data, rate, batch, size, hard) -> tuple[State, Any]:
        """One update. Randomness is keyed by seed and step alone."""
        config = self.config
        key = jax.random.fold_in(jax.random.key(config.seed), state["step"])
        crop_key, quality_key, noise_key = jax.random.split(key, 3)
        x = crop_batch(*data, crop_key, batch, size, config.rescale)
        quality = jax.random.randint(quality_key, (batch,), 0, 201)
        if config.quality >= 0:
            quality = jnp.full_like(quality, config.quality)
        anchor = (quality + QUALITY_SPACING // 2) // QUALITY_SPACING
        running = state["loss"]
        known = jnp.where(running > 0, running, jnp.max(running))
        weights = jnp.where(known[anchor] > 0, 1.0 / known[anchor], 0.3)
        if not config.weighted:
            weights = jnp.full_like(weights, 0.3)
        grads, (losses, parts) = jax.grad(self._loss, has_aux=True)(
            state["params"],
            state["fixed"],
            x.astype(jnp.float32),
            quality,
            noise_key,
            weights,
            hard,
        )
        if hard:
            grads = jax.tree_util.tree_map_with_path(
                lambda path, g: jnp.zeros_like(g) if _is_under(path, ENCODER) else g,
                grads,
            )
        norm = optax.global_norm(grads)
        good = jnp.isfinite(norm)
        safe = jax.tree.map(lambda g: jnp.where(good, g, 0.0), grads)
        updates, opt = self.optimizer.update(safe, state["opt"], state["params"])
        params = optax.apply_updates(
            state["params"], jax.tree.map(lambda u: -rate * u, updates)
        )
        if hard:
            params = jax.tree_util.tree_map_with_path(
                lambda path, new, old: old if _is_under(path, ENCODER) else new,
                params,
                state["params"],
            )
        # The average follows fast at first, so that early states are of use.
        decay = jnp.minimum(config.ema, (1.0 + state["step"]) / (10.0 + state["step"]))
        ema = jax.tree.map(
            lambda e, p: decay * e + (1 - decay) * p, state["ema"], params
        )
        keep = lambda new, old: jax.tree.map(  # noqa: E731
            lambda a, b: jnp.where(good, a, b), new, old
        )
        one_hot = jax.nn.one_hot(anchor, QUALITY_ANCHORS)
        count = one_hot.sum(0)
        fresh = (one_hot * losses[:, None]).sum(0) / jnp.maximum(count, 1)
        fresh = jnp.where(running > 0, running + 0.05 * (fresh - running), fresh)
        running = jnp.where((count > 0) & good, fresh, running)
        new = {
            "fixed": state["fixed"],
            "params": keep(params, state["params"]),
            "ema": keep(ema, state["ema"]),
            "opt": keep(opt, state["opt"]),
            "step": state["step"] + 1,
            "skipped": state["skipped"] + (~good).astype(jnp.int32),
            "run_of_bad": jnp.where(good, 0, state["run_of_bad"] + 1),
            "pixels": state["pixels"] + batch * size * size / 1e6,
            "seconds": state["seconds"],
            "loss": running,
        }
        report = {
            "loss": jnp.mean(losses * weights),
            "bpp": jnp.mean(parts["bpp"]),
            "psnr": jnp.mean(20 * jnp.log10(255.0) - 10 * jnp.log10(parts["mse"])),
            "norm": norm,
        }
        return new, report

    @partial(jax.jit, static_argnums=(0, 4, 5, 6), donate_argnums=(1,))
    def steps(self, state, data, rates, batch: int, size: int, hard: bool):
        """`len(rates)` updates in one compiled call.

        Args:
            state: see `initial_state`; given away.
            data: arrays of a `ResidentSet`.
            rates: float32[k], learning rates.
            batch: crops a step.
            size: side of the crops.
            hard: encoder frozen, latents rounded hard.

        Returns:
            The state, and the means of loss, bpp, PSNR and gradient norm.
        """

        def body(state, rate):
            return self._step(state, data, rate, batch, size, hard)

        if rates.shape[0] == 1:
            return body(state, rates[0])
        state, reports = jax.lax.scan(body, state, rates)
        return state, jax.tree.map(jnp.mean, reports)


class _Clock:
    """Time spent in steps; each counts at most five medians, so that a stopped
    process does not burn its schedule.
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self.recent: deque[float] = deque(maxlen=50)

    def add(self, seconds: float) -> None:
        self.recent.append(seconds)
        self.spent += min(seconds, 5 * statistics.median(self.recent))


def train(
    config: TrainConfig,
    run: Path,
    resident: ResidentSet,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    resume: bool = False,
    initial: dict[str, np.ndarray] | None = None,
    watch: Callable[[Trainer, State, str], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Trains within a time box or for a number of steps; trunk, then branch.

    Args:
        config: the run.
        run: its folder; made when missing.
        resident: training pictures.
        minutes: time box, compilation included; or
        steps: number of steps in all, branch included.
        resume: go on from the run's unfinished branch, else from its trunk.
        initial: `ema/...` and `fixed/...` arrays to start from instead of a transform
            coder, as `weights.npz` and the trunk files hold them.
        watch: called every few minutes with the state and the phase.
        say: takes progress lines; the default writes to stderr.

    Returns:
        The path of the averaged weights.

    Raises:
        ConfigError: neither or both of minutes and steps; nothing to resume.
        CodaxError: too many steps in a row were not finite.
    """
    if (minutes is None) == (steps is None):
        raise ConfigError("train: give either minutes or steps")
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(config.to_json())
    trainer = Trainer(config, start_networks(config, resident))
    state = trainer.initial_state()
    if initial is not None:
        known = {"ema": trainer.params, "fixed": trainer.fixed}
        state |= unflatten_like(known, initial)
        state["params"] = state["ema"]
    phases = ["trunk", "branch"]
    if resume:
        name = "branch" if (run / "branch.npz").is_file() else "trunk"
        if not (run / f"{name}.npz").is_file():
            raise ConfigError(f"{run}: no state to resume; start without --resume")
        state = unflatten_like(state, load_state(run / f"{name}.npz"))
        phases = phases[phases.index(name) :]
    state = jax.tree.map(jnp.copy, state)
    runner = _Runner(trainer, run, resident, say or _say, watch)
    box = _Box(config, minutes, steps, int(state["step"]), phases)
    for phase in phases:
        state = runner.phase(state, phase, box)
        if runner.stopped:
            raise KeyboardInterrupt
    save_state(run / "weights.npz", {"ema": state["ema"], "fixed": state["fixed"]})
    (run / "branch.npz").unlink(missing_ok=True)
    return run / "weights.npz"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class _Box:
    """How far a run is: in time or in steps."""

    def __init__(self, config, minutes, steps, first_step, phases):
        self.config, self.minutes, self.steps = config, minutes, steps
        self.first_step = first_step
        self.clock = _Clock()
        self.split = 0.0 if phases == ["branch"] else 1.0 - config.branch

    def done(self, step: int) -> float:
        """The share of the whole box that is used, 0..1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, self.clock.spent / (60.0 * self.minutes))

    def rate(self, phase: str, step: int) -> float:
        """The learning rate of a step."""
        config = self.config
        if phase == "trunk":
            return config.rate * min(1.0, (step + 1) / max(config.warmup, 1))
        share = (self.done(step) - self.split) / max(1e-9, 1.0 - self.split)
        return config.rate * max(0.0, 1.0 - share)

    def hard(self, step: int) -> bool:
        """Whether the encoder is frozen by now."""
        share = (self.done(step) - self.split) / max(1e-9, 1.0 - self.split)
        return share > 1.0 - self.config.hard


class _Runner:
    """Runs a phase: steps, saves, reports, and stops in good order."""

    def __init__(self, trainer, run, resident, say, watch):
        self.trainer, self.run, self.say, self.watch = trainer, run, say, watch
        self.data = tuple(jnp.asarray(a) for a in resident.arrays())
        self.stopped = False
        self.last_save = self.last_report = self.last_watch = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number, frame) -> None:
        self.stopped = True

    def phase(self, state: State, phase: str, box: _Box) -> State:
        config = self.trainer.config
        branch = phase == "branch"
        batch = config.branch_batch if branch else config.batch
        size = config.branch_crop if branch else config.crop
        end = 1.0 if branch else box.split
        step = int(state["step"])
        while box.done(step) < end and not self.stopped:
            k = config.steps_per_call
            rates = [box.rate(phase, step + i) for i in range(k)]
            hard = branch and box.hard(step)
            begin = time.monotonic()
            state, report = self.trainer.steps(
                state, self.data, jnp.asarray(rates), batch, size, hard
            )
            report = {name: float(value) for name, value in report.items()}
            if config.optimizer == "soap" and (
                step == 0 or (step + k) // config.refresh > step // config.refresh
            ):
                state["opt"] = refresh_bases(state["opt"])
            step += k
            spent = time.monotonic() - begin
            box.clock.add(spent)
            state["seconds"] = state["seconds"] + spent
            self._after(state, step, phase, box, report, batch * k / spent, rates[-1])
        save_state(self.run / f"{phase}.npz", state)
        return state

    def _after(self, state, step, phase, box, report, speed, rate) -> None:
        now = time.monotonic()
        if int(state["run_of_bad"]) >= MOST_BAD_STEPS:
            raise CodaxError(
                f"{MOST_BAD_STEPS} steps in a row were not finite, the last {step}, "
                f"seed {self.trainer.config.seed}; lower the rate"
            )
        if now - self.last_report > REPORT_SECONDS:
            self.last_report = now
            line = {
                "step": step,
                "phase": phase,
                "rate": rate,
                **report,
                "pictures_per_second": speed,
                "skipped": int(state["skipped"]),
                "seconds": float(state["seconds"]),
                "megapixels": float(state["pixels"]),
                "done": box.done(step),
            }
            with (self.run / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            self.say(
                f"{phase} {step} loss {report['loss']:.4f} bpp {report['bpp']:.3f} "
                f"{report['psnr']:.2f} dB {speed:.1f} pictures/s "
                f"{100 * box.done(step):.1f} %"
            )
        if now - self.last_save > SAVE_SECONDS:
            save_state(self.run / f"{phase}.npz", state)
            self.last_save = time.monotonic()
        if self.watch and now - self.last_watch > 300.0:
            self.watch(self.trainer, state, phase)
            self.last_watch = time.monotonic()
