"""Trunk files, weights to start from, and the facts of a card."""

import dataclasses
import functools
import json
import lzma
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load as load_tensors
from small_codecs import packed_codec, small_codec, small_config, synthetic

from codax.codecs.families import FAMILIES
from codax.coding.trees import flatten
from codax.errors import ConfigError, ModelError
from codax.face.building import unpack_checkpoint
from codax.train.config import TrainConfig
from codax.train.export import check_estimate, codec_of, export_weights
from codax.train.initial import join_initial, load_initial
from codax.train.record import (
    chain_of,
    data_of,
    digest_of,
    write_before,
    write_data,
    write_environment,
)
from codax.train.shipping import (
    export_run,
    next_version,
    rounded_layers,
    run_facts,
    set_default,
)
from codax.train.state import (
    load_state,
    load_trunk,
    save_state,
    save_trunk,
    writing,
)
from codax.train.trainer import Trainer
from codax.zoo.weights import (
    read_checkpoint,
    weights_hash,
    write_checkpoint,
)


def config_of(name: str) -> TrainConfig:
    return TrainConfig(codec=name, preset="small", model=small_config(name))


@functools.cache
def fresh_state(name: str, seed: int = 3):
    config = config_of(name)
    model = FAMILIES[name].networks(config.model, rngs=nnx.Rngs(seed))
    return Trainer(config, model).initial_state()


def counted(state, step: int = 120):
    counters = {"step": step, "seconds": 60.5, "pixels": 7.25}
    return state | {k: jnp.asarray(v, state[k].dtype) for k, v in counters.items()}


def test_states_come_back_and_damage_is_named(tmp_path):
    state = fresh_state("factorized")
    path = tmp_path / "trunk.npz"
    save_state(path, state)
    found = load_state(path)
    for name, value in flatten(state).items():
        np.testing.assert_array_equal(found[name], value)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelError, match="no readable run state"):
        load_state(path)
    with pytest.raises(ModelError, match="no readable run state"):
        load_state(tmp_path / "absent.npz")


def test_a_file_that_is_not_finished_leaves_the_one_before_it(tmp_path):
    path = tmp_path / "runs" / "state.npz"
    with writing(path) as file:
        file.write(b"before")
    assert path.read_bytes() == b"before"

    def fail():
        with writing(path) as file:
            file.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]


def test_a_trunk_file_holds_the_average_and_the_counters(tmp_path, monkeypatch):
    monkeypatch.setattr("codax.train.state.LARGE", 200)
    state = flatten(counted(fresh_state("hyperprior")))
    path = tmp_path / "trunk" / "hyperprior-small.npz"
    save_trunk(path, state)
    stored, loaded = load_state(path), load_trunk(path)
    assert not any(name.startswith(("opt/", "params/")) for name in stored)
    assert (int(loaded["step"]), float(loaded["pixels"])) == (120, 7.25)
    for name, value in stored.items():
        if name.endswith("#scale"):
            continue
        if value.dtype == np.int8:
            top = np.abs(state[name]).max(-2, keepdims=True)
            assert np.all(np.abs(loaded[name] - state[name]) <= top / 61)
        elif name.startswith("ema/"):
            assert value.dtype == np.float16
            assert loaded[name].dtype == np.float32
            np.testing.assert_allclose(loaded[name], state[name], rtol=1e-3, atol=1e-6)
        elif name.startswith("fixed/"):
            np.testing.assert_array_equal(value, state[name])
    layers = [name for name, value in stored.items() if value.dtype == np.int8]
    assert layers
    assert all(name.endswith("/kernel") for name in layers)
    save_trunk(path, state, compact=False)
    assert not any(value.dtype == np.int8 for value in load_state(path).values())


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_what_float16_cannot_hold_is_refused(tmp_path, value):
    with pytest.raises(ModelError, match="ema/x does not fit"):
        save_trunk(tmp_path / "t.npz", {"ema/x": np.full(3, value)})
    assert not (tmp_path / "t.npz").exists()


def test_a_run_starts_from_a_trunk_file_and_goes_on_counting(tmp_path):
    trained, state = fresh_state("quadtree", 1), fresh_state("quadtree", 2)
    save_trunk(tmp_path / "t.npz", flatten(counted(trained)))
    said = []
    joined = join_initial(state, load_initial(tmp_path / "t.npz"), said.append)
    assert said == []
    assert int(joined["step"]) == 120
    close = jax.tree.map(
        lambda a, b: np.allclose(a, b, rtol=1e-3, atol=1e-6),
        joined["params"],
        trained["params"],
    )
    assert all(jax.tree.leaves(close))
    same = jax.tree.map(np.array_equal, joined["opt"], state["opt"])
    assert all(jax.tree.leaves(same))


