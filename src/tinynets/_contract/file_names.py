"""Name the file of a function in messages: the last part of its path, or `In[3]` for a notebook cell."""

from __future__ import annotations

import os
import sys
from typing import Any


def file_name(path: str) -> str:
    """Return the last part of a path, or `In[3]` for a notebook cell, whose file has a random name."""
    shell_of: Any = getattr(sys.modules.get("IPython"), "get_ipython", None)
    compiler: Any = getattr(shell_of(), "compile", None) if shell_of else None
    name_of: Any = getattr(compiler, "format_code_name", None)  # IPython 8
    cell = name_of(path) if name_of else None
    return cell[1] if cell else os.path.basename(path)
