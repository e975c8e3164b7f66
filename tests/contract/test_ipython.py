"""IPython: after each edit under `%autoreload 2`, old and new instances are checked as the file now says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("IPython")
FITS = {
    "old": "[2, 3]",
    "new": "[2, 3]",
    "scale": "[2, 3]",
    "old table": "[3]",
    "new table": "[3]",
    "shift": "[3]",
}
TOO_WIDE = {
    "old": "ShapeError: Net(x): axis 1 is 4, expected 3",
    "new": "ShapeError: Net(x): axis 1 is 4, expected 3",
    "scale": "ShapeError: scale(x): axis 1 is 4, expected 3",
    "old table": "[3]",
    "new table": "[3]",
    "shift": "ShapeError: Net.shift(x): axis 0 is 4, expected 3",
}
WRONG_LINE = "ShapeError: Net, edited.py:18: y has axis 1 = 3, expected 7"
FITS_FOUR = {
    "old": "[2, 4]",
    "new": "[2, 4]",
    "scale": "[2, 4]",
    "old table": "[4]",
    "new table": "[4]",
    "shift": "[4]",
}
TOO_NARROW = {
    "old": "ShapeError: Net(x): axis 1 is 3, expected 4",
    "new": "ShapeError: Net(x): axis 1 is 3, expected 4",
    "scale": "ShapeError: scale(x): axis 1 is 3, expected 4",
    "old table": "[4]",
    "new table": "[4]",
    "shift": "ShapeError: Net.shift(x): axis 0 is 3, expected 4",
}


@pytest.mark.slow
def test_checks_follow_every_edit(tmp_path: Path) -> None:
    script = Path(__file__).with_name("ipython_session.py")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1, "IPython or a warning said something"
    found = json.loads(done.stdout)
    for edit in ("none", "a body", "a line more", "a global"):
        assert found[f"{edit}, 3"] == FITS, edit
        assert found[f"{edit}, 4"] == TOO_WIDE, edit
    assert found["a line, 3"] == FITS | {"old": WRONG_LINE, "new": WRONG_LINE}
    assert found["a line, 4"] == TOO_WIDE
    assert found["arguments, 3"] == TOO_NARROW
    assert found["arguments, 4"] == FITS_FOUR


@pytest.mark.slow
def test_a_cell_is_named_as_the_notebook_names_it(tmp_path: Path) -> None:
    session = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("import torch, tinynets as tn", store_history=True)
shell.run_cell('''from jaxtyping import Float
@tn.contract
def f(x: Float[torch.Tensor, "n"]):
    y: Float[torch.Tensor, "n 3"] = x
''', store_history=True)
shell.run_cell('''try:
    f(torch.zeros(2))
except tn.ShapeError as error:
    print(str(error).splitlines()[0])
''', store_history=True)
"""
    done = subprocess.run([sys.executable, "-c", session], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("f, In[2]:4: y has 1 axis, expected 2\n", "")
