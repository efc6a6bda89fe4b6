"""Networks that adapt to pictures in a run: codes, contexts, usage in the log."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_codecs import small_config, synthetic

from codax.entropy.tables import bank_tables
from codax.train import start
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.train.export import codec_of
from codax.train.loop import train
from codax.train.start import start_networks
from codax.train.state import load_state
from codax.train.trainer import Trainer


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(start, "ADAPT_CROPS", 6)
    monkeypatch.setattr(start, "END_CROPS", 6)
    monkeypatch.setattr(start, "ADAPT_SIDE", 64)
    return TrainConfig(
        codec="rvq",
        preset="small",
        model=small_config("rvq"),
        batch=2,
        crop=64,
        branch=0.0,
        optimizer="adam",
        adapt=2,
        rescale=0.0,
        freeze=("g_a",),
    )


def pictures():
    found = [synthetic(96, 128, seed) for seed in range(4)]
    return ResidentSet(
        flat=np.concatenate([p.reshape(-1, 3) for p in found]),
        offsets=np.arange(4, dtype=np.int32) * 96 * 128,
        heights=np.full(4, 96, np.int32),
        widths=np.full(4, 128, np.int32),
    )


def test_a_run_starts_revives_and_logs_usage(config, tmp_path):
    run = tmp_path / "run"
    weights = train(config, run, pictures(), steps=5, say=lambda line: None)
    lines = (run / "log.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    for layer in range(4):
        assert last[f"usage{layer}"] >= 0.5
        assert 1 <= last[f"perplexity{layer}"] <= 16
    assert last["commitment"] > 0
    arrays = load_state(weights)
    tables = bank_tables(arrays["fixed/prior/bank/frequencies"])
    assert len(tables) == 4 * 64
    assert all(table.size == 17 for table in tables)
    codec = codec_of(arrays, config)
    rgb = synthetic(64, 64, 9)
    whole = codec.coder.decompress(codec.coder.compress(rgb, 200), 64, 64, 200)
    coarse = codec.coder.decompress(codec.coder.compress(rgb, 50), 64, 64, 50)
    assert np.mean((whole - rgb.astype(float)) ** 2) < np.mean(
        (coarse - rgb.astype(float)) ** 2
    )


def test_revived_codes_reach_the_average_too(config):
    trainer = Trainer(config, start_networks(config, pictures()))
    state = trainer.initial_state()
    crops = np.stack([synthetic(64, 64, seed) for seed in range(6)]).astype(np.float32)
    state, _ = trainer.adapt(state, crops, "start")
    state["ema"] = jax.tree.map(lambda p: p + 0.25, state["params"])
    codes = ("g_s_quantiser", "layer0", "codes")
    before = np.array(pick(state["params"], codes))
    # Out of reach of every vector, so that nothing is coded by it.
    far = jnp.asarray(before).at[3].set(1e4)
    state["params"]["g_s_quantiser"]["layer0"]["codes"][...] = far
    after, facts = trainer.adapt(state, crops, "run")
    codes_now = np.array(pick(after["params"], codes))
    average = np.array(pick(after["ema"], codes))
    assert np.abs(codes_now[3]).max() < 1e4
    assert np.array_equal(average[3], codes_now[3])
    alive = [k for k in range(16) if np.array_equal(codes_now[k], before[k])]
    assert len(alive) >= 8
    np.testing.assert_allclose(average[alive], codes_now[alive] + 0.25, atol=1e-5)
    assert facts["usage0"] >= 0.5
    ended, _ = trainer.adapt(after, crops, "end")
    assert np.array_equal(pick(ended["ema"], codes), average)


def pick(tree, path):
    for word in path:
        tree = tree[word]
    return tree[...]
