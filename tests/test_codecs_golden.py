"""Files of format version 1 that must decode to the same latents for ever.

The weights beside them are small, random and frozen. Neither is ever made again:
`tools/make_golden.py` refuses to.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from latent_hashes import file_hash

from codax.codecs.families import FAMILIES
from codax.face.codec import Codec
from codax.files import container
from codax.zoo.cards import list_cards

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(path.parent for path in GOLDEN.glob("*/golden.json"))


def test_every_family_with_weights_has_golden_files():
    """One without is still a draft, whose bytes may change."""
    shipped = {card.codec for card in list_cards()}
    assert {folder.name for folder in FOLDERS} >= shipped
    assert shipped <= set(FAMILIES)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden_files_decode_as_ever(folder):
    codec = Codec.from_folder(folder)
    expected = json.loads((folder / "golden.json").read_text())
    assert {path.stem for path in folder.glob("*.codax")} == set(expected)
    for title, facts in expected.items():
        data = (folder / f"{title}.codax").read_bytes()
        file = container.read(data)
        assert data[4] == 1
        assert file_hash(codec.coder, data) == facts["latents"], title
        picture = np.asarray(codec.decode(data))
        assert picture.shape[:2] == (file.height, file.width)
        # Pixels may differ by a level between machines, their mean hardly.
        assert picture.mean() == pytest.approx(facts["mean"], abs=0.1)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden_folders_are_small(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000


def test_the_maker_replaces_nothing():
    if not FOLDERS:
        pytest.skip("no golden files yet")
    tool = Path(__file__).parents[1] / "tools" / "make_golden.py"
    done = subprocess.run(
        [sys.executable, str(tool), FOLDERS[0].name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "never made again" in done.stderr
