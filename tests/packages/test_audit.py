"""`tinynets audit`: what would be enforced, and what not and why, before anything runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch

import tinynets as tn
from tinynets.cli import main

from .conftest import FORMS, forget

GOLDEN = Path(__file__).parent / "goldens" / "audit.txt"


@pytest.fixture
def fresh(monkeypatch):
    """The package of forms, not imported; whoever has it keeps it."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("wildforms")}
    monkeypatch.syspath_prepend(FORMS)
    yield
    forget("wildforms")
    sys.modules.update(kept)


def test_what_is_enforced_and_what_not(fresh, capsys) -> None:
    assert main(["audit", "wildforms"]) == 0
    text = capsys.readouterr().out
    if os.environ.get("TINYNETS_OVERWRITE"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_json(fresh, capsys) -> None:
    assert main(["audit", "wildforms.functions", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["package"] == "wildforms.functions"
    assert {"where": "parts", "function": "consumed", "line": 91} in [
        {key: entry[key] for key in ("where", "function", "line")} for entry in report["skipped"]
    ]
    assert sum(report["checks"].values()) > 40


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [
        (None, "sampel", "there is no package 'sampel' on the path of Python; is the name right?"),
        (None, "tinynets", "tinynets is imported already, so the import hook would not reach it"),
        ("x = 1", "sample", "sample has no tensor annotations of jaxtyping, so nothing would be enforced"),
        (
            "import nowhere",
            "sample",
            "sample cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
    ],
)
def test_one_line_says_why_there_is_no_audit(source, name, text, package, capsys) -> None:
    if source:
        package(source)
    assert main(["audit", name]) == 2
    assert capsys.readouterr().err == f"tinynets: {text}\n"


def test_a_module_that_cannot_be_imported_is_named(package, capsys) -> None:
    package("", "sample/__init__")
    package("def f(x: Float[Tensor, 'n']) -> None:\n    x + 1\n", "sample/good")
    package("raise SystemExit(3)", "sample/script")
    package("", "sample/deep/__init__")
    package("def g(x: Float[Tensor, 'n']) -> None:\n    x + 1\n", "sample/deep/better")
    assert main(["audit", "sample"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sample: 2 functions and 0 classes in 4 modules would be enforced: 2 arguments",
        "not imported: 1",
        "  sample.script: SystemExit: 3",
    ]


EMPTY = """
from abc import abstractmethod
from typing import Protocol, overload

class Null:
    def log(self, x: Float[Tensor, "d d"]): pass
    def told(self, x: Float[Tensor, "d d"]):
        "Does nothing."
    @abstractmethod
    def abstract(self, x: Float[Tensor, "d d"]) -> Float[Tensor, "d"]: ...

class Shape(Protocol):
    def area(self, x: Float[Tensor, "d d"]) -> Float[Tensor, "d"]: ...
"""


def test_a_function_that_does_nothing_is_checked_and_a_declaration_is_not(package) -> None:
    package(EMPTY)
    with tn.install_import_hook("sample"):
        import sample
    null = sample.Null()
    for method in (null.log, null.told):
        method(torch.ones(2, 2))
        with pytest.raises(tn.ShapeError, match=r"\(x\): axis 1 is 3, expected d = 2"):
            method(torch.ones(2, 3))
    assert null.abstract(torch.ones(2, 3)) is None


FIELDS = """
from dataclasses import InitVar, dataclass, field
from typing import ClassVar

@dataclass
class Post:
    n: int
    x: Float[Tensor, "n n"] = field(init=False)
    given: InitVar[Float[Tensor, "n n"] | None] = None
    shared: ClassVar[Float[Tensor, "n n"]] = torch.zeros(2, 2)
    def __post_init__(self, given):
        self.x = torch.zeros(self.n, self.n + 1)

@dataclass
class Own:
    x: Float[Tensor, "n n"]
    def __init__(self, x):
        self.x = x
"""


def test_fields_that_are_not_checked_are_listed(package, capsys) -> None:
    package(FIELDS)
    assert main(["audit", "sample", "--json"]) == 0
    skipped = json.loads(capsys.readouterr().out)["skipped"]
    assert [(entry["function"], entry["where"], entry["reason"]) for entry in skipped] == [
        ("Post", "x", "it is set after construction, or an argument of the constructor only"),
        ("Post", "given", "it is set after construction, or an argument of the constructor only"),
        ("Own", "x", "its constructor is not the one that a dataclass gets: annotate the arguments of that"),
    ]


def test_modules_that_raise_are_named_where_no_other_is_annotated(package, capsys) -> None:
    package("", "sample/__init__")
    package("import nowhere\ndef f(x: Float[Tensor, 'n']): return x\n", "sample/part")
    assert main(["audit", "sample"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("not imported: 1\n  sample.part: ModuleNotFoundError: No module named 'nowhere'\n")