def test_a_checkpoint_shares_equal_networks_with_another(tmp_path, monkeypatch):
    monkeypatch.setattr("codax.train.export.count_kmac", lambda codec: {})
    packed, card = packed_codec("factorized")
    other = dict(packed)
    other["g_s/leave/kernel"] = other["g_s/leave/kernel"] + np.float16(1)
    full = card | {"name": "other-v1", "weights_hash": weights_hash(other).hex()}
    write_checkpoint(tmp_path / "other-v1", other, full)
    arrays = {f"ema/{path}": v for path, v in unpack_checkpoint(packed, card).items()}
    config = config_of("factorized")
    codec = export_weights(arrays, config, tmp_path, share="other-v1")
    assert codec.card["shared"]["from"] == "other-v1"
    assert codec.card["shared"]["networks"] == ["g_a"]
    folder = tmp_path / codec.name
    assert read_checkpoint(folder)[0].keys() == packed.keys()
    file = (folder / "weights.safetensors.xz").read_bytes()
    own = load_tensors(lzma.decompress(file))
    assert {path.split("/")[0] for path in own} == {"g_s", "prior", "tables"}
    changed = other | {"g_a/mean": np.zeros(3, np.float16)}
    write_checkpoint(tmp_path / "other-v1", changed, full)
    with pytest.raises(ModelError, match="other networks than it shares"):
        read_checkpoint(folder)
    shutil.rmtree(tmp_path / "other-v1")
    with pytest.raises(ModelError, match="other-v1, which is missing"):
        read_checkpoint(folder)


def test_a_checkpoint_cannot_share_what_differs(tmp_path, monkeypatch):
    monkeypatch.setattr("codax.train.export.count_kmac", lambda codec: {})
    packed, card = packed_codec("factorized")
    other = {path: v + 1 for path, v in packed.items() if path.startswith("g_")}
    card |= {"name": "other-v1", "weights_hash": weights_hash(other).hex()}
    write_checkpoint(tmp_path / "other-v1", other, card)
    arrays = {f"ema/{path}": v for path, v in unpack_checkpoint(packed, card).items()}
    with pytest.raises(ModelError, match="nothing to share"):
        export_weights(arrays, config_of("factorized"), tmp_path, share="other-v1")
    assert not (tmp_path / "factorized-small-v1").exists()


def test_a_run_starts_from_a_checkpoint(tmp_path):
    packed, card = packed_codec("quadtree")
    card |= {"steps": 70, "hours": {"cpu": 0.5, "gpu": 0.25}, "megapixels": 9.5}
    write_checkpoint(tmp_path / card["name"], packed, card)
    state = fresh_state("quadtree", 2)
    joined = join_initial(state, load_initial(tmp_path / card["name"]), pytest.fail)
    weights = unpack_checkpoint(packed, card)
    for name, value in flatten(joined["ema"]).items():
        np.testing.assert_array_equal(value, weights[name])
    # It goes on: other crops than before, and hours are counted together.
    found = [joined[name].item() for name in ("step", "seconds", "pixels")]
    assert found == [70, 2700.0, 9.5]


def test_a_card_keeps_the_hours_of_the_weights_before(tmp_path):
    packed, card = packed_codec("factorized")
    card |= {"hours": {"cpu, 2 cores": 0.5, "8 x H100": 0.25}}
    write_checkpoint(tmp_path / card["name"], packed, card)
    write_log(
        tmp_path,
        {"seconds": 2880.0, "megapixels": 1.0, "step": 5, "machine": "8 x H100"},
        {"seconds": 3060.0, "megapixels": 2.0, "step": 9, "machine": "cpu, 2 cores"},
    )
    write_before(tmp_path, load_initial(tmp_path / card["name"]))
    hours = run_facts(tmp_path, config_of("factorized"))["hours"]
    assert hours == {"cpu, 2 cores": 0.55, "8 x H100": 0.3}


def test_a_card_keeps_the_chain_back_to_nothing(tmp_path):
    packed, card = packed_codec("factorized")
    card |= {"command": ["codax train first"], "steps": 70, "hours": {"cpu": 1.0}}
    write_checkpoint(tmp_path / card["name"], packed, card)
    run = tmp_path / "run"
    write_log(run, {"seconds": 4000.0, "megapixels": 1.0, "step": 80})
    write_before(run, load_initial(tmp_path / card["name"]))
    (run / "commands.txt").write_text("codax train second\n")
    facts = run_facts(run, config_of("factorized"))
    (first,) = facts["chain"]
    assert first["name"] == card["name"]
    assert (first["command"], first["steps"]) == (["codax train first"], 70)
    # The next run's chain has both, the oldest first.
    chain = chain_of({**card, **facts, "name": "factorized-small-v2"})
    assert [link["name"] for link in chain] == [card["name"], "factorized-small-v2"]
    assert chain[1]["command"] == ["codax train second"]
    write_before(run, {})
    assert run_facts(run, config_of("factorized"))["chain"] == []


