"""Runs the notebooks and stores their outputs, so that they read well without running.

python tools/run_notebooks.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

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


def main() -> None:
    """Runs the notebooks named on the command line, or all."""
    paths = [Path(word) for word in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        nbformat.write(run_notebook(path), path)
        print(path.name)


if __name__ == "__main__":
    main()
