"""Networks that adapt to pictures while they train: codes, contexts, usage in the log."""

import json

import numpy as np
import pytest
from small_codecs import small_config, synthetic

from codax.codecs.weights import bank_tables
from codax.train import loop
from codax.train.config import TrainConfig
from codax.train.data import ResidentSet
from codax.train.export import codec_of
from codax.train.loop import train
from codax.train.state import load_state


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setattr(loop, "ADAPT_CROPS", 6)
    monkeypatch.setattr(loop, "END_CROPS", 6)
    monkeypatch.setattr(loop, "ADAPT_SIDE", 64)
    return TrainConfig(
        codec="rvq",
        preset="small",
        model=small_config("rvq"),
        batch=2,
        crop=64,
        branch=0.0,
        optimizer="adamw",
        adapt=2,
        rescale=0.0,
        freeze=("g_a",),
    )


def test_a_run_starts_revives_and_logs_usage(config, tmp_path):
    found = [synthetic(96, 128, seed) for seed in range(4)]
    pictures = ResidentSet(
        flat=np.concatenate([p.reshape(-1, 3) for p in found]),
        offsets=np.arange(4, dtype=np.int32) * 96 * 128,
        heights=np.full(4, 96, np.int32),
        widths=np.full(4, 128, np.int32),
    )
    weights = train(config, tmp_path / "run", pictures, steps=5, say=lambda line: None)
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
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
    whole = codec.decompress(codec.compress(rgb, 200), 64, 64, 200)
    coarse = codec.decompress(codec.compress(rgb, 50), 64, 64, 50)
    assert np.mean((whole - rgb.astype(float)) ** 2) < np.mean(
        (coarse - rgb.astype(float)) ** 2
    )
