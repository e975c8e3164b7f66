"""`registry.MODELS` is the one list of the zoo; `python tests/models/test_one_list.py` writes the stub made from it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import torch

import tinynets as tn
from tinynets import models
from tinynets.models.pretrained import list_weights
from tinynets.models.registry import MODELS, Entry

SOURCE = Path(models.__file__).parent
STUB = SOURCE / "__init__.pyi"
HEADER = (
    '''"""The zoo, as type checkers see it: made from `registry.MODELS` by `make generate`, not by hand."""'''
)


def stub() -> str:
    """Write what `__init__.py` imports, the classes of the zoo, and an overload of `create_model` for each."""
    static = [
        ast.unparse(node)
        for node in ast.parse((SOURCE / "__init__.py").read_text()).body
        if isinstance(node, ast.ImportFrom) and node.level and node.names[0].name != "create_model"
    ]
    modules = {entry.class_name: entry.module for entry in MODELS.values()}
    classes = [f"from .{module} import {name} as {name}" for name, module in modules.items()]
    types = {name: (f'Literal["{name}"]', entry.class_name) for name, entry in MODELS.items()}
    types[""] = ("str", "ImageClassifier")
    weights = {name: ", ".join(f'"{each}"' for each in names) for name, names in list_weights().items()}
    overloads = [
        f"@overload\ndef create_model(\n    name: {name}, *, pretrained: Literal[{weights[key]}, False] | None = None,"
        f" **config: Any\n) -> {returned}: ..."
        if key in weights
        else f"@overload\ndef create_model(name: {name}, **config: Any) -> {returned}: ..."
        for key, (name, returned) in types.items()
    ]
    imports = sorted([*static, *classes])
    return "\n".join(
        [HEADER, "", "from typing import Any, Literal, overload", "", *imports, "", *overloads, ""]
    )


def test_the_stub_is_up_to_date() -> None:
    assert STUB.read_text() == stub(), "run make generate"


@pytest.mark.slow
def test_no_class_stands_in_a_second_list() -> None:
    classes = {entry.class_name: entry.module for entry in MODELS.values()}
    found: dict[str, set[str]] = {}
    for path in SOURCE.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = {getattr(node, field, None) for field in ("id", "attr", "name", "value")}
            for name in classes.keys() & {name for name in names if isinstance(name, str)}:
                found.setdefault(name, set()).add(path.relative_to(SOURCE.parent).as_posix())
    public = {name: {"__init__.py"} if name in tn.__all__ else set() for name in classes}
    assert found == {
        name: {"models/registry.py", f"models/{module}.py"} | public[name] for name, module in classes.items()
    }


TOY = """
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tinynets.models import ImageClassifier


class ToyNet(ImageClassifier):
    num_classes: int

    def __init__(self, *, num_classes: int = 10, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        with torch.device("meta"):
            self.head = nn.Linear(3, num_classes)
        self._allocate(generator)

    def forward(self, images: Float[Tensor, "batch 3 8 8"]) -> Float[Tensor, "batch num_classes"]:
        return self.forward_head(images)
"""


def test_a_file_and_a_row_make_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.setitem(MODELS, "toy_8", Entry("toy", "ToyNet", "convolutional", range(8, 9), {}))
    try:
        model = tn.create_model("toy_8", num_classes=4).eval()
        assert type(model) is models.ToyNet
        assert "ToyNet" in dir(models)
        assert "toy_8" in tn.list_models(family="convolutional", image_size=8)
        with pytest.raises(ValueError, match="did you mean 'toy_8'"):
            tn.create_model("toy8")
        model.save(tmp_path / "toy.safetensors")
        images = torch.rand(2, 3, 8, 8)
        assert torch.equal(tn.load(tmp_path / "toy.safetensors")(images), model(images))
        assert "from .toy import ToyNet as ToyNet\n" in stub()
        assert 'create_model(name: Literal["toy_8"], **config: Any) -> ToyNet' in stub()
    finally:
        sys.modules.pop("tinynets.models.toy", None)
        vars(models).pop("toy", None)


if __name__ == "__main__":
    STUB.write_text(stub())
