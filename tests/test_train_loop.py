"""The training loop: exact resume, signals, schedules, bad steps, several devices."""

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from small_codecs import small_config, small_networks, synthetic

from codax.coding.trees import flatten
from codax.entropy.exact import ExactDense, check_module
from codax.errors import CodaxError, ConfigError, ModelError
from codax.train import feed, loop
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.train.drawn import drawn_set
from codax.train.loop import Stopped, train
from codax.train.optimizer import make_optimizer
from codax.train.runner import MOST_BAD_STEPS
from codax.train.schedule import Box, Clock
from codax.train.start import start_networks
from codax.train.state import load_state
from codax.train.streaming import Samples
from codax.train.trainer import Trainer


@functools.cache
def start_of(codec: str):
    """Networks are made once; runs copy them before they step."""
    return start_networks(config_of(codec), pictures())


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "start_networks", lambda c, r: start_of(c.codec))
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


def config_of(codec="factorized", **fields) -> TrainConfig:
    return TrainConfig(
        **{
            "codec": codec,
            "preset": "small",
            "model": small_config(codec),
            "batch": 2,
            "crop": 64,
            "branch_batch": 2,
            "branch_crop": 64,
            "hard": 0.0,
            "warmup": 3,
            "refresh": 4,
            "rescale": 0.0,
            "workers": 0,
        }
        | fields
    )


def pictures() -> ResidentSet:
    found = [synthetic(96, 80, 0), synthetic(64, 128, 1)]
    return ResidentSet(
        flat=np.concatenate([p.reshape(-1, 3) for p in found]),
        offsets=np.array([0, 96 * 80], np.int32),
        heights=np.array([p.shape[0] for p in found], np.int32),
        widths=np.array([p.shape[1] for p in found], np.int32),
    )


@pytest.fixture(scope="module")
def resident():
    return pictures()


def test_a_step_keeps_the_exact_path_exact(resident):
    model, _ = small_networks("factorized")
    layer = ExactDense(64, 2, rngs=nnx.Rngs(0))
    layer.kernel[...] = jnp.full(layer.kernel.shape, 3.9)
    model.prior.layer = layer  # A layer that compiles in no time.
    with pytest.raises(ModelError, match="layer: sums reach"):
        check_module("prior", model.prior)
    trainer = Trainer(config_of(), model)
    state = trainer.place_state(trainer.initial_state())
    state, _ = trainer.steps(state, resident.arrays(), jnp.ones(1) * 1e-3, 2, 64, False)
    for weights in (state["params"], state["ema"]):
        check_module("prior", trainer.model(weights, state["fixed"]).prior)


def stop_at(step: int, number: int = signal.SIGTERM):
    def watch(trainer, state, phase):
        if int(state["step"]) == step:
            os.kill(os.getpid(), number)

    return watch


