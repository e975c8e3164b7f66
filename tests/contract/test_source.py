"""The body that runs is the one that Python runs: a source that was not compiled to it is not used."""

import ast
import importlib.util
import linecache
import os
import py_compile
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from jaxtyping import Float
from torch import Tensor, ones

import tinynets as tn
from tinynets._contract.codegen.source import _parse_file, function_node

STALE = "changed after it was imported, or its bytecode was not compiled from it"
HEADER = "from jaxtyping import Float\nfrom torch import Tensor\n\n\n"
PLUS = (
    HEADER
    + 'def f(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:\n    y: Float[Tensor, "3"] = x + 1\n    return y\n'
)
MINUS = PLUS.replace("+ 1", "- 1")


def import_file(path: Path, loader: Any = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=loader)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_enforced(function: Callable[[Tensor], Tensor]) -> None:
    """Its annotated line is enforced, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = tn.contract(function)
    assert checked(ones(3)).sum() == 6
    with pytest.raises(tn.ShapeError, match="y has axis 0 = 2, expected 3"):
        checked(ones(2))


def assert_body_is_kept(function: Callable[[Tensor], Tensor]) -> None:
    """It warns, runs what Python runs, and checks arguments and return value."""
    with pytest.warns(UserWarning, match=STALE):
        checked = tn.contract(function)
    assert checked(ones(2)).sum() == 4
    with pytest.raises(tn.ShapeError, match=r"f\(x\)"):
        checked(ones(2, 2))


def test_a_file_that_was_just_written(tmp_path: Path) -> None:
    path = tmp_path / "fresh.py"
    path.write_text(PLUS)
    assert_enforced(import_file(path).f)


def test_a_file_edited_after_its_import(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    path.write_text(PLUS)
    module = import_file(path)
    path.write_text(MINUS)
    assert_body_is_kept(module.f)
    path.write_text("# A line more.\n" + PLUS)  # the same text, elsewhere
    assert_body_is_kept(module.f)
    path.write_text(PLUS)
    assert_enforced(module.f)


def test_bytecode_that_is_never_compared_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "unchecked.py"
    path.write_text(PLUS)
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    path.write_text(MINUS)
    os.utime(path, (0, 0))  # older than this process
    assert_body_is_kept(import_file(path).f)


def test_an_edit_that_keeps_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "same_time.py"
    path.write_text(PLUS)
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    written = path.stat()
    path.write_text(MINUS)
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    assert_body_is_kept(import_file(path).f)


def test_a_function_with_more_constants_names_and_jumps_than_one_byte_counts(tmp_path: Path) -> None:
    lines = [f"    if x.shape[0] == {1000 + i}:\n        name{i} = attribute{i}({i}.5)\n" for i in range(400)]
    path = tmp_path / "large.py"
    path.write_text(PLUS.replace("    return y\n", "".join(lines) + "    return y\n"))
    assert_enforced(import_file(path).f)


def test_asserts_that_pytest_has_rewritten(tmp_path: Path) -> None:
    @tn.contract
    def here(x: Float[Tensor, "n"]) -> Tensor:
        assert x.ndim == 1, "in this file"
        y: Float[Tensor, "3"] = x
        return y

    with pytest.raises(tn.ShapeError, match="y has axis 0 = 2"):
        here(ones(2))
    assert type(__loader__).__module__ == "_pytest.assertion.rewrite"
    path = tmp_path / "test_rewritten.py"
    text = PLUS.replace("    return y", "    assert y.ndim == 1\n    return y")
    path.write_text(text)
    function: FunctionType = import_file(path, __loader__).f
    assert any(name.startswith("@py") for name in function.__code__.co_varnames)
    assert_enforced(function)
    path.write_text(text.replace("+ 1", "- 1"))
    assert_body_is_kept(function)


def test_a_cell_whose_statements_are_compiled_one_by_one() -> None:
    name = "<cell 1>"
    linecache.cache[name] = (len(PLUS), None, PLUS.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {}
    for statement in ast.parse(PLUS).body:
        exec(compile(ast.Module([statement], []), name, "exec"), namespace)
    assert_enforced(namespace["f"])


def test_a_function_whose_body_an_import_hook_has_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "hooked.py"
    path.write_text(MINUS)
    namespace: dict[str, Any] = {}
    exec(compile(ast.parse(PLUS), str(path), "exec"), namespace)
    assert_body_is_kept(namespace["f"])


def test_every_place_of_a_definition(tmp_path: Path) -> None:
    text = (
        HEADER.replace("\n\n\n", "\nimport functools\n\n")
        + """
def plain(function):
    return function

class Outer:
    class Inner:
        @staticmethod
        def in_a_class(x: Float[Tensor, "n"]) -> Tensor:
            y: Float[Tensor, "3"] = x + 1
            return y

def make():
    @plain
    @functools.lru_cache
    # with a comment
    def unused(): ...

    @plain
    @plain
    def in_a_function(x: Float[Tensor, "n"]) -> Tensor:
        y: Float[Tensor, "3"] = x + 1
        return y

    return in_a_function

try:
    raise ValueError
except ValueError:
    match 1:
        case 1:
            def in_a_handler(x: Float[Tensor, "n"]) -> Tensor:
                y: Float[Tensor, "3"] = x + 1
                return y
"""
    )
    path = tmp_path / "places.py"
    path.write_text(text)
    module = import_file(path)
    for function in (module.Outer.Inner.in_a_class, module.make(), module.in_a_handler):
        assert_enforced(function)


def test_a_warning_of_the_compiler_is_not_shown_again(tmp_path: Path) -> None:
    path = tmp_path / "warns.py"
    path.write_text(PLUS.replace("    return y", "    x is 3\n    '\\d'\n    return y"))
    with pytest.warns(Warning, match="literal|escape"):
        module = import_file(path)
    assert_enforced(module.f)


def test_a_definition_is_the_same_after_it_was_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "unchanged.py"
    path.write_text(PLUS)
    function = import_file(path).f
    node, text = function_node(function)
    before = ast.dump(node, include_attributes=True)
    codes = [tn.contract(function).__code__ for _ in range(2)]
    assert function_node(function)[0] is node, "the file is parsed once"
    assert ast.dump(node, include_attributes=True) == before
    assert codes[0] == codes[1]
    assert text.startswith("def f(")
    assert _parse_file.cache_info().maxsize == 2, "a few trees are kept, not all"
    assert "unchanged" not in sys.modules
