"""The documentation of the checks, from their docstrings: the pages in `docs/checks`, their index, and what
`tinynets check --about` prints.

`python -m tinynets.testing.pages docs/checks` writes the pages.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from .definition import Check, ModelCheck, list_checks

_SECTIONS = ("Why", "Fix", "Declare")
_MEANING = {
    "must": "a model that breaks it fails",
    "should": "a model that breaks it gets a warning",
    "capability": "reported; a model that declares it by `supports=` and has not got it fails",
    "info": "reported only",
}


def base_id(check: Check) -> str:
    """Return the id without its variant: variants share a page."""
    return check.id.partition("[")[0]


def page(check: Check) -> str:
    """Return the page of a check in Markdown: what it checks, why, how to fix it, how to exempt it."""
    parts = _parts(check)
    level = f"Level: **{check.level}** ({_MEANING[check.level]})."
    lines = [f"# `{base_id(check)}`", "", parts.pop("", ""), "", level]
    if isinstance(check, ModelCheck):
        if check.slow:
            lines[-1] += " It takes seconds: `slow=True` runs it."
        if check.opt_in:
            lines[-1] += f' It runs only where it is asked for: `supports={{"{base_id(check)}"}}`.'
        for name, default in check.params.items():
            lines += ["", f'Parameter: `params={{"{check.id}": {{"{name}": {default!r}}}}}` is the default.']
    for section in _SECTIONS:
        if section in parts:
            lines += ["", f"## {section}", "", parts[section][:1].upper() + parts[section][1:]]
    return "\n".join(lines) + "\n"


def index(checks: tuple[Check, ...]) -> str:
    """Return the page that lists all checks."""
    lines = [
        "# Every check",
        "",
        "Made from the docstrings by `python -m tinynets.testing.pages docs/checks`.",
        "",
        "| check | level | what holds |",
        "|---|---|---|",
    ]
    for check in checks:
        what = _parts(check)[""].split("\n")[0]
        lines.append(f"| [`{check.id}`]({base_id(check)}.md) | {check.level} | {what} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Return the name and the text of every page."""
    builtin = tuple(check for check in list_checks() if isinstance(check, ModelCheck))
    return {"index.md": index(builtin)} | {f"{base_id(check)}.md": page(check) for check in builtin}


def _parts(check: Check) -> dict[str, str]:
    """Split the docstring of a check into its sections; the text before them is under ""."""
    text = inspect.getdoc(check.function if isinstance(check, ModelCheck) else check) or ""
    first, *rest = re.split(rf"^({'|'.join(_SECTIONS)}):", text, flags=re.MULTILINE)
    sections = {name: section.strip() for name, section in zip(rest[::2], rest[1::2], strict=True)}
    return {"": first.strip(), **sections}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for old in folder.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
