"""Print what every file of the library is about, one line each: `make map`."""

from __future__ import annotations

import ast
import re
import signal
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "tinynets"


def subjects(sources: Path = SOURCES) -> dict[str, str]:
    """Return the path of each file in a folder, and the first paragraph of what it says of itself."""
    return {
        path.relative_to(sources).as_posix(): subject(path.read_text())
        for path in sorted(sources.rglob("*"))
        if path.suffix in (".py", ".j2")
    }


def subject(text: str) -> str:
    """Return the first comment of a template, or the first paragraph of a docstring: of the file, or of the check in it."""
    if comment := re.match(r"\{#-? (.*) -?#\}", text):
        return comment[1]
    tree = ast.parse(text)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    said = next(filter(None, map(ast.get_docstring, (tree, *functions))), "")
    return " ".join(said.partition("\n\n")[0].split())


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `make map | head` ends quietly
    listed = subjects()
    width = max(map(len, listed))
    for path, said in listed.items():
        print(f"{path:{width}}  {said}")


if __name__ == "__main__":
    main()
