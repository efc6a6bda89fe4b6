"""Zarr arrays of pictures, a `.codax` file a chunk."""

import json
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from small_codecs import synthetic

import codax
from codax.errors import CodaxError, FormatError, ImageError
from codax.files.scripts import run_file

numcodecs = pytest.importorskip("numcodecs", reason="numcodecs is missing")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def codec():
    from codax.numcodecs import Codax

    return Codax(quality=60, model="factorized-tiny")


def test_the_entry_point_is_the_class(codec):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["numcodecs.codecs"]["codax"].partition(
        ":"
    )
    assert getattr(import_module(module), name) is type(codec)
    numcodecs.registry.register_codec(type(codec))
    config = json.loads(json.dumps(codec.get_config()))
    assert config["id"] == "codax"
    again = numcodecs.get_codec(config)
    assert again == codec
    assert again.model == "factorized-tiny"


@pytest.mark.parametrize("shape", [(40, 60, 3), (1, 40, 60, 3), (1, 1, 40, 60, 3)])
def test_a_chunk_is_a_file(codec, shape):
    rgb = synthetic(40, 60)
    data = codec.encode(rgb.reshape(shape))
    assert data == codax.encode(rgb, 60, model="factorized-tiny")
    out = np.zeros(shape, np.uint8)
    codec.decode(data, out)
    assert np.array_equal(out.reshape(rgb.shape), codax.decode(data))
    assert np.array_equal(codec.decode(data), codax.decode(data))


def test_grey_and_what_is_without_loss(codec):
    exact = type(codec)(lossless=True, model="wavelet-lossless-tiny")
    grey = synthetic(40, 60)[..., 0]
    for chunk in (grey, grey[None], grey[None, ..., None], grey.astype(np.uint16)):
        found = exact.decode(exact.encode(chunk))
        assert np.array_equal(found, chunk.reshape(grey.shape))
        assert found.dtype == chunk.dtype
    assert codec.decode(codec.encode(grey)).shape == grey.shape


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (np.zeros((2, 4, 5, 3), np.uint8), "expected one picture"),
        (np.zeros((4, 5, 7), np.uint8), "expected one picture"),
        (np.zeros((4, 5, 3), np.float32), "array is float32"),
        (np.zeros(7, np.uint8), r"array is uint8\[7\]"),
    ],
)
def test_other_chunks_are_refused(codec, chunk, said):
    with pytest.raises(ImageError, match=said) as caught:
        codec.encode(chunk)
    assert "\n" not in str(caught.value)


def test_damaged_chunks_and_other_settings_are_told(codec):
    data = codec.encode(synthetic(20, 30))
    with pytest.raises(FormatError, match="truncated"):
        codec.decode(data[:-5])
    with pytest.raises(CodaxError, match="quality is 300"):
        type(codec)(quality=300).encode(synthetic(20, 30))


def test_the_example(tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is missing")
    example = run_file(ROOT / "docs/examples/zarr_pictures.py", "zarr_example")
    pictures = np.stack([synthetic(40, 60, seed) for seed in range(3)])
    example.write(tmp_path / "p.zarr", pictures, 90, model="factorized-tiny")
    array = zarr.open_array(tmp_path / "p.zarr", mode="r")
    assert array.shape == pictures.shape
    assert np.abs(array[1].astype(int) - pictures[1]).mean() < 10
    chunks = [p for p in (tmp_path / "p.zarr").rglob("*") if p.name[0].isdigit()]
    files = [chunk for chunk in chunks if chunk.is_file()]
    assert len(files) == 3
    decoded = {np.asarray(codax.decode(chunk)).tobytes() for chunk in files}
    assert decoded == {array[n].tobytes() for n in range(3)}
