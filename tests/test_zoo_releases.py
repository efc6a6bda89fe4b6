"""Files last: weights of releases, where they are looked for, and what is kept."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_codec import CARD
from latent_hashes import file_hash
from PIL import Image

import codax
import codax.pillow
from codax.cli import main
from codax.errors import ModelError, UnsupportedError
from codax.face import loading
from codax.face.codec import Codec
from codax.files import container
from codax.zoo import cards, releases

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import release

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
FILES = GOLDEN / "releases"


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """The decoding part of golden weights, and the folder of the whole."""
    whole = GOLDEN / "quadtree-enhanced"
    folder = tmp_path_factory.mktemp("parts") / "quadtree-small-v1"
    release.write_part(whole, folder)
    return folder, whole


def note(monkeypatch, *entries):
    """Makes these the weights of release 9.8.7, and the only ones."""
    found = tuple(releases.Released(*entry, "9.8.7") for entry in entries)
    monkeypatch.setattr(releases, "list_released", lambda: found)


def test_weights_of_every_release_are_here():
    for own in releases.list_released():
        card = cards.find_by_hash(own.codec_id, bytes.fromhex(own.weights_hash))
        assert card.name == own.name
        assert card.release == own.release


@pytest.mark.parametrize("version", json.loads(releases.FILE.read_text()))
def test_files_of_a_release_decode_as_ever(version):
    noted = json.loads(releases.FILE.read_text())[version]["weights"]
    expected = json.loads((FILES / version / "expected.json").read_text())
    assert {facts["name"] for facts in expected.values()} == set(noted)
    assert {path.stem for path in (FILES / version).glob("*.codax")} == set(expected)
    for title, facts in expected.items():
        data = (FILES / version / f"{title}.codax").read_bytes()
        coder = loading.find_codec(container.read(data)).coder
        assert coder.name == facts["name"]
        assert file_hash(coder, data) == facts["latents"], title
        mean = np.asarray(codax.decode(data)).mean()
        assert mean == pytest.approx(facts["mean"], abs=0.1), title


def test_a_part_decodes_what_the_whole_wrote(part):
    folder, whole = part
    kept = Codec.from_folder(folder)
    expected = json.loads((whole / "golden.json").read_text())
    for title, facts in expected.items():
        data = (whole / f"{title}.codax").read_bytes()
        assert file_hash(kept.coder, data) == facts["latents"]
        mean = np.asarray(kept.decode(data)).mean()
        assert mean == pytest.approx(facts["mean"], abs=0.1)


def test_a_part_is_smaller_and_says_what_it_cannot(part):
    folder, whole = part
    sizes = [sum(path.stat().st_size for path in place.glob("*.xz")) for place in part]
    assert sizes[0] < sizes[1]
    kept = Codec.from_folder(folder)
    with pytest.raises(UnsupportedError, match="is kept for decoding only"):
        kept.encode(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UnsupportedError, match="is kept for decoding only"):
        Image.new("RGB", (8, 8)).save(io.BytesIO(), "CODAX", model=str(folder))
    with pytest.raises(UnsupportedError, match="kept for decoding only, with ONNX"):
        Codec.from_folder(folder, runtime="jax")
    data = (whole / "waves-q20.codax").read_bytes()
    assert kept.decode(data, oracle=True) == kept.decode(data)


def test_equal_networks_of_parts_are_kept_once(part, tmp_path):
    folder, whole = part
    shutil.copytree(folder, tmp_path / folder.name)
    release.write_part(whole, tmp_path / "quadtree-small-v2")
    card = json.loads((tmp_path / "quadtree-small-v2" / "card.json").read_text())
    assert card["shared"]["from"] == folder.name
    data = (whole / "waves-q20.codax").read_bytes()
    again = Codec.from_folder(tmp_path / "quadtree-small-v2")
    assert again.decode(data) == Codec.from_folder(folder).decode(data)


@pytest.mark.parametrize("place", ["variable", "user"])
def test_parts_are_found_by_hash_but_not_to_encode_with(
    place, part, tmp_path, monkeypatch, capsys
):
    folder, whole = part
    if place == "variable":
        monkeypatch.setenv("CODAX_WEIGHTS", f"{tmp_path}/none:{folder.parent}")
    else:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        shutil.copytree(folder, cards.user_folder() / folder.name)
    name = json.loads((folder / "card.json").read_text())["name"]
    source = whole / "waves-q20.codax"
    assert main(["decode", str(source), "-o", str(tmp_path / "x.png")]) == 0
    assert name not in {card.name for card in cards.list_cards()}
    assert main(["encode", str(tmp_path / "x.png"), "-m", name]) == 2
    assert f"{name} is kept for decoding only" in capsys.readouterr().err
    assert main(["weights"]) == 0
    (row,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith(name)]
    assert "draft" in row
    assert "decoding" in row


def test_a_copy_of_the_default_elsewhere_changes_nothing(tmp_path, monkeypatch):
    own = cards.default_card()
    copy = {**CARD, "name": "aaa-tiny-v1", "codec": "aaa", "default": True}
    (tmp_path / "aaa-tiny-v1").mkdir()
    (tmp_path / "aaa-tiny-v1" / "card.json").write_text(json.dumps(copy))
    monkeypatch.setenv("CODAX_WEIGHTS", str(tmp_path))
    assert cards.find_card("aaa-tiny").version == 1
    assert cards.default_card().name == own.name


@pytest.mark.parametrize("text", ["{", "{}", "[]", "\xff"])
def test_a_broken_card_of_ones_own_is_passed_over(text, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "codax" / "weights" / "x-v1"
    folder.mkdir(parents=True)
    (folder / "card.json").write_bytes(text.encode("latin-1"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("CODAX_WEIGHTS", str(tmp_path / "nowhere"))
    assert cards.default_card().default
    for command in ("weights", "models"):
        assert main([command]) == 0
        said = capsys.readouterr().err
        assert f"note: passed over: {folder}/card.json: " in said
        assert "nowhere: no trained codecs there" in said


def test_shared_networks_are_found_where_codecs_are_looked_for(tmp_path, monkeypatch):
    own = cards.find_card("factorized-tiny")
    copy = shutil.copytree(own.folder, tmp_path / own.name)
    assert Codec.from_folder(copy).coder.weights_hash.hex() == own.weights_hash
    monkeypatch.setenv("CODAX_WEIGHTS", str(copy))  # one itself, not a folder of them
    assert own.name in {card.name for card in cards.list_cards()}
    monkeypatch.setattr(cards, "_own_folders", list)
    assert [card.name for card in cards.list_cards()] == [own.name]
    with pytest.raises(ModelError, match="takes networks from quadtree-tiny-v7, which"):
        Codec.from_folder(copy)


def test_missing_weights_are_named_with_what_brings_them(monkeypatch, capsys):
    note(monkeypatch, ("old-base-v1", 4, "0123456789ab"))
    with pytest.raises(ModelError) as error:
        cards.find_by_hash(4, bytes.fromhex("0123456789ab"))
    assert str(error.value) == (
        "the file wants old-base-v1 of codax 9.8.7 (weights 0123456789ab), which is "
        "not here; `pip install codax-weights` brings it"
    )
    assert cards.name_of(4, bytes.fromhex("0123456789ab")) == "old-base-v1"
    assert main(["weights", "--json"]) == 0
    told = capsys.readouterr()
    rows = [json.loads(line) for line in told.out.splitlines()]
    (row,) = [row for row in rows if row["name"] == "old-base-v1"]
    assert (row["release"], row["use"]) == ("9.8.7", None)
    assert "`pip install codax-weights` brings those" in told.err
    with pytest.raises(ModelError, match="of no release known here; a newer codax"):
        cards.find_by_hash(4, b"nobody")


def test_drafts_are_called_so(tmp_path, monkeypatch, capsys):
    card = cards.find_card("factorized-tiny")
    photo = str(ROOT / "tests" / "fixtures" / "guitar.png")
    words = ["encode", photo, "-m", card.name, "-o", str(tmp_path / "x.codax")]
    note(monkeypatch)
    assert main(words) == 0
    assert f"{card.name} is of no release: keep its weights" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "x.codax")]) == 0
    assert "of no release known here" in capsys.readouterr().out
    note(monkeypatch, (card.name, card.codec_id, card.weights_hash))
    assert main([*words, "-f"]) == 0
    assert "release" not in capsys.readouterr().err
    assert main(["info", str(tmp_path / "x.codax")]) == 0
    assert "codax 9.8.7" in capsys.readouterr().out


def test_the_tool_changes_no_release_and_retires_no_draft():
    def run(*words):
        done = subprocess.run(
            [sys.executable, "tools/release.py", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 1
        return done.stderr

    for version in json.loads(releases.FILE.read_text()):
        assert "never changed" in run("cut", version)
    assert "codax.__version__ is" in run("cut", "99.0.0")
    assert "no such" in run("retire", "nobody-v1").lower()
