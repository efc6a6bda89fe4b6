"""The notebooks: short, stored with their outputs, and running from start to end."""

import re
from pathlib import Path

import nbformat
import pytest

from codax.files.scripts import run_file
from codax.zoo.cards import list_cards

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def needs_weights():
    if not list_cards():
        pytest.skip("no trained codec in checkpoints/")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_lesson_is_short_and_has_a_question_and_a_conclusion(path):
    cells = nbformat.read(path, as_version=4).cells
    assert sum(cell.cell_type == "code" for cell in cells) <= 12
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "**Question.**" in text
    assert "**Conclusion.**" in text


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_outputs_are_stored(path):
    needs_weights()
    cells = nbformat.read(path, as_version=4).cells
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run tools/run_notebooks.py"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_named_weights_ship(path):
    """In sources, text and outputs, so that nobody looks for what is not there."""
    needs_weights()
    named = set(re.findall(r"\b[a-z]+(?:-[a-z]+)+-v\d+\b", path.read_text()))
    assert named <= {card.name for card in list_cards()}, "run tools/run_notebooks.py"


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
# The kernel's client warns of its own event loop and sockets.
@pytest.mark.filterwarnings("default")
def test_notebook_runs(path):
    needs_weights()
    run_file(ROOT / "tools" / "run_notebooks.py", "tool").run_notebook(path)
