"""`examples/first_steps.ipynb` runs, cell by cell, and prints what it shows.

`TINYNETS_OVERWRITE=1 pytest tests/examples/test_notebook.py` writes what it shows; read the diff.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("IPython")
pytest.importorskip("mlxtend")
NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_steps.ipynb"
SESSION = """
import contextlib, io, json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for cell in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = shell.run_cell(cell, store_history=True)
    html = hasattr(result.result, "_repr_html_")
    print(json.dumps([result.success, html, printed.getvalue()]))
"""


def run_cells(cells: list[str], folder: Path) -> list[tuple[bool, bool, str]]:
    """Return of each cell whether it ran, whether its value is drawn as HTML, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", SESSION], input=json.dumps(cells), cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def stream(text: str) -> list[dict[str, Any]]:
    lines = text.splitlines(keepends=True)
    return [{"name": "stdout", "output_type": "stream", "text": lines}] if text else []


@pytest.mark.slow
def test_the_notebook_prints_what_it_shows(tmp_path: Path) -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    broken = "tn.create_model('lenet5')(torch.rand(1, 1))"
    *found, failed = run_cells([*sources, broken], tmp_path)
    assert not failed[0], "a cell that fails is not seen"
    for number, (cell, source, (ran, html, printed)) in enumerate(zip(cells, sources, found, strict=True), 1):
        assert ran, f"cell {number}: {printed}"
        assert html == source.startswith("tn.explain("), f"cell {number}"
        if html:
            printed = ""  # the text of the page, beside it
        if os.environ.get("TINYNETS_OVERWRITE") == "1":
            cell["outputs"], cell["execution_count"] = stream(printed), number
        assert cell["outputs"] == stream(printed), f"cell {number} prints\n{printed}"
    if os.environ.get("TINYNETS_OVERWRITE") == "1":
        NOTEBOOK.write_text(json.dumps(notebook, indent=1) + "\n")
