"""Weights kept unpacked: found again, and no fault where they cannot be."""

import lzma

import numpy as np
import pytest

from codax.zoo import unpacked
from codax.zoo.unpacked import cache_folder

PLAIN = np.random.default_rng(0).bytes(1 << 19)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "codax" / "weights"


def test_large_ones_are_kept_and_small_ones_are_not(folder, monkeypatch):
    data = lzma.compress(PLAIN)
    assert unpacked.unpacked(data) == PLAIN
    (kept,) = folder.iterdir()
    assert unpacked.unpacked(lzma.compress(b"few")) == b"few"
    assert list(folder.iterdir()) == [kept]
    monkeypatch.setattr(unpacked.lzma, "decompress", None)
    assert unpacked.unpacked(data) == PLAIN


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * len(PLAIN)])
def test_what_is_damaged_is_made_anew(folder, damage):
    data = lzma.compress(PLAIN)
    unpacked.unpacked(data)
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert unpacked.unpacked(data) == PLAIN
    assert kept.read_bytes() == whole


def test_no_place_to_keep_is_no_fault(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert unpacked.unpacked(lzma.compress(PLAIN)) == PLAIN
    monkeypatch.setattr(unpacked, "cache_folder", lambda: None)
    assert unpacked.unpacked(lzma.compress(PLAIN)) == PLAIN


def test_damaged_xz_is_told():
    assert cache_folder() is not None
    with pytest.raises(lzma.LZMAError):
        unpacked.unpacked(b"no xz" * 100_000)
