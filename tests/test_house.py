"""The house is in order: imports point down, names hide nothing, and no file or folder grows beyond what one can read."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import grimp
import networkx
import pytest

from tinynets import cli

from .list_files import subjects

ROOT = Path(__file__).parent.parent
LONGEST_FILE, LARGEST_FOLDER = 300, 15
# The zoo is a family a file, so that it grows with every family.
LARGE_FOLDERS = {"tinynets/models"}


def modules(package: str) -> Iterator[ModuleType]:
    """Import a package and yield it and every module in it."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def import_circles(package: str) -> list[list[str]]:
    """Find modules that import each other, inside functions and for type checkers too."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)
    imports = networkx.DiGraph(
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    )
    return [sorted(circle) for circle in networkx.strongly_connected_components(imports) if len(circle) > 1]


def hidden_modules(package: str) -> list[str]:
    """Find modules that cannot be reached as an attribute, since something else has their name."""
    names = [module.__name__ for module in modules(package)]
    return [
        name
        for name in names[1:]
        if getattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], None)
        is not sys.modules[name]
    ]


def stray_exceptions(package: str) -> list[str]:
    """Find exception and warning classes, local ones too, that are defined outside `errors.py`."""

    def is_exception(module: ModuleType, base: ast.expr) -> bool:
        name = ast.unparse(base)
        value = getattr(module, name, None) or getattr(builtins, name, None)
        return inspect.isclass(value) and issubclass(value, BaseException)

    return [
        f"{module.__name__}.{node.name}"
        for module in modules(package)
        if module.__name__ != f"{package}.errors"
        for node in ast.walk(ast.parse(inspect.getsource(module) or ""))
        if isinstance(node, ast.ClassDef) and any(is_exception(module, base) for base in node.bases)
    ]


def oversized(source: Path) -> list[str]:
    """Find files and folders that have grown too large; the `__init__.py` of a folder is not counted."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    folders: dict[str, int] = {}
    for path in files:
        if path.stem != "__init__":
            folder = path.parent.relative_to(source).as_posix()
            folders[folder] = folders.get(folder, 0) + 1
    lengths = {
        path.relative_to(source).as_posix(): len(path.read_bytes().splitlines())
        for path in files
        if path.suffix != ".safetensors"
    }
    return [
        *(f"{name}: {length} lines" for name, length in lengths.items() if length > LONGEST_FILE),
        *(
            f"{name}/: {count} files"
            for name, count in folders.items()
            if count > LARGEST_FOLDER and name not in LARGE_FOLDERS
        ),
    ]


def lint_imports(source: Path) -> str:
    """Run import-linter with the repository's rules on the packages in `source`; return what it objects to."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r}); {code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if run.returncode == 0 else run.stdout + run.stderr


def paths_in_map(section: str, root: Path) -> dict[str, list[Path]]:
    """Find the files and folders that a table of CONTRIBUTING.md names, below `root` or `root/src/tinynets`."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    table = re.search(rf"<!-- {section} -->(.*?)<!-- end -->", page, re.DOTALL)
    assert table
    names = [
        name
        for name in re.findall(r"`([^`]+)`", table[1])
        if re.search(r"^[\w<>./-]+(/|\.py|\.md|\.txt)$", name)
    ]
    return {
        name: [
            path
            for folder in (root / "src" / "tinynets", root)
            for path in folder.glob(re.sub("<.*?>", "[a-z]*", name).rstrip("/"))
        ]
        for name in names
    }


def test_imports_point_down() -> None:
    objections = lint_imports(ROOT / "src")
    assert not objections, objections


def test_no_modules_import_each_other() -> None:
    assert import_circles("tinynets") == []


def test_no_name_hides_a_module() -> None:
    assert hidden_modules("tinynets") == []


def test_exceptions_have_one_file() -> None:
    assert stray_exceptions("tinynets") == []


