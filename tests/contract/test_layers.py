"""Which part of the contract may import which: annotations, below codegen and verdict, below the rest."""

import ast
from pathlib import Path

import pytest

import tinynets as tn

PACKAGE = Path(tn.__file__).parent
ROOM = PACKAGE / "_contract"
BELOW = {
    "tinynets._contract.annotations": ["tinynets.errors"],
    "tinynets._contract.codegen": ["tinynets._contract.annotations", "tinynets.errors"],
    "tinynets._contract.verdict": ["tinynets._contract.annotations", "tinynets.errors", "tinynets._torch"],
    "tinynets._contract": ["tinynets.errors", "tinynets._torch"],
}


def imports(text: str, module: str) -> set[str]:
    """Return the modules of tinynets that a module imports, under TYPE_CHECKING too."""
    found = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            found.add(".".join([*base, node.module] if node.module else base))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "tinynets"}


def wrong_imports(text: str, module: str) -> set[str]:
    room = module.rsplit(".", 1)[0]
    allowed = [room, *BELOW[room]]
    return {
        name
        for name in imports(text, module)
        if not any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)
    }


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_imports_point_down(path: Path) -> None:
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    assert wrong_imports(path.read_text(), module) == set()


def test_an_import_that_points_up_is_seen() -> None:
    text = "if TYPE_CHECKING:\n    from ..codegen.rewrite import Rewriter\nfrom ..._torch import entry\n"
    wrong = wrong_imports(text, "tinynets._contract.annotations.axes")
    assert wrong == {"tinynets._contract.codegen.rewrite", "tinynets._torch"}
    assert wrong_imports("from ..modes import guard", "tinynets._contract.show") == {"tinynets.modes"}


def test_private_names_of_torch_stand_in_one_place() -> None:
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                text = ast.unparse(node)
                assert not text.startswith(("torch._", "nn.Module._")), f"{path.name}: {text}"
