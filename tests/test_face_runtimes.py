"""The choice of a runtime, and everyday work where JAX is not installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_codecs import FIXTURES, photo, synthetic

import codax
from codax.cli import runtime as cli_runtime
from codax.coding.sessions import Sessions
from codax.errors import ConfigError, UnsupportedError, needs_extra
from codax.face.codec import Codec
from codax.face.loading import shared
from codax.face.runtimes import VARIABLE, choose_runtime
from codax.zoo.cards import find_card

GOLDEN = Path(__file__).parent / "golden"
WITH, WITHOUT = {"graphs": {"digest": "00", "tests": {}}}, {"graphs": {"none": "why"}}


@pytest.mark.parametrize(
    ("wanted", "set_to", "card", "found"),
    [
        (None, None, WITH, "onnx"),
        (None, None, WITHOUT, "jax"),
        (None, None, {}, "jax"),
        ("auto", "jax", WITH, "onnx"),
        (None, "jax", WITH, "jax"),
        ("onnx", "jax", {}, "onnx"),
        ("jax", None, WITH, "jax"),
    ],
)
def test_the_choice(wanted, set_to, card, found, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    if set_to:
        monkeypatch.setenv(VARIABLE, set_to)
    assert choose_runtime(wanted, card) == found


def test_no_such_runtime(monkeypatch):
    with pytest.raises(ConfigError, match="runtime is 'tpu'; expected one of auto"):
        codax.load("factorized-tiny", runtime="tpu")
    monkeypatch.setenv(VARIABLE, "fast")
    with pytest.raises(ConfigError, match=r"^\$CODAX_RUNTIME is 'fast'"):
        codax.load("factorized-tiny")


def test_a_gpu_is_for_jax(monkeypatch):
    asked = []
    monkeypatch.setattr(cli_runtime, "prepare_jax", asked.append)
    monkeypatch.setenv(VARIABLE, "onnx")
    with pytest.raises(ConfigError, match="leave --device gpu out"):
        cli_runtime.prepare("gpu")
    monkeypatch.setenv(VARIABLE, "auto")
    cli_runtime.prepare("gpu")
    assert choose_runtime(None, WITH) == "jax"
    assert asked == ["gpu"]


def test_codecs_of_two_runtimes_are_not_confused(monkeypatch):
    card = find_card("factorized-tiny")
    for word, kind in (("onnx", Sessions), ("jax", object)):
        monkeypatch.setenv(VARIABLE, word)
        codec = shared(card)
        assert isinstance(codec.coder.runtime, kind)
        assert isinstance(codec.coder.runtime, Sessions) == (word == "onnx")


@pytest.mark.parametrize("name", ["fsq", "rvq", "mcquic", "prefix"])
def test_tokens_of_files_are_those_of_the_module(name):
    onnx, jax = (Codec.from_folder(GOLDEN / name, runtime=r) for r in ("onnx", "jax"))
    assert onnx.vocabulary == jax.vocabulary == jax.model.vocabulary
    for path in (GOLDEN / name).glob("*.codax"):
        data = path.read_bytes()
        tokens = onnx.file_tokens(data)
        np.testing.assert_array_equal(tokens, jax.file_tokens(data))
        assert (tokens >= 0).all()
        assert (tokens < np.asarray(onnx.vocabulary)[: tokens.shape[-1]]).all()


def test_a_codec_on_onnx_has_its_module_and_the_oracle():
    codec = Codec.from_folder(GOLDEN / "hyperprior", runtime="onnx")
    data = codec.encode(photo()[:64, :96], 50, fallback=False)
    plain, oracle = codec.decode(data), codec.decode(data, oracle=True)
    assert np.array_equal(np.asarray(plain), np.asarray(oracle))
    y = codec.analysis(photo()[None, :64, :64].astype(np.float32), 50)["y"]
    assert y.shape == (1, 4, 4, 16)
    refined = codec.encode(synthetic(64, 64), 50, effort=7, fallback=False)
    assert codec.decode(refined).size == (64, 64)


def test_what_needs_an_extra_says_which():
    with pytest.raises(
        UnsupportedError, match=r"training needs flax, .*'codax\[jax\]'"
    ):
        with needs_extra("training"):
            raise ModuleNotFoundError("no", name="flax.nnx")
    with pytest.raises(ModuleNotFoundError), needs_extra("training"):
        raise ModuleNotFoundError("no", name="another")


WITHOUT_JAX = """
import sys
from pathlib import Path


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax", "optax", "onnx"):
            raise ModuleNotFoundError(name + " is not here", name=name)


sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])

import codax
from codax.cli import main
from codax.files import container

photo, out = Path(sys.argv[2]), Path(sys.argv[3])
file, back, cut = (str(out / name) for name in ("a.codax", "a.png", "b.codax"))
model = ("-m", "rvq-tiny")
assert main(["encode", str(photo), "-o", file, "--effort", "1", *model]) == 0
assert main(["decode", file, "-o", back]) == 0
assert main(["truncate", file, "-o", cut, "--layers", "2"]) == 0
assert main(["info", file, cut]) == 0
assert main(["compare", str(photo), back]) == 0
assert main(["models"]) == 0
pictures = out / "pictures"
pictures.mkdir()
(pictures / "a.png").write_bytes(photo.read_bytes())
words = ["--codecs", "rvq-tiny,jpeg", "--qualities", "20,50,80,95"]
assert main(["evaluate", str(pictures), "-o", str(out / "report"), *words]) == 0
assert main(["encode", str(photo), "-o", cut, "-f", "--effort", "9"]) == 1
assert main(["decode", file, "-o", back, "-f", "--oracle"]) == 0
assert main(["train", "quadtree-tiny", "-o", str(out / "run"), "--steps", "1"]) == 1
codec = codax.load("rvq-tiny")
assert codec.file_tokens(Path(file).read_bytes()).shape[0] == 1
data = codax.encode(photo, 60, model="factorized-tiny")
assert codax.decode(data).size == codax.open(file).size
try:
    codax.register
except codax.UnsupportedError as error:
    print(error)
"""


def test_everyday_work_without_jax(tmp_path):
    picture = tmp_path / "photo.png"

    Image.open(FIXTURES / "guitar.png").crop((200, 200, 360, 300)).save(picture)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_JAX,
            str(Path(__file__).parent),
            str(picture),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "codax.register needs" in done.stdout
    for line in (
        "refinement, of efforts 7 to 9, needs jax, which is not installed",
        "the runtime of JAX needs jax",
    ):
        assert line in done.stderr
    assert done.stderr.count("`pip install 'codax[jax]'` brings it") == 2
    assert "Traceback" not in done.stderr
