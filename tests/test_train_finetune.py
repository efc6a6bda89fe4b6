"""Fine-tuning: where it begins, what it keeps, and what its card says."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from small_codecs import packed_codec, small_networks, synthetic

from codax.cli import main
from codax.errors import ConfigError, ModelError
from codax.train import loop
from codax.train.comparing import keep_the_better, tiles_of, write_start
from codax.train.config import read_run
from codax.train.finetune import finetune, read_start, recipe
from codax.train.record import START
from codax.train.shipping import run_facts
from codax.train.state import load_state, save_state
from codax.zoo.weights import write_checkpoint

SMALL = {
    "batch": 2,
    "branch_batch": 2,
    "branch_crop": 64,
    "accumulate": 1,
    "hard": 0.0,
    "optimizer": "adam",
}


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of six pictures, and no traces outside it."""
    (tmp_path / "kind").mkdir()
    for i in range(6):
        Image.fromarray(synthetic(70, 80, i)).save(tmp_path / "kind" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr("codax.cli.runtime.prepare_jax", lambda device="auto": None)
    return tmp_path


def weights_of(place, name: str, **fields) -> str:
    """The folder of a small codec's exported weights."""
    packed, card = packed_codec(name)
    card |= {"steps": 70, "hours": {"cpu": 0.5}, "megapixels": 9.5} | fields
    write_checkpoint(place / card["name"], packed, card)
    return card["name"]


def moved(start, size: float):
    """Weights beside a start's, all of the synthesis's biases by as much."""
    return {
        name: value + (size if name.startswith("ema/g_s/leave/bias") else 0)
        for name, value in start.items()
    }


def test_the_codec_comes_from_the_card_and_the_recipe_over_its_training(place):
    fields = {"rate": 0.1, "distortion": "ms-ssim", "data": ["train"], "drawn": 0.5}
    name = weights_of(place, "quadtree", training=fields)
    config, initial = read_start(name)
    assert (config.codec, config.preset) == ("quadtree", "small")
    assert config.model.features == 16
    assert initial["step"] == 70
    own = recipe(config, 16)
    assert own.distortion == "ms-ssim"
    assert (own.data, own.drawn, own.held_out) == ((), 0.0, 4)
    assert own.rate < 0.003
    assert own.branch == 1.0
    assert [recipe(config, n).held_out for n in (12, 15, 20)] == [3, 3, 4]


def test_a_run_leaves_its_start_or_what_is_better(place, monkeypatch):
    networks = small_networks("factorized")[0]
    monkeypatch.setattr(loop, "start_networks", lambda *_: networks)
    name = weights_of(place, "factorized")
    said = []
    run = place / "run"
    outcome = finetune(name, ["kind"], run, steps=2, say=said.append, fields=SMALL)
    assert outcome.saved >= 0
    left, start = load_state(outcome.weights), load_state(place / "run" / START)
    assert left["step"] == 72
    same = all(np.array_equal(left[name], value) for name, value in start.items())
    assert same == (outcome.saved == 0)
    assert read_run(place / "run").held_out == 2
    # The card of what is exported says which weights it came from.
    facts = run_facts(place / "run", read_run(place / "run"))
    assert [link["name"] for link in facts["chain"]] == [name]
    # And a run can itself be fine-tuned.
    config, initial = read_start(str(place / "run"))
    assert config.codec == "factorized"
    assert [link["name"] for link in json.loads(str(initial["chain"]))] == [
        name,
        str(place / "run"),
    ]


def test_the_middle_is_kept_if_it_is_better_than_the_start(place):
    name = weights_of(place, "factorized")
    config, initial = read_start(name)
    config = recipe(config, 6)
    write_start(place, config, initial)
    start = load_state(place / START)
    tiles = tiles_of(sorted((place / "kind").glob("*.png")))
    save_state(place / "weights.npz", moved(start, 40.0) | {"step": np.int32(9)})
    outcome = keep_the_better(place, config, tiles)
    assert outcome.saved == 0
    assert "the start is kept" in str(outcome)
    left = load_state(place / "weights.npz")
    for path, value in start.items():
        np.testing.assert_array_equal(left[path], value)
    assert left["step"] == 9
    # From a start that is off by 40, as much on the other side leads to the middle.
    save_state(place / START, moved(start, 40.0))
    save_state(place / "weights.npz", moved(start, -40.0))
    outcome = keep_the_better(place, config, tiles)
    assert outcome.saved > 0
    left = load_state(place / "weights.npz")
    for path, value in start.items():
        np.testing.assert_allclose(left[path], value, atol=1e-6)
    assert "% of bits saved" in str(outcome)


def test_what_cannot_be_compared_or_begun_is_refused(place):
    name = weights_of(place, "factorized")
    config, initial = read_start(name)
    lacking = {k: v for k, v in initial.items() if "g_s" not in k}
    with pytest.raises(ModelError, match=r"ema/g_s/\S+ is not in the weights"):
        write_start(place, config, lacking)
    with pytest.raises(ConfigError, match="0 pictures of at least 64x64"):
        tiles_of([])
    (place / "run").mkdir()
    (place / "run" / "config.json").write_text(config.to_json())
    with pytest.raises(ConfigError, match="no weights yet"):
        read_start("run")
    with pytest.raises(ModelError, match="no codec is named"):
        read_start("nothing-such")


def test_the_command(place, monkeypatch, capsys):
    name = weights_of(place, "factorized")
    calls = []

    def train(config, run, resident, **options):
        calls.append({"config": config, "resident": resident, **options})
        run.mkdir(exist_ok=True)
        options["begin"]()
        (run / "config.json").write_text(config.to_json())
        np.savez(run / "trunk.npz", step=7)
        save_state(run / "weights.npz", moved(load_state(run / START), 40.0))
        return run / "weights.npz"

    monkeypatch.setattr(loop, "train", train)
    words = ["train", "--finetune", name, "--data", "kind", "-o", "run"]
    assert main([*words, "--set", "rate=1e-4", "--seed", "3"]) == 0
    (call,) = calls
    assert (call["minutes"], call["steps"], call["watch"]) == (10.0, None, None)
    assert (call["config"].rate, call["config"].seed) == (1e-4, 3)
    assert call["initial"]["step"] == 70
    assert len(call["resident"]) == 4
    assert "the start is kept" in capsys.readouterr().err
    assert (place / "run" / "commands.txt").read_text() == (
        f"codax train --set rate=1e-4 --data kind --finetune {name} --minutes 10 "
        "--seed 3 -o run\n"
    )
    # Going on compares with the same start.
    assert (
        main(["train", "--resume", "-o", "run", "--steps", "2", "--data", "kind"]) == 0
    )
    assert calls[1]["resume"]
    assert "the start is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quadtree-tiny", "--data", "kind"], "goes with none of CONFIG"),
        (["--init", "w.npz", "--data", "kind"], "goes with none of CONFIG"),
        (["--resume", "--data", "kind"], "goes with none of CONFIG"),
        ([], "no pictures; give --data DIR"),
    ],
)
def test_what_does_not_go_together(place, words, message, capsys):
    assert main(["train", *words, "--finetune", "quadtree-tiny", "-o", "run"]) == 2
    assert message in capsys.readouterr().err
