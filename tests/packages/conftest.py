"""The package that holds every form of annotation met in public packages, under the import hook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import tinynets as tn

FORMS = Path(__file__).parent / "forms"


def forget(*packages: str) -> None:
    """Forget what was imported, so that a test can import it anew."""
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]


@pytest.fixture(scope="session")
def forms() -> Iterator[ModuleType]:
    """The package with its functions checked; its modules are attributes."""
    sys.path.insert(0, str(FORMS))
    with tn.install_import_hook("wildforms", "beartype.beartype"):
        import wildforms
        import wildforms.classes
    yield wildforms
    sys.path.remove(str(FORMS))
    forget("wildforms")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Write a module `sample` with some source, to be imported by the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, name: str = "sample") -> Path:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(HEADER + source)
        return path

    yield write
    forget("sample")


HEADER = """
import torch
from jaxtyping import Float
from torch import Tensor
"""
