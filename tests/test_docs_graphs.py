"""docs/graphs.md: its decoder decodes golden files, and is as small as it says."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from latent_hashes import latents_hash
from PIL import Image

from codax.face.codec import Codec
from codax.files.scripts import run_file

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = DOCS / "examples" / "decoder.py"
GOLDEN = Path(__file__).parent / "golden"
READ = sorted(
    path.parent.name
    for path in GOLDEN.glob("*/golden.json")
    if path.parent.name not in ("wavelet-lossless", "quadtree-enhanced")
)


@pytest.fixture(scope="module")
def example():
    return run_file(EXAMPLE, "decoder_example")


@pytest.mark.parametrize("name", READ)
def test_the_decoder_decodes_golden_files(example, name):
    folder = GOLDEN / name
    codec = Codec.from_folder(folder)
    for title, facts in json.loads((folder / "golden.json").read_text()).items():
        data = (folder / f"{title}.codax").read_bytes()
        picture, latents = example.decode(folder, data)
        assert latents_hash(latents) == facts["latents"], title
        own = codec.decode(data)
        if own.mode == "L":
            # The example leaves the luma of grey pictures to its reader.
            picture = np.asarray(Image.fromarray(picture).convert("L"))
        assert np.abs(np.subtract(picture, own, dtype=np.int32)).max() <= 1


def test_the_decoder_refuses_what_it_leaves_out(example):
    for name in ("quadtree-enhanced", "wavelet-lossless"):
        folder = GOLDEN / name
        with pytest.raises(ValueError, match="left out here"):
            example.decode(folder, (folder / "photo-q75.codax").read_bytes())
    with pytest.raises(ValueError, match="wants the weights"):
        example.decode(folder, (GOLDEN / "quadtree" / "photo-q75.codax").read_bytes())
    with pytest.raises(ValueError, match="no codax file"):
        example.decode(folder, b"\x89PNG")


def test_the_decoder_is_small_and_takes_three_packages():
    text = EXAMPLE.read_text()
    code = [line for line in text.splitlines() if line.strip()]
    assert len(code) < 200
    used = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    third = used - {"json", "lzma", "sys", "pathlib"}
    assert third == {"numpy", "onnxruntime", "constriction"}


def test_the_page_names_what_a_graph_has():
    page = (DOCS / "graphs.md").read_text()
    for word in ("quality", "extent", "head0", "rgb", "halo", "examples/decoder.py"):
        assert re.search(rf"\b{word}\b", page), word
