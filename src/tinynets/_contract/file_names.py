"""How messages name the file of a function."""

from __future__ import annotations

import os
import sys
from typing import Any


def file_name(path: str) -> str:
    """Return the last part of a path, or `In[3]` for the cell of a notebook, whose file has a random name."""
    if "IPython" not in sys.modules:
        return os.path.basename(path)
    shell: Any = sys.modules["IPython"].get_ipython()
    compiler = getattr(shell, "compile", None)
    cell = compiler.format_code_name(path) if hasattr(compiler, "format_code_name") else None  # IPython 8
    return cell[1] if cell else os.path.basename(path)
