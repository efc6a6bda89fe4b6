"""A codec from a file outside the package goes through every command."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_codecs import synthetic

from codax.codecs import families
from codax.codecs.families import FAMILIES, Family, family, load_file, register
from codax.codecs.quadtree import QuadtreeConfig, quadtree
from codax.errors import ConfigError, ModelError
from codax.zoo import cards

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "dual.py"


@pytest.fixture
def restored(monkeypatch):
    """The families are as they were after the test."""
    monkeypatch.setattr(families, "FAMILIES", FAMILIES)
    before = dict(FAMILIES)
    yield
    FAMILIES.clear()
    FAMILIES.update(before)


def outside(**changes) -> Family:
    own = Family(name="mine", codec_id=200, config=QuadtreeConfig, networks=quadtree)
    return replace(own, **changes)


def test_a_family_joins_the_dict(restored):
    register(outside())
    assert family("mine").codec_id == 200
    register(outside(qualities=(0, 50)))
    assert family("mine").qualities == (0, 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "My Codec"}, "name is 'My Codec'; expected lower-case"),
        ({"name": "mine-v2"}, "name is 'mine-v2'; expected .* no version"),
        ({"name": "dür"}, "name is 'dür'"),
        ({"codec_id": "240"}, "codec_id is '240'; expected a whole number"),
        ({"qualities": (100, 0)}, "qualities is .*; expected two whole numbers"),
        ({"qualities": (0.5, 60)}, "qualities is"),
        ({"config": dict}, "config is .*; expected a dataclass"),
        ({"networks": None}, "networks is None; expected a function"),
        ({"lossless": "yes"}, "lossless is 'yes'"),
    ],
)
def test_a_family_checks_its_fields(changes, message):
    with pytest.raises(ConfigError, match=message):
        outside(**changes)


def test_only_families_are_registered():
    with pytest.raises(ConfigError, match=r"got str; expected codax\.Family"):
        register("mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "quadtree"}, "'quadtree' is one of codax's own"),
        ({"codec_id": 12}, "codec_id is 12; codecs from outside have 192 to 249"),
        ({"codec_id": 250}, "codec_id is 250"),
    ],
)
def test_other_families_are_refused(restored, changes, message):
    with pytest.raises(ConfigError, match=message):
        register(outside(**changes))


def test_an_unknown_family_says_what_to_pass():
    with pytest.raises(ConfigError, match=r"`codax\.register`, or install the package"):
        family("nobodys")


FILES = {
    "none.py": (None, "no such file"),
    "quiet.py": ("x = 1\n", "registers no codec; expected codax.register"),
    "broken.py": ("1 / 0\n", "failed with ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_refused(restored, tmp_path, name):
    text, message = FILES[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=f"{name}: {message}"):
        load_file(tmp_path / name)


def test_what_a_failing_file_registered_does_not_stay(restored, tmp_path):
    (tmp_path / "half.py").write_text(CODEC.format(name="half", number=203) + "1 / 0\n")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        load_file(tmp_path / "half.py")
    assert "half" not in FAMILIES
    (tmp_path / "quit.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(ConfigError, match="failed with SystemExit: 3"):
        load_file(tmp_path / "quit.py")


def test_modules_of_one_name_are_not_mixed_up(restored, tmp_path):
    for folder, number in (("a", 201), ("b", 202)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "common_bits.py").write_text(f"NUMBER = {number}\n")
        text = CODEC.format(name="mine", number="NUMBER")
        (tmp_path / folder / "c.py").write_text(
            "from common_bits import NUMBER\n" + text
        )
    load_file(tmp_path / "a" / "c.py")
    with pytest.raises(ConfigError, match=r"common_bits is loaded from .* rename one"):
        load_file(tmp_path / "b" / "c.py")
    assert family("mine").codec_id == 201


CODEC = """
import codax
from codax.codecs.quadtree import QuadtreeConfig, quadtree
codax.register(codax.Family(name={name!r}, codec_id={number}, config=QuadtreeConfig,
               networks=quadtree))