@pytest.mark.parametrize("drawn", [0.0, 0.5])
def test_stopped_and_resumed_equals_uninterrupted(
    tmp_path, resident, monkeypatch, drawn
):
    monkeypatch.setattr(feed, "drawn_set", lambda seed: drawn_set(seed, 3, 96))
    # Watching after every step gives the place to send the signals from.
    config = config_of(watch=1e-9, drawn=drawn)
    whole = train(config, tmp_path / "whole", resident, steps=10, say=str)
    before = signal.getsignal(signal.SIGTERM)
    run = tmp_path / "parts"
    with pytest.raises(Stopped) as stopped:
        train(config, run, resident, steps=10, watch=stop_at(5), say=str)
    assert stopped.value.signal == signal.SIGTERM
    assert int(load_state(run / "trunk.npz")["step"]) == 5
    again = stop_at(9, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(config, run, resident, steps=10, resume=True, watch=again, say=str)
    assert int(load_state(run / "branch.npz")["step"]) == 9
    parts = train(config, run, resident, steps=10, resume=True, say=str)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (run / "branch.npz").exists()
    one, two = load_state(whole), load_state(parts)
    assert one.keys() == two.keys()
    differing = [
        name
        for name in one
        if name != "seconds" and not np.array_equal(one[name], two[name])
    ]
    assert differing == []
    assert int(one["step"]) == 10
    line = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 10
    assert line["phase"] == "branch"


def test_steps_that_are_not_finite_change_nothing(resident):
    config = config_of(watch=1e-9)  # As above: the same compiled step.
    trainer = Trainer(config, start_of(config.codec))
    data = trainer.place(resident.arrays())
    state = trainer.place(jax.tree.map(jnp.copy, trainer.initial_state()))
    rates = jnp.asarray([1e-3])
    good = jax.tree.map(np.asarray, state)
    bad = state | {"params": jax.tree.map(lambda p: p * np.nan, state["params"])}
    bad, _ = trainer.steps(bad, data, rates, 2, 64, False)
    assert int(bad["step"]) == 1
    assert int(bad["skipped"]) == int(bad["run_of_bad"]) == 1
    same = jax.tree.map(np.array_equal, good["ema"], bad["ema"])
    assert all(jax.tree.leaves(same))
    same = jax.tree.map(np.array_equal, good["opt"], bad["opt"])
    assert all(jax.tree.leaves(same))
    healed = bad | {"params": jax.tree.map(jnp.asarray, good["params"])}
    healed, report = trainer.steps(healed, data, rates, 2, 64, False)
    assert int(healed["skipped"]) == 1
    assert int(healed["run_of_bad"]) == 0
    assert np.isfinite(float(report["loss"]))


def test_prior_in_float_and_adam_learn_beside_frozen_transforms(tmp_path, resident):
    config = config_of(
        "hyperprior",
        exact=False,
        optimizer="adam",
        branch=0.0,
        freeze=("g_a", "g_s"),
    )
    weights = train(config, tmp_path, resident, steps=4, say=str)
    found = load_state(weights)
    start = Trainer(config, start_of(config.codec)).params
    moved = np.abs(
        found["ema/prior/hyper/up1/kernel"]
        - start["prior"]["hyper"]["up1"]["kernel"][...]
    )
    assert all(np.all(np.isfinite(value)) for value in found.values())
    assert moved.max() > 0
    for name, value in flatten(start).items():
        if name.startswith(("g_a", "g_s")):
            np.testing.assert_array_equal(found[f"ema/{name}"], value)


def test_loss_and_optimiser_may_be_ones_own(tmp_path, resident):
    """They are what the step computes with; the rate stays the run's."""
    seen = []

    def absolute(x, out):
        seen.append(x.shape)
        return jnp.mean(jnp.abs(out - x), (1, 2, 3))

    config = config_of("factorized", branch=0.0, warmup=0)
    own = optax.stateless(lambda g, p: jax.tree.map(jnp.sign, g))
    options = {"steps": 1, "say": str}
    weights = train(
        config, tmp_path / "a", resident, distortion=absolute, optimizer=own, **options
    )
    assert seen[0] == (2, 64, 64, 3)
    state = load_state(tmp_path / "a" / "trunk.npz")
    start = flatten({"params": Trainer(config, start_of(config.codec)).params})
    name = "params/g_s/leave/kernel"
    moved = np.abs(state[name] - start[name])
    np.testing.assert_allclose(moved[moved > 0], config.rate, rtol=1e-3)
    assert weights.is_file()


def test_weight_decay_takes_from_weights():
    config = config_of("factorized", optimizer="adam", weight_decay=0.5)
    plain = make_optimizer(dataclasses.replace(config, weight_decay=0.0))
    decayed = make_optimizer(config)
    params = {"w": jnp.full((3,), 2.0)}
    gradient = {"w": jnp.zeros(3)}
    for optimizer, expected in ((plain, 0.0), (decayed, 1.0)):
        found, _ = optimizer.update(gradient, optimizer.init(params), params)
        np.testing.assert_allclose(found["w"], expected)


@pytest.fixture
def calls(monkeypatch):
    """What the loop asks the compiled step for, without compiling it."""
    found = []

    def steps(self, state, data, rates, batch, size, hard, drawn=()):
        found.append(
            (int(state["step"]), len(data), np.array(rates), batch, size, hard)
        )
        found[-1] += (data[0] if len(data) == 1 else None, drawn)
        state = state | {"step": state["step"] + len(rates)}
        return state, {"loss": 1.0, "bpp": 1.0, "psnr": 30.0, "norm": 1.0}

    monkeypatch.setattr(Trainer, "steps", steps)
    return found


def test_schedule_of_steps(tmp_path, resident, calls):
    config = config_of(
        optimizer="adam",
        steps_per_call=3,
        branch_batch=4,
        branch_crop=128,
        hard=0.5,
        warmup=4,
        branch=0.4,
    )
    train(config, tmp_path, resident, steps=20, say=str)
    assert [call[0] for call in calls] == [0, 3, 6, 9, 12, 15, 18]
    assert [call[3:5] for call in calls] == [(2, 64)] * 4 + [(4, 128)] * 3
    rates = np.concatenate([call[2] for call in calls]) / config.rate
    np.testing.assert_allclose(rates[:12], [0.25, 0.5, 0.75, *[1.0] * 9], rtol=1e-6)
    np.testing.assert_allclose(rates[12:], np.linspace(1, 0, 9)[:-1], rtol=1e-6)
    assert [call[5] for call in calls] == [False] * 6 + [True]


def test_streamed_crops_are_the_samples_of_the_step(tmp_path, resident, calls):
    from PIL import Image

    paths = []
    for seed in range(3):
        paths.append(tmp_path / f"{seed}.png")
        Image.fromarray(synthetic(80, 90, seed)).save(paths[-1])
    config = config_of(optimizer="adam", stream=True, steps_per_call=2, seed=5)
    train(config, tmp_path / "run", resident, steps=5, stream=paths, say=str)
    samples = Samples(paths, 64, 5, 0.0)
    for step, count, rates, *_, crops, _ in calls:
        assert count == 1
        for i in range(len(rates)):
            expected = [samples.sample(2 * (step + i) + j) for j in range(2)]
            np.testing.assert_array_equal(crops[i], expected)
    assert sum(len(call[2]) for call in calls) == 5
    with pytest.raises(ConfigError, match="0 pictures to stream"):
        train(config, tmp_path / "none", resident, steps=5, say=str)


def test_crops_and_evaluators_may_be_ones_own(tmp_path, resident, calls):
    def crops(count, side, step):
        while True:
            yield np.full((count, side, side, 3), step, np.uint8)
            step += 1

    watched = []

    def watch(number):
        return lambda trainer, state, phase: watched.append((number, phase))

    config = config_of(optimizer="adam")
    options = {"steps": 5, "say": str, "watch": [watch(1), watch(2)]}
    train(config, tmp_path / "run", resident, crops=crops, **options)
    for step, _, _, batch, size, _, given, _ in calls:
        assert np.array_equal(given[0], np.full((batch, size, size, 3), step))
    assert watched == [(1, "branch"), (2, "branch")]
    wrong = {
        "float32": lambda *_: iter([np.zeros((2, 64, 64, 3), np.float32)]),
        "they ended": lambda *_: iter([]),
    }
    for message, own in wrong.items():
        with pytest.raises(ConfigError, match=f"crops: .*{message}"):
            train(config, tmp_path / message, resident, crops=own, steps=5, say=str)


def test_drawn_crops_take_their_share_of_streamed_batches(
    tmp_path, resident, calls, monkeypatch
):
    from PIL import Image

    monkeypatch.setattr(feed, "drawn_set", lambda seed: drawn_set(seed, 2, 64))
    paths = []
    for seed in range(3):
        paths.append(tmp_path / f"{seed}.png")
        Image.fromarray(synthetic(80, 90, seed)).save(paths[-1])
    fields = {"optimizer": "adam", "stream": True, "seed": 5}
    config = config_of(**fields, drawn=0.25, batch=4, branch_batch=8)
    train(config, tmp_path / "run", resident, steps=5, stream=paths, say=str)
    samples = Samples(paths, 64, 5, 0.0)
    assert {call[3] for call in calls} == {4, 8}
    for step, count, _, batch, *_, crops, drawn in calls:
        assert count == 1
        kept = {4: 3, 8: 6}[batch]
        expected = [samples.sample(kept * step + j) for j in range(kept)]
        np.testing.assert_array_equal(crops[0], expected)
        np.testing.assert_array_equal(drawn[0], drawn_set(5, 2, 64).flat)
    calls.clear()
    config = config_of(**fields, drawn=1.0)
    train(config, tmp_path / "all", resident, steps=5, stream=paths, say=str)
    assert [call[6].shape for call in calls] == [(1, 0, 64, 64, 3)] * 5


def test_runs_without_drawn_pictures_draw_none(tmp_path, resident, calls, monkeypatch):
    monkeypatch.setattr(feed, "drawn_set", lambda seed: pytest.fail("drawn"))
    train(config_of(optimizer="adam"), tmp_path, resident, steps=5, say=str)
    assert {call[7] for call in calls} == {()}


def test_many_bad_steps_are_fatal(tmp_path, resident, monkeypatch):
    def steps(self, state, data, rates, batch, size, hard, drawn=()):
        state = state | {"step": state["step"] + 1, "run_of_bad": state["step"] + 1}
        return state, {"loss": 1.0, "bpp": 1.0, "psnr": 30.0, "norm": np.inf}

    monkeypatch.setattr(Trainer, "steps", steps)
    config = config_of(optimizer="adam", seed=7)
    message = f"{MOST_BAD_STEPS} steps in a row.*last {MOST_BAD_STEPS}, seed 7"
    with pytest.raises(CodaxError, match=message):
        train(config, tmp_path, resident, steps=100, say=str)


def test_what_cannot_begin_is_refused(tmp_path, resident, calls):
    config = config_of(optimizer="adam")
    with pytest.raises(ConfigError, match="either minutes or steps"):
        train(config, tmp_path, resident)
    with pytest.raises(ConfigError, match="no state to resume"):
        train(config, tmp_path, resident, steps=3, resume=True)
    train(config, tmp_path, resident, steps=3, say=str)
    with pytest.raises(ConfigError, match="holds a run already"):
        train(config, tmp_path, resident, steps=3, say=str)


def test_a_time_box_ends_in_time_and_its_branch_at_zero(tmp_path, resident, calls):
    config = config_of(optimizer="adam", warmup=0)
    train(config, tmp_path, resident, minutes=1 / 60, say=str)
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert line["done"] == 1.0
    rates = np.concatenate([call[2] for call in calls]) / config.rate
    rates = rates[rates > 0]  # Without the steps that compile.
    assert rates[0] == 1.0
    assert np.all(np.diff(rates) <= 1e-6)
    assert rates[-1] < 0.9


@pytest.mark.parametrize(("branch", "phase"), [(0.4, "branch"), (1.0, "branch")])
def test_a_time_box_that_compilation_ate_gives_no_weights(
    tmp_path, resident, monkeypatch, branch, phase
):
    def steps(self, state, data, rates, batch, size, hard, drawn=()):
        time.sleep(0.3)
        state = state | {"step": state["step"] + 1}
        return state, {"loss": 1.0, "bpp": 1.0, "psnr": 30.0, "norm": 1.0}

    monkeypatch.setattr(Trainer, "steps", steps)
    config = config_of(optimizer="adam", branch=branch)
    message = f"ended before the {phase}'s first step, .*`resume=True`"
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path, resident, minutes=0.2 / 60, say=str)
    assert not (tmp_path / "weights.npz").exists()
    assert train(
        config, tmp_path, resident, minutes=5 / 60, say=str, resume=True
    ).is_file()


