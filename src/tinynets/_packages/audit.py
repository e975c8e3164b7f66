"""Audit a package: import its modules without calling its functions; the counts, `not enforced`, `perhaps
misspelt` and `not imported`, as text and JSON, and the packages that it refuses.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import pkgutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import TargetError
from .hook import install_import_hook
from .instrument import hints_of, why_left_alone
from .lenient_policy import Skipped
from .package import CheckedModule, checked_modules


@dataclass
class Audit:
    """The result of an audit: what is enforced in a package."""

    package: str
    modules: int = 0  # that were imported
    functions: int = 0  # with at least one check
    classes: int = 0  # whose fields are checked when they are constructed
    checks: dict[str, int] = field(default_factory=dict[str, int])  # "argument", "return", ... -> number
    inner_functions: int = 0  # may have tensor annotations, which are read when they are created
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    doubts: list[str] = field(default_factory=list[str])  # axes that look misspelt
    not_imported: dict[str, str] = field(default_factory=dict[str, str])  # module -> why

    def __str__(self) -> str:
        kinds = [_counted(count, _WORDS[kind]) for kind, count in self.checks.items()]
        what = f"{_counted(self.functions, 'function')} and {_counted(self.classes, 'class')}"
        where = _counted(self.modules, "module")
        text = [f"{self.package}: {what} in {where} would be enforced: {', '.join(kinds) or 'nothing'}"]
        if self.inner_functions:
            inner = _counted(self.inner_functions, "function")
            text.append(f"besides, {inner} inside functions, looked at when created")
        listed = {
            "not enforced": self.skipped,
            "perhaps misspelt": self.doubts,
            "not imported": [f"{name}: {reason}" for name, reason in self.not_imported.items()],
        }
        for title, lines in listed.items():
            if lines:
                text += [f"{title}: {len(lines)}", *(f"  {line}" for line in lines)]
        return "\n".join(text)

    def to_json(self) -> str:
        """Return all of it as JSON."""
        return json.dumps(asdict(self), indent=2)


_WORDS = {"argument": "argument", "return": "return", "local": "line", "yield": "yield", "field": "field"}


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}{'es' if word.endswith('s') else 's'}"


def audit(package: str) -> Audit:
    """Import a package and all its modules, and report on their annotations.

    Args:
        package: the name of a package or module that is not imported yet.

    Raises:
        TargetError: there is no such package, it is already imported, it fails to import, or it has no
            tensor annotations.
    """
    if package in sys.modules:
        raise TargetError(f"{package} is imported already, so the import hook would not reach it")
    report, hook = Audit(package), install_import_hook(package)
    try:
        if not _exists(package):
            raise TargetError(f"there is no package {package!r} on the path of Python; is the name right?")
        _import(package, report)
        if package in report.not_imported:
            raise TargetError(f"{package} cannot be imported: {report.not_imported[package]}")
        for name in _module_names(package, report):
            _import(name, report)
    finally:
        hook.remove(warn=False)
    counts = Counter[str]()
    for module in checked_modules(package):
        counts += _look_at(module, report)
    report.checks = {kind: counts[kind] for kind in _WORDS if counts[kind]}
    if not (report.checks or report.skipped or report.inner_functions or report.not_imported):
        raise TargetError(f"{package} has no tensor annotations of jaxtyping, so nothing would be enforced")
    return report


def _exists(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None  # imports the parent packages of a module
    except (ImportError, ValueError):
        return False


def _import(name: str, report: Audit) -> None:
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        reason = str(error).strip().partition("\n")[0]
        report.not_imported[name] = f"{type(error).__name__}: {reason}"


def _module_names(package: str, report: Audit) -> Iterator[str]:
    path = getattr(sys.modules[package], "__path__", None)
    for found in pkgutil.iter_modules(path, f"{package}.") if path else ():
        if found.name.rpartition(".")[2] == "__main__":
            continue
        yield found.name
        if found.ispkg and found.name in sys.modules:
            yield from _module_names(found.name, report)


def _look_at(module: CheckedModule, report: Audit) -> Counter[str]:
    """Build the functions of a module, without calling them, and add to the report."""
    report.modules += 1
    module.doubts = {}
    counts = Counter[str]()
    for line in list(module.waiting):
        module.build(line)
    for checks in module.checks.values():
        counts += checks
        report.functions += bool(checks)
    for check in module.classes.values():
        check.build()
        report.classes += bool(check.checks)
        counts["field"] += check.checks["argument"]
    tree = ast.parse(Path(module.file).read_bytes()) if Path(module.file).exists() else ast.Module([], [])
    report.skipped += [*module.skipped, *_left_alone(module.name, tree)]
    report.inner_functions += sum(_inner_functions(tree, inside=False))
    report.doubts += [f"{module.name} {text}" for text in module.doubts]
    return counts


def _left_alone(module: str, tree: ast.AST) -> Iterator[Skipped]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            reason = why_left_alone(node)
            if reason and any("[" in ast.unparse(hint) for hint in hints_of(node)):
                yield Skipped(module, node.lineno, node.name, "", reason)


def _inner_functions(node: ast.AST, *, inside: bool) -> Iterator[bool]:
    for child in ast.iter_child_nodes(node):
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if function and inside:
            yield any("Tensor" in text and "[" in text for text in map(ast.unparse, hints_of(child)))
        yield from _inner_functions(child, inside=inside or function)