"""


def test_a_file_can_import_what_lies_beside_it(restored, tmp_path):
    (tmp_path / "beside_it.py").write_text("NUMBER = 201\n")
    (tmp_path / "codec.py").write_text(
        "import codax\n"
        "from beside_it import NUMBER\n"
        "from codax.codecs.quadtree import QuadtreeConfig, quadtree\n"
        "codax.register(codax.Family(name='mine', codec_id=NUMBER,"
        " config=QuadtreeConfig, networks=quadtree))\n"
    )
    assert load_file(tmp_path / "codec.py") == ["mine"]
    assert family("mine").codec_id == 201
    assert str(tmp_path) not in sys.path


class Entry:
    """An entry point of an installed package."""

    name = "theirs"

    def __init__(self, value):
        self.value = value

    def load(self):
        return self.value() if callable(self.value) else self.value


def test_installed_packages_bring_codecs(restored, monkeypatch):
    calls = []

    def module():
        calls.append(1)
        register(outside(name="theirs"))

    monkeypatch.setattr(families, "entry_points", lambda group: [Entry(module)])
    assert family("quadtree").codec_id == 4
    assert not calls, "nothing is imported while a name is known"
    assert family("theirs").codec_id == 200


def test_installed_packages_bring_weights(monkeypatch, tmp_path):
    folder = tmp_path / "fake-tiny-v1"
    folder.mkdir()
    from fake_codec import CARD

    (folder / "card.json").write_text(json.dumps({**CARD, "default": False}))
    monkeypatch.setattr(
        cards, "entry_points", lambda group: [Entry(lambda: lambda: tmp_path)]
    )
    cards._outside_folders.cache_clear()
    try:
        assert cards.find_card("fake-tiny").folder == folder
        cards._outside_folders.cache_clear()
        broken = [Entry(lambda: 1 / 0)]
        monkeypatch.setattr(cards, "entry_points", lambda group: broken)
        with pytest.raises(ModelError, match=r"codax\.weights gives no folder"):
            cards.find_card("fake-tiny")
    finally:
        cards._outside_folders.cache_clear()


SMALL = [
    *("--set", "model.transforms.latents=16", "--set", "model.transforms.fine=8"),
    *("--set", "model.transforms.coarse=16", "--set", "model.side=4"),
    *("--set", "model.hyper=8", "--set", "model.middle=8", "--set", "model.features=8"),
    *("--set", "model.hidden=8", "--set", "batch=2", "--set", "crop=64"),
    *("--set", "branch_batch=2", "--set", "branch_crop=64", "--set", "watch=0"),
    *("--set", "held_out=1"),
]


@pytest.mark.slow
def test_the_example_goes_through_every_command(tmp_path):
    """Each command is a process of its own, which knows only what it is told."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.fromarray(synthetic(80, 96, i)).save(photos / f"{i}.png")

    def codax(*words, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "codax", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == status, done.stderr
        return done.stderr + done.stdout

    mine = ("--codec", EXAMPLE)
    codax("train", EXAMPLE, "--data", photos, "--steps", 4, "-o", "run", *SMALL)
    said = codax("train", "--resume", "--steps", 4, "-o", "run", status=1)
    assert "codec 'dual' is unknown here" in said
    assert "--codec FILE.py" in said
    resume = ("train", "--resume", "--data", photos, "--steps", 8, "-o", "run")
    codax(*resume, *mine)
    assert "--codec" in (tmp_path / "run" / "commands.txt").read_text()
    export = ("export", "run", "dual-mine", "--data", photos)
    assert "codec 'dual' is unknown here" in codax(*export, status=1)
    codax(*export, *mine)
    weights = "checkpoints/dual-mine-v1"
    assert (tmp_path / weights / "order.json").is_file()
    encode = ("encode", "photos/0.png", "-o", "x.codax", "-m", weights)
    onjax = ("--runtime", "jax")
    assert "codec 'dual' is unknown here" in codax(*encode, *onjax, status=1)
    codax(*encode)  # by its graphs, which need no Python of the family
    assert (tmp_path / "x.codax").exists()
    codax(*encode, "-f", *onjax, *mine)
    assert not (tmp_path / "x.png").exists()
    decode = ("decode", "x.codax", "--weights", weights)
    assert "codec 'dual' is unknown here" in codax(*decode, *onjax, status=1)
    codax(*decode)
    assert np.asarray(Image.open(tmp_path / "x.png")).shape == (80, 96, 3)
    evaluate = ("evaluate", "photos", "--codecs", f"{weights},jpeg", "-o", "report")
    codax(*evaluate, "--qualities", "10,40,70,90", "--pictures", 0, *mine)
    assert "dual-mine-v1" in (tmp_path / "report" / "rows.csv").read_text()
    assert "dual" in codax("models", weights)