def test_what_a_run_begins_is_written_when_it_begins(tmp_path, resident, calls):
    config, begun = config_of(optimizer="adam", stream=True), []
    options = {"say": str, "begin": lambda: begun.append(1)}
    with pytest.raises(ConfigError, match="0 pictures to stream"):
        train(config, tmp_path, resident, steps=5, **options)
    assert not begun
    assert not list(tmp_path.iterdir())
    train(config_of(optimizer="adam"), tmp_path, resident, steps=5, **options)
    assert begun == [1]


def test_watch_0_watches_never(tmp_path, resident, calls):
    config = config_of(optimizer="adam", watch=0)
    train(
        config,
        tmp_path,
        resident,
        steps=5,
        say=str,
        watch=lambda *_: pytest.fail("watched"),
    )


def test_a_picture_that_cannot_be_read_is_named_once(tmp_path, resident, calls):
    from PIL import Image

    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(synthetic(80, 90)).save(good)
    bad.write_bytes(b"no picture")
    said = []
    config = config_of(optimizer="adam", stream=True)
    options = {"stream": [good, bad], "say": said.append, "steps": 8}
    train(config, tmp_path / "run", resident, **options)
    assert len([line for line in said if "bad.png: not a picture" in line]) == 1


def test_compiling_is_done_before_the_rate_falls(tmp_path, resident, monkeypatch):
    seen, found = set(), []

    def steps(self, state, data, rates, batch, size, hard, drawn=()):
        found.append((float(rates[0]), size, hard))
        time.sleep(0.01 if (size, hard) in seen else 1.0)
        seen.add((size, hard))
        state = state | {"step": state["step"] + 1}
        return state, {"loss": 1.0, "bpp": 1.0, "psnr": 30.0, "norm": 1.0}

    monkeypatch.setattr(Trainer, "steps", steps)
    config = config_of(optimizer="adam", branch_crop=128, branch=0.7, hard=0.3)
    train(config, tmp_path, resident, minutes=6 / 60, say=str)
    branch = [rate / config.rate for rate, size, _ in found if size == 128]
    assert branch[:2] == [0.0, 0.0]
    assert branch[2] > 0.9
    assert branch[-1] < 0.1
    assert sum(hard for *_, hard in found) > 10