def test_a_card_tells_code_packages_and_data(tmp_path):
    write_log(tmp_path, {"seconds": 1.0, "megapixels": 1.0, "step": 1})
    for name, text in (("a", b"1"), ("b", b"2"), ("c", b"3")):
        (tmp_path / name).write_bytes(text)
    a, b, c = (tmp_path / name for name in "abc")
    write_data(tmp_path, data_of([str(tmp_path)], [a, b], [c]))
    write_environment(tmp_path)
    write_environment(tmp_path)
    facts = run_facts(tmp_path, config_of("factorized"))
    (environment,) = facts["environments"]
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["commit"]
    digests = facts["data_digests"]
    assert digests.keys() == {"training", "held_out"}, "no names of one's own folders"
    assert digests["training"]["pictures"] == 2
    assert digests["training"] == digest_of([b, a]), "their order does not matter"
    assert digests["held_out"] != digest_of([a])
    json.dumps(facts)


def test_of_another_family_the_transforms_are_taken(tmp_path):
    state, other = fresh_state("factorized", 1), fresh_state("hyperprior", 2)
    save_state(tmp_path / "w.npz", {"ema": other["ema"], "fixed": other["fixed"]})
    said = []
    joined = join_initial(state, load_initial(tmp_path / "w.npz"), said.append)
    assert [line.split()[0] for line in said] == ["prior/y_density"]
    found, given = flatten(joined["ema"]), flatten(other["ema"])
    own = flatten(state["ema"])
    for name, value in found.items():
        source = own if name.startswith("prior/y_density") else given
        np.testing.assert_array_equal(value, source[name])


def test_deeper_transforms_begin_where_shallower_ones_stopped():
    config = config_of("factorized")
    widths = dataclasses.replace(config.model.transforms, synthesis_fine=3)
    model = dataclasses.replace(config.model, transforms=widths)
    shallow, deep = (
        Trainer(c, FAMILIES["factorized"].networks(c.model, rngs=nnx.Rngs(1)))
        for c in (config, dataclasses.replace(config, model=model))
    )
    random = np.random.default_rng(0)
    fresh = shallow.initial_state()
    arrays = {
        name: random.normal(0, 0.1, value.shape).astype(np.float32)
        for name, value in flatten({k: fresh[k] for k in ("ema", "fixed")}).items()
    }
    said = []
    before = join_initial(fresh, arrays, pytest.fail)
    after = join_initial(deep.initial_state(), arrays, said.append)
    assert [line.split()[0] for line in said] == [
        "g_s/fine/block1",
        "g_s/fine/block2",
    ]
    x = random.uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    quality = np.array([100], np.int32)
    decoded = []
    for trainer, state in ((shallow, before), (deep, after)):
        networks = trainer.model(state["ema"], state["fixed"])
        decoded.append(networks.g_s(networks.g_a(x, quality), quality))
    np.testing.assert_array_equal(*decoded)
    with pytest.raises(ModelError, match="g_s/fine/block1 is in the weights to start"):
        join_initial(fresh, flatten({"ema": after["ema"]}), pytest.fail)


def test_other_widths_are_refused(tmp_path):
    state = fresh_state("factorized")
    arrays = flatten({"ema": state["ema"], "fixed": state["fixed"]})
    arrays["ema/g_a/klt"] = arrays["ema/g_a/klt"][:, :8]
    with pytest.raises(ModelError, match="g_a/klt has shape"):
        join_initial(state, arrays, str)
    np.savez(tmp_path / "x.npz", step=np.zeros(()))
    with pytest.raises(ModelError, match="no averaged weights"):
        load_initial(tmp_path / "x.npz")


def write_log(run, *lines):
    run.mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "log.jsonl").write_text(text)


def test_a_card_tells_the_hours_of_each_kind_of_machine(tmp_path):
    write_log(
        tmp_path,
        {"seconds": 1800.0, "megapixels": 10.0, "step": 5},
        {"seconds": 3600.0, "megapixels": 20.0, "step": 10, "machine": "cpu"},
        {"seconds": 5400.0, "megapixels": 90.0, "step": 30, "machine": "H100"},
    )
    (tmp_path / "commands.txt").write_text("codax train a\ncodax train --resume\n")
    facts = run_facts(tmp_path, config_of("factorized"))
    assert facts["hours"] == {"cpu": 1.0, "H100": 0.5}
    assert (facts["megapixels"], facts["steps"], facts["seed"]) == (90.0, 30, 0)
    assert facts["command"] == ["codax train a", "codax train --resume"]
    assert "Apache" in facts["licence"]
    json.dumps(facts)


