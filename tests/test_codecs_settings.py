"""One file, many settings of compiler and device: the same symbols in all of them.

Files written here are decoded in processes of their own under six other settings. A
twin of the same prior, float as in other codecs, fails this test, which shows that the
test can see what it looks for.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from settings_worker import decode_all, float_twin
from small_codecs import packed_codec, photo, synthetic, with_trellis

from codax.face.codec import Codec
from codax.zoo.cards import list_cards
from codax.zoo.weights import write_checkpoint

WORKER = Path(__file__).parent / "settings_worker.py"
SETTINGS: dict[str, tuple[dict[str, str], list[str]]] = {
    "SSE4.2": ({"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"}, []),
    "AVX": ({"XLA_FLAGS": "--xla_cpu_max_isa=AVX"}, []),
    "AVX2": ({"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}, []),
    "fast-math": ({"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}, []),
    "one thread": (
        {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"},
        ["--one-core"],
    ),
    "no jit": ({}, ["--no-jit"]),
    "float64 enabled": ({"JAX_ENABLE_X64": "1"}, []),
}
QUALITIES = (30, 110, 180)


def pictures():
    """Three full pictures; all fit one bucket, so that a process compiles once."""
    return [photo(), synthetic(560, 600, 1), photo()[:, ::-1].transpose(1, 0, 2)]


class Case:
    """Files of one codec and the hashes of their latents as decoded here."""

    def __init__(self, folder: Path, weights: Path, twin: bool, images):
        self.folder, self.weights, self.twin = folder, weights, twin
        codec = Codec.from_folder(weights, runtime="jax")
        if twin:
            codec = float_twin(codec)
        self.files = []
        for number, rgb in enumerate(images):
            for quality in QUALITIES:
                path = folder / f"{number}-{quality}"
                path.write_bytes(codec.coder.compress(rgb, quality))
                self.files.append([str(path), *rgb.shape[:2], quality])
        (folder / "files.json").write_text(json.dumps(self.files))
        self.expected = decode_all(codec, self.files)

    def decode_under(self, setting: str) -> list[str]:
        """The hashes in a process of its own under a setting."""
        environment, flags = SETTINGS[setting]
        out = self.folder / f"{setting}.json"
        words = [sys.executable, WORKER, self.weights, self.folder / "files.json", out]
        done = subprocess.run(
            [*map(str, words), *flags, *(["--float"] if self.twin else [])],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(out.read_text())


@cache
def shipped_case(root: Path, twin: bool) -> Case:
    """Files of the smaller codec of the default's family, or of its float twin.

    Its networks are those of the default with fewer channels, and compile in half the
    time.
    """
    cards = [card for card in list_cards() if card.name.startswith("quadtree-tiny")]
    if not cards:
        pytest.skip("no trained codec ships with this checkout")
    folder = root / ("float" if twin else "exact")
    folder.mkdir()
    return Case(folder, cards[0].folder, twin, pictures())


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("settings")


@cache
def small_case(root: Path, twin: bool) -> Case:
    """Files of a small codec: quick enough to try every setting.

    From a quality between those of the files on its latents are quantised dependently.
    """
    packed, card = with_trellis(*packed_codec("quadtree"), start=100)
    weights = root / f"weights-{twin}"
    write_checkpoint(weights, packed, card)
    folder = root / f"small-{twin}"
    folder.mkdir()
    return Case(folder, weights, twin, [photo()[:256, :200], synthetic(200, 250)])


@pytest.mark.parametrize("setting", SETTINGS)
def test_small_codec_decodes_equally(root, setting):
    case = small_case(root, False)
    assert case.decode_under(setting) == case.expected
    assert len(set(case.expected)) == len(case.expected)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_shipped_codec_decodes_equally(root, setting):
    case = shipped_case(root, False)
    assert len(case.expected) == 9
    assert case.decode_under(setting) == case.expected


@pytest.mark.slow
def test_its_float_twin_does_not(root):
    case = shipped_case(root, True)
    settings = ("SSE4.2", "AVX", "fast-math", "no jit")
    assert any(case.decode_under(name) != case.expected for name in settings)