def test_a_stopped_process_does_not_burn_its_schedule():
    clock = Clock()
    for _ in range(10):
        clock.add(1.0)
    clock.add(1000.0)
    assert clock.spent == 15.0
    clock.add_whole(30.0)  # compilation
    assert clock.spent == 45.0


def test_a_resumed_branch_in_time_goes_on_where_it_was():
    config = config_of()
    branch = {"branch_start": np.int64(80), "branch_share": np.float64(0.5)}
    box = Box(config, 10.0, None, 0, branch)
    box.begin_branch(90)
    assert box.share(90) == 0.5
    box.clock.add_whole(300.0)
    assert box.share(95) == 0.75
    assert box.rate("branch", 95) == pytest.approx(0.25 * config.rate)


DEVICES = """
import jax, jax.numpy as jnp, numpy as np, sys
sys.path.insert(0, {tests!r})
from test_train_loop import config_of, pictures, start_of
from codax.train.drawn import drawn_set
from codax.train.trainer import Trainer
config = config_of(batch=8, branch_batch=8, drawn=0.25)
found = []
for devices in (jax.devices()[:1], jax.devices()):
    trainer = Trainer(config, start_of(config.codec), devices)
    data = trainer.place(pictures().arrays())
    drawn = trainer.place(drawn_set(0, 3, 96).arrays())
    state = trainer.place(jax.tree.map(jnp.copy, trainer.initial_state()))
    losses = []
    for step in range(50):
        state, report = trainer.steps(
            state, data, jnp.asarray([1e-3]), 8, 64, False, drawn
        )
        losses.append(float(report["loss"]))
        if step == 0 or (step + 1) % 10 == 0:
            state = trainer.refreshed(state)
    found.append(losses)
print(len(jax.devices()), np.abs(np.array(found[1]) / found[0] - 1).max())
"""


