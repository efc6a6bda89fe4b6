"""Files in training loops, and columns of pictures, whoever hands them out."""

import importlib
import io
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_codecs import synthetic

from codax.datasets import Decode, Pictures, Tokens
from codax.errors import ConfigError, FormatError, ModelError, UnsupportedError
from codax.extras.columns import Encode
from codax.face.codec import Codec
from codax.face.loading import load
from codax.files.scripts import run_file

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def codec():
    return load("factorized-tiny")


@pytest.fixture(scope="module")
def files(codec, tmp_path_factory):
    """Five files, and what they decode to."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / f"{k}.codax" for k in range(5)]
    data = codec.encode_many([synthetic(40, 60, k) for k in range(5)], fallback=False)
    for path, own in zip(paths, data, strict=True):
        path.write_bytes(own)
    return paths, [np.asarray(codec.decode(own)) for own in data]


def cut(samples):
    """What a loop does with a picture."""
    return samples[8:40, 8:40].astype(np.float32) / 255


def png(samples):
    out = io.BytesIO()
    Image.fromarray(samples).save(out, "PNG")
    return out.getvalue()


def forked(dataset, workers=2, batch=2):
    """What PyTorch's `DataLoader` does: workers are forked and give items by number."""
    count = len(dataset)
    batches = [range(k, min(k + batch, count)) for k in range(0, count, batch)]
    with get_context("fork").Pool(workers) as pool:
        for numbers in batches:
            yield np.stack(pool.map(dataset.__getitem__, numbers, chunksize=1))


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_forked_workers_read_after_this_process_has(files):
    paths, pictures = files
    dataset = Pictures(paths, cut)
    assert np.array_equal(dataset[0], cut(pictures[0]))
    assert np.array_equal(dataset[-1], cut(pictures[-1]))
    found = np.concatenate(list(forked(dataset)))
    assert np.array_equal(found, np.stack([cut(picture) for picture in pictures]))
    with pytest.raises(IndexError):
        dataset[5]
    plain = Pictures(list(map(str, paths)))[2]
    assert plain.flags.writeable
    assert np.array_equal(plain, pictures[2])
    assert Pictures(paths, mode="L")[0].shape == (40, 60)


def test_a_damaged_file_says_which(files, tmp_path):
    paths, _ = files
    bad = tmp_path / "bad.codax"
    bad.write_bytes(paths[0].read_bytes()[:-3])
    with pytest.raises(FormatError, match=f"^{bad}: .*truncated") as caught:
        Pictures([paths[0], bad])[1]
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*fork.*", "ignore:This DataLoader will create")
def test_the_example_with_pytorch(files):
    torch = pytest.importorskip("torch", reason="PyTorch is missing")
    paths, pictures = files
    example = run_file(ROOT / "docs/examples/torch_loader.py", "torch_example")
    loader = example.loader(paths, side=32, batch=2, workers=2)
    found = torch.cat(list(loader))
    assert found.shape == (5, 3, 32, 32)
    assert len(loader) == 3
    corner = torch.tensor(pictures[3][:32, :32]).permute(2, 0, 1) / 255
    assert torch.equal(found[3], corner)


def test_columns_there_and_back(codec):
    photos = [synthetic(20 + k, 30, k) for k in range(3)]
    sources = [png(photos[0]), photos[1], Image.fromarray(photos[2]), b"no picture"]
    rows = {"id": [1, 2, 3, 4], "bytes": sources}
    coded = Encode(codec, quality=60)(rows)
    assert coded.keys() == {"id", "codax", "codax_error"}
    assert coded["codax"][:3] == [codec.encode(photo, 60) for photo in photos]
    assert coded["codax"][3] == b""
    assert coded["codax_error"][:3] == [""] * 3
    assert coded["codax_error"][3].startswith("not a picture in a format")
    decoded = Decode(codec)(coded)
    assert decoded.keys() == {"id", "codax_error", "image", "image_error"}
    for data, image in zip(coded["codax"][:3], decoded["image"][:3], strict=True):
        assert np.array_equal(image, codec.decode(data))
    assert decoded["image"][3].shape == (0, 0, 3)
    assert [bool(words) for words in decoded["image_error"]] == [0, 0, 0, 1]
    grey = Decode(codec, mode="L")(coded)["image"]
    assert [image.ndim for image in grey] == [2] * 4
    with pytest.raises(ConfigError, match="rows have no column 'bytes'; expected one"):
        Encode(codec)({"image": photos})
    with pytest.raises(ConfigError, match="quality is 300"):
        Encode(codec, quality=300)({"bytes": photos})


