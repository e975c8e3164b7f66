"""Hooks of the site: navigation of the checks, and the scripts that pages link to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

CHECKS = "checks/"


def on_config(config: MkDocsConfig) -> None:
    """Replace `checks/` in the navigation by the pages of all checks, by group."""
    config.nav = [
        {name: _checks(config)} if part == CHECKS else item
        for item in config.nav or []
        for name, part in item.items()
    ]


def _checks(config: MkDocsConfig) -> list[Any]:
    groups: dict[str, list[str]] = {}
    for path in sorted((Path(config.docs_dir) / CHECKS).glob("*.*.md")):
        groups.setdefault(path.name.partition(".")[0], []).append(CHECKS + path.name)
    return [CHECKS + "index.md", *({group: pages} for group, pages in groups.items())]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Include the example scripts, which pages link to."""
    root = Path(config.config_file_path).parent
    for path in sorted((root / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adapt links that work in the repository to the site."""
    return re.sub(r"\]\(\.\./(examples/\w+\.py)\)", r"](\1)", markdown)
