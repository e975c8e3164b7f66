"""`Report`, what `check_model` returns: which format `repr`, `print`, a notebook and rich show, and
`to_json`, `to_junit` and `to_markdown` with a path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import formats
from .results import Results

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, repr=False)
class Report(Results):
    """The results of all checks of one model, in the order they ran.

    `report["batch.neighbour"]` is the result of one check.

    Args:
        name: name of the model.
        results: one for every check.
        environment: package versions and the machine, by name.
        unneeded: the exemptions for several checks that none of these needs.
    """

    def __repr__(self) -> str:
        return formats.to_summary(self)

    def __str__(self) -> str:
        return formats.to_text(self)

    def _repr_html_(self) -> str:
        return formats.to_html(self)

    def __rich__(self) -> Table:
        return formats.to_table(self)

    def print(self) -> None:
        """Print the report: a table on a terminal with rich, else plain text."""
        try:
            import rich
        except ImportError:
            print(self)
        else:
            console = rich.get_console()
            shown = self if console.is_terminal else str(self)
            console.print(shown, markup=False, highlight=False, soft_wrap=True)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JSON, and write it to `path` if given."""
        return _write(formats.to_json(self), path)

    def to_junit(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JUnit XML, which CI systems show, and write it to `path` if given."""
        return _write(formats.to_junit(self), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as a table in Markdown, and write it to `path` if given."""
        return _write(formats.to_markdown(self), path)


def _write(text: str, path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