def test_versions_follow_and_one_is_the_default(tmp_path):
    assert next_version(tmp_path, "quadtree-tiny") == 1
    for name in ("quadtree-tiny-v2", "quadtree-tiny-v10", "quadtree-tinyish-v40"):
        (tmp_path / name).mkdir()
        card = json.dumps({"name": name, "default": name.endswith("v2")})
        (tmp_path / name / "card.json").write_text(card)
    assert next_version(tmp_path, "quadtree-tiny") == 11
    set_default(tmp_path, "quadtree-tiny-v10")
    found = {
        path.parent.name: json.loads(path.read_text()).get("default", False)
        for path in tmp_path.glob("*/card.json")
    }
    assert [name for name, default in found.items() if default] == ["quadtree-tiny-v10"]


@pytest.mark.slow
def test_a_run_becomes_a_checkpoint_that_knows_its_past(tmp_path):
    config = config_of("factorized")
    state = fresh_state("factorized")
    weights = unpack_checkpoint(*packed_codec("factorized"))
    filled = {f"ema/{k}": v for k, v in weights.items()}
    filled |= {f"fixed/{k}": v for k, v in weights.items()}
    joined = join_initial(state, filled, pytest.fail)
    run, out = tmp_path / "run", tmp_path / "checkpoints"
    write_log(run, {"seconds": 36.0, "megapixels": 10.0, "step": 5})
    save_state(run / "weights.npz", {k: joined[k] for k in ("ema", "fixed")})
    pictures = [synthetic(128, 192, 3)]
    with pytest.raises(ConfigError, match="0 held-out pictures"):
        export_run(run, config, out, [], version=1)
    first = export_run(run, config, out, pictures, version=1)
    second = export_run(run, config, out, pictures, version=2)
    assert second.card["previous"] == {first.card["weights_hash"]: first.name}
    errors = second.card["estimate_error"]
    assert list(errors) == ["10", "40", "70", "100"]
    # Of small files 64 bytes are some percent.
    assert 0 < max(map(abs, errors.values())) < 0.1
    log = lzma.decompress((out / second.name / "log.jsonl.xz").read_bytes())
    assert log == (run / "log.jsonl").read_bytes()
    assert second.card["kmac_per_pixel"]["decode"] > 0
    assert second.card["hours"] == {"cpu": 0.01}
    back = second.decode(second.encode(pictures[0], quality=50, fallback=False))
    assert back.size == (192, 128)


def test_an_estimate_that_differs_from_the_files_is_refused(monkeypatch):
    codec = small_codec("factorized")
    picture = [synthetic(128, 128, 4)]
    assert abs(check_estimate(codec, picture, 150)) < 0.1
    monkeypatch.setattr(
        type(codec.coder), "compress", lambda self, rgb, quality, **_: bytes(9000)
    )
    with pytest.raises(ModelError, match="differ by"):
        check_estimate(codec, picture, 150)


def test_layers_are_rounded_to_a_grid_that_packs(tmp_path, monkeypatch):
    monkeypatch.setattr("codax.train.state.LARGE", 16)
    save_state(tmp_path / "state.npz", fresh_state("quadtree"))
    arrays = load_state(tmp_path / "state.npz")
    shape = arrays["ema/g_s/klt"].shape
    random = np.random.default_rng(0).normal(size=shape)
    arrays["ema/g_s/klt"] = random.astype(np.float32)
    found = rounded_layers(arrays)
    changed = {k for k in arrays if not np.array_equal(arrays[k], found[k])}
    assert changed
    assert all(k.endswith(("/kernel", "/klt")) and "prior" not in k for k in changed)
    assert "ema/g_s/klt" in changed
    for path in changed:
        bits = 11 if path.endswith("/klt") else 7
        top = np.abs(arrays[path]).max(-2, keepdims=True)
        step = 2.0 ** (np.ceil(np.log2(np.maximum(top, 1e-6))) - bits)
        assert np.all(np.abs(found[path] - arrays[path]) <= step / 2)
        assert np.all(np.abs(found[path] / step) <= 2**bits)
        assert not np.any(np.signbit(found[path]) & (found[path] == 0))
        assert np.array_equal(found[path].astype(np.float16), found[path])
        assert np.array_equal(found[path] / step, np.round(found[path] / step))
    again = rounded_layers(found)
    assert all(np.array_equal(again[k], found[k]) for k in found)


def test_weights_that_are_not_finite_are_refused():
    state = fresh_state("factorized")
    arrays = flatten({"ema": state["ema"], "fixed": state["fixed"]})
    arrays["ema/g_a/enter/bias"] = arrays["ema/g_a/enter/bias"] + np.nan
    with pytest.raises(ModelError, match="not finite"):
        codec_of(arrays, config_of("factorized"))