ONCE = """
import jax, jax.numpy as jnp, sys
sys.path.insert(0, {tests!r})
from test_train_loop import config_of, pictures, start_of
from codax.train.trainer import Trainer
programs = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **more: event.endswith("/backend_compile_duration")
    and programs.append(more)
)
trainer = Trainer(config_of(), start_of("factorized"))
data = trainer.place(pictures().arrays())
state = trainer.place_state(trainer.initial_state())
counts = []
for step in range(3):
    rates = jnp.asarray([1e-3])
    state, _ = trainer.steps(state, data, rates, 2, 64, False)
    state = trainer.refreshed(state)
    counts.append(len(programs))
print(len(jax.devices()), *(count - counts[0] for count in counts))
"""


def test_several_devices_compile_a_step_once():
    """Also when the bases were refreshed between two steps."""
    assert on_devices(2, ONCE).split() == ["2", "0", "0", "0"]


def on_devices(count: int, script: str) -> str:
    """What a script prints where the host has so many devices."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script.format(tests=os.path.dirname(__file__))],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_eight_devices_give_the_loss_of_one():
    count, worst = on_devices(8, DEVICES).split()
    assert int(count) == 8
    assert float(worst) < 1e-4


def test_crops_that_cannot_be_shared_out_are_refused(resident):
    config = config_of(batch=3)
    model = start_of("factorized")
    with pytest.raises(ConfigError, match="multiple of the 2 devices"):
        Trainer(config, model, jax.devices() * 2)


@pytest.mark.parametrize("hard", [False, True])
def test_bfloat16_is_near_and_ends_with_the_encoder(resident, hard):
    found = []
    for mixed in (False, True):
        trainer = Trainer(config_of(bfloat16=mixed), start_of("factorized"))
        state = trainer.place_state(trainer.initial_state())
        data = trainer.place(resident.arrays())
        for _ in range(2):
            # The heads start at zero: one step until what they read matters.
            state, report = trainer.steps(state, data, jnp.full(1, 1e-3), 2, 64, hard)
        found.append([float(report[n]) for n in ("loss", "bpp", "psnr", "norm")])
    assert (found[1] == found[0]) is hard
    assert found[1] == pytest.approx(found[0], rel=0.02)


def test_crops_in_parts_give_the_same_gradients(resident):
    found = []
    for parts in (1, 2):
        trainer = Trainer(config_of(batch=4, accumulate=parts), start_of("factorized"))
        state = trainer.place_state(trainer.initial_state())
        data = trainer.place(resident.arrays())
        for _ in range(2):
            # Rounded hard: noise is drawn for each part on its own.
            state, report = trainer.steps(state, data, jnp.full(1, 1e-3), 4, 64, True)
        found.append([float(report[n]) for n in ("loss", "bpp", "psnr", "norm")])
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[0][3] > 0