def test_deep_pictures_are_told_not_cut(codec):
    deep = np.full((9, 9), 40_000, np.uint16)
    exact = load("wavelet-lossless-tiny")
    found = Decode(exact)({"codax": [exact.encode(deep)]})
    assert "16 bits a sample" in found["image_error"][0]
    refused = Encode(codec)({"bytes": [deep]})
    assert "picture has 16 bits a sample" in refused["codax_error"][0]


def test_errors_that_may_pass_are_tried_again():
    class Weak:
        """Fails twice on the picture 13, always on 14; 15 is no picture."""

        tries = 0

        def encode_many(self, pictures, **options):
            return [self.one(picture) for picture in pictures]

        def one(self, picture):
            self.tries += 1
            if picture == 14 or (picture == 13 and self.tries < 6):
                return MemoryError("full\nof words")
            return UnsupportedError("no") if picture == 15 else bytes([picture])

    weak = Weak()
    rows = Encode(weak, retries=2)({"bytes": [12, 13, 14, 15]})
    assert rows["codax"] == [b"\x0c", b"\x0d", b"", b""]
    assert rows["codax_error"] == ["", "", "full", "no"]
    assert weak.tries == 4 + 2 + 2


def test_what_is_not_installed_is_told(monkeypatch, tmp_path):
    import codax.ray

    for name in ("ray", "numcodecs", "numcodecs.abc"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("codax.numcodecs", "codax.extras.numcodecs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UnsupportedError, match=r"`pip install 'codax\[ray\]'`"):
        codax.ray.evaluate(tmp_path, ["jpeg"], tmp_path / "out")
    with pytest.raises(UnsupportedError, match=r"`pip install 'codax\[zarr\]'`"):
        importlib.import_module("codax.numcodecs")


@pytest.fixture(scope="module")
def token_files(tmp_path_factory):
    """Three files of a codec with tokens."""
    codec = Codec.from_folder(ROOT / "tests/golden/prefix")
    folder = tmp_path_factory.mktemp("tokens")
    paths = [folder / f"{k}.codax" for k in range(3)]
    for k, path in enumerate(paths):
        data = codec.encode(synthetic(130, 140, k), quality=100, fallback=False)
        path.write_bytes(data)
    return codec, paths


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_tokens_are_those_of_the_files_in_workers_too(token_files, codec, tmp_path):
    own, paths = token_files
    dataset = Tokens(paths, own)
    expected = [own.file_tokens(path.read_bytes())[0] for path in paths]
    assert dataset.vocabulary == own.vocabulary
    assert dataset[1].shape == (3, 3, 6)
    assert np.array_equal(np.concatenate(list(forked(dataset))), expected)
    assert Tokens(paths, own, np.max)[2] == expected[2].max()
    other = tmp_path / "other.codax"
    other.write_bytes(codec.encode(synthetic(40, 60), fallback=False))
    with pytest.raises(ModelError, match=f"^{other}: ") as caught:
        Tokens([other], own)[0]
    assert "\n" not in str(caught.value)
    with pytest.raises(UnsupportedError, match="factorized-tiny-v5 has no tokens"):
        Tokens(paths, codec)


def test_the_example_of_next_tokens(token_files):
    own, paths = token_files
    example = run_file(ROOT / "docs/examples/next_token.py", "next_token")
    model, bits = example.train(Tokens(paths, own), 1, steps=30)
    assert bits < np.log2(max(own.vocabulary)) - 0.3
    drawn = example.draw(model, (2, 2))
    assert drawn.shape == (2, 2, 6)
    assert np.all((drawn >= 0) & (drawn < np.asarray(own.vocabulary)))
