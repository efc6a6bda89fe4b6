"""Runs the notebooks and stores their outputs, so that they read well without running.

python tools/run_notebooks.py [NOTEBOOK ...]
"""

from __future__ import annotations

import argparse
import base64
import io
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

LARGE = 100_000
"""Characters of a stored picture."""
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def run_notebook(path: Path, *, seconds: int = 300) -> nbformat.NotebookNode:
    """Runs one notebook in its folder.

    Args:
        path: of the notebook.
        seconds: that a cell may take.

    Returns:
        The notebook with its outputs; the file is not changed.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=seconds,
        resources={"metadata": {"path": str(path.parent)}},
        # Otherwise every run would change the file by its clock.
        record_timing=False,
        coalesce_streams=True,
    )
    return client.execute()


def lighten(notebook: nbformat.NotebookNode) -> None:
    """Keeps large pictures as JPEG only: PNG of photographs takes ten times as much."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if len(data.get("image/png", "")) < LARGE:
                continue
            picture = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png"))))
            file = io.BytesIO()
            picture.convert("RGB").save(file, "JPEG", quality=90, subsampling=0)
            data["image/jpeg"] = base64.b64encode(file.getvalue()).decode()


def main() -> None:
    """Runs the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="else all")
    for path in parser.parse_args().notebooks or sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = run_notebook(path)
        lighten(notebook)
        nbformat.write(notebook, path)
        print(path.name)


if __name__ == "__main__":
    main()
