"""The error that ends a script in one line instead of a traceback."""

from __future__ import annotations


class ScriptError(Exception):
    """An error that ends the script in one line: what is wrong, and what to do about it."""
