"""Run configurations: checks, changes by field, files, and what a run stores."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from flax import nnx

from codax.codecs.families import family
from codax.codecs.quadtree import QuadtreeConfig
from codax.errors import CodaxError, ConfigError
from codax.train.config import (
    TrainConfig,
    find_config,
    load_config,
    read_run,
    shipped_configs,
    with_overrides,
)


@pytest.fixture
def config():
    return TrainConfig(codec="quadtree", preset="tiny", data=("train",))


def test_the_family_gives_the_model(config):
    assert config.model == QuadtreeConfig()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("codec", "quadtre"),
        ("crop", 100),
        ("drawn", 1.5),
        ("drawn", -0.1),
        ("branch_crop", 0),
        ("batch", 0),
        ("branch", 1.5),
        ("optimizer", "sgd"),
        ("distortion", "mae"),
        ("quality", 201),
        ("refresh", 0),
        ("steps_per_call", 0),
        ("accumulate", 3),
        ("clip", 0.0),
    ],
)
def test_values_out_of_range_are_errors(config, field, value):
    with pytest.raises(ConfigError, match=str(value)):
        dataclasses.replace(config, **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("batch", "16", "got '16', a str; expected int"),
        ("batch", 16.0, "got 16.0, a float; expected int"),
        ("batch", True, "got True, a bool; expected int"),
        ("rate", "3e-3", "a str; expected float"),
        ("rate", None, "got None, a NoneType; expected float"),
        ("exact", 1, "got 1, a int; expected bool"),
        ("codec", 3, "got 3, a int; expected str"),
        ("data", "train", "got 'train', a str; expected tuple[str, ...]"),
        ("betas", ("0.9", 0.95), "a tuple; expected tuple[float, float]"),
        ("model", {"latents": 3}, "a dict; expected a dataclass such as Quadtree"),
        ("model", QuadtreeConfig, "a type; expected a dataclass"),
    ],
)
def test_values_of_another_type_are_errors(config, field, value, expected):
    with pytest.raises(ConfigError, match=f"^{field}: .*{re.escape(expected)}"):
        dataclasses.replace(config, **{field: value})


def test_whole_numbers_do_for_floats(config):
    assert dataclasses.replace(config, rate=1, watch=0).watch == 0


def test_overrides_are_read_by_the_type_of_the_field(config):
    found = with_overrides(
        config,
        [
            "batch=4",
            "rate=1e-3",
            "exact=false",
            "data=a,b",
            "model.side=32",
            "model.transforms.latents=64",
        ],
    )
    assert (found.batch, found.rate, found.exact) == (4, 1e-3, False)
    assert found.data == ("a", "b")
    assert found.model.side == 32
    assert found.model.transforms.latents == 64
    assert found.model.hidden == config.model.hidden


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("batsh=4", "did you mean batch"),
        ("model.sied=4", "did you mean side"),
        ("batch=four", "expected a int"),
        ("exact=maybe", "expected a bool"),
        ("batch", "expected field=value"),
        ("batch.size=4", "no fields of its own"),
        ("batch=0", "expected 1 to"),
    ],
)
def test_wrong_overrides_name_the_remedy(config, pair, message):
    with pytest.raises(ConfigError, match=message) as caught:
        with_overrides(config, [pair])
    assert "\n" not in str(caught.value)


def test_a_run_keeps_its_configuration(tmp_path, config):
    config = with_overrides(config, ["model.side=32", "seed=3"])
    (tmp_path / "config.json").write_text(config.to_json())
    assert read_run(tmp_path) == config
    assert hash(read_run(tmp_path)) == hash(config)


def test_fields_of_older_versions_are_left_out(config):
    fields = json.loads(config.to_json()) | {"side_path": True}
    assert TrainConfig.from_json(json.dumps(fields)) == config


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"codec": "quadtree"}'])
def test_damaged_configurations_are_errors(tmp_path, text):
    with pytest.raises(CodaxError):
        TrainConfig.from_json(text)
    with pytest.raises(ConfigError, match="no run here"):
        read_run(tmp_path)


def test_configurations_that_ship_load_by_name():
    config = load_config(find_config("quadtree-tiny"))
    assert (config.codec, config.preset) == ("quadtree", "tiny")
    with pytest.raises(ConfigError, match="did you mean quadtree-tiny"):
        find_config("quadtree-tyni")


def test_a_file_may_define_a_codec_of_its_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from codax.train.config import TrainConfig\n"
        "@dataclass(frozen=True)\nclass Mine:\n    width: int = 3\n"
        "config = TrainConfig(codec='quadtree', preset='mine', model=Mine())\n"
    )
    assert with_overrides(load_config(path), ["model.width=4"]).model.width == 4


def test_broken_configuration_files_are_one_line_errors(tmp_path):
    path = tmp_path / "mine.py"
    for text, message in (
        ("config = 1", "defines no"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message) as caught:
            load_config(find_config(str(path)))
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "absent.py")


@pytest.mark.parametrize("name", shipped_configs())
def test_every_configuration_that_ships_can_be_built(name):
    config = load_config(find_config(name))
    assert f"{config.codec}-{config.preset}" == name
    build = family(config.codec).networks
    model = nnx.eval_shape(lambda: build(config.model, rngs=nnx.Rngs(0)))
    _, params, _ = nnx.split(model, nnx.Param, ...)
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
    most = {"tiny": 4_000_000, "base": 8_000_000, "large": 16_000_000}
    assert count <= most.get(config.preset, 1_000_000)