def test_no_file_or_folder_is_too_large() -> None:
    assert oversized(ROOT / "src") == []


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package in which all that is tested above is wrong."""
    package = tmp_path / "shack"
    (package / "crowd").mkdir(parents=True)
    for name, text in {
        "__init__.py": "from .shed import shed as shed\n",
        "shed.py": "class ShedError(ValueError): ...\n\n\ndef shed():\n    from . import yard\n",
        "yard.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from .shed import shed\n",
        "errors.py": "class YardError(ValueError): ...\n",
        "long.py": "\n" * (LONGEST_FILE + 1),
    }.items():
        (package / name).write_text(text)
    for number in range(LARGEST_FOLDER + 1):
        (package / "crowd" / f"page{number}.html").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield "shack"
    for name in [name for name in sys.modules if name.partition(".")[0] == "shack"]:
        del sys.modules[name]


def test_an_untidy_package_is_seen(sample: str, tmp_path: Path) -> None:
    assert import_circles(sample) == [["shack.shed", "shack.yard"]]
    assert hidden_modules(sample) == ["shack.shed"]
    assert stray_exceptions(sample) == ["shack.shed.ShedError"]
    assert oversized(tmp_path) == ["shack/long.py: 301 lines", "shack/crowd/: 16 files"]


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("layers/init.py", "from ..models.base import ImageClassifier"),
        ("testing/suite.py", "def late():\n    from .._explain.explain import explain"),
        ("errors.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .module import Module"),
    ],
)
def test_an_import_that_points_up_or_aside_is_seen(importer: str, line: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src" / "tinynets", tmp_path / "tinynets")
    with (tmp_path / "tinynets" / importer).open("a") as file:
        file.write(f"\n{line}\n")
    name = importer.removesuffix(".py").replace("/", ".")
    assert f"tinynets.{name} -> tinynets." in lint_imports(tmp_path)


def test_the_map_has_every_room() -> None:
    """The first column of the table is what lies in `src/tinynets`, and no more."""
    source = ROOT / "src" / "tinynets"
    rooms = {path for path in source.iterdir() if path.suffix in ("", ".py") and path.name != "__init__.py"}
    mapped = [path for paths in paths_in_map("rooms", ROOT).values() for path in paths]
    assert rooms - {source / "__pycache__"} == {path for path in mapped if path.parent == source}


@pytest.mark.parametrize("section", ["rooms", "changes"])
def test_what_the_map_names_is_there(section: str, tmp_path: Path) -> None:
    found = paths_in_map(section, ROOT)
    inside = ("annotations/", "codegen/", "verdict/", "registry.py")  # named within a room
    assert [name for name, paths in found.items() if not paths and name not in inside] == []
    assert len(found) > 15
    assert not any(paths_in_map(section, tmp_path).values()), "in an empty folder, nothing is"


def test_every_file_says_what_it_is_about(tmp_path: Path) -> None:
    said = subjects()
    assert [path for path, sentence in said.items() if not sentence.endswith((".", "?"))] == []
    assert len(set(said.values())) == len(said) > 300, "no two files say the same"
    (tmp_path / "silent.py").write_text("x = 1\n")
    (tmp_path / "check.py").write_text(CHECK)
    assert subjects(tmp_path) == {"check.py": "Images are square.", "silent.py": ""}


COMMAND = """
def add_command(commands):
    commands.add_parser("greet").set_defaults(run=lambda options: print("hello") or 0)
"""


def test_a_subcommand_is_a_file_and_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "greet.py").write_text(COMMAND)
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main(["greet"])
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, "greet"))
    try:
        assert cli.main(["greet"]) == 0
    finally:
        sys.modules.pop("tinynets.cli.greet", None)
        vars(cli).pop("greet", None)
    assert capsys.readouterr().out == "hello\n"


CHECK = '''
from ... import Level, Subject, check


@check("layout.square", Level.SHOULD)
def square(subject: Subject) -> None:
    """Images are square.

    Why: they were.
    Fix: cut them.
    Declare: `skip`.
    """
'''


@pytest.mark.slow
def test_a_check_is_a_file(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src" / "tinynets", tmp_path / "tinynets")
    (tmp_path / "tinynets" / "testing" / "checks" / "layout" / "square.py").write_text(CHECK)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from tinynets.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "check", "--about", "layout.square"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert page.startswith("# `layout.square`\n\nImages are square.\n")
