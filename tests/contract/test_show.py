"""The generated code, compared whole with golden files, and `tinynets show`, which prints it.

`TINYNETS_OVERWRITE=1 pytest tests/contract/test_show.py` writes the golden files anew; read the diff.
"""

import ast
import importlib.util
import os
import re
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, cast

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, ones

import tinynets as tn
from tinynets._contract.contract import builder_of
from tinynets._contract.show import show
from tinynets.cli import main

HERE = Path(__file__).parent / "rewriter"
SOURCES = sorted(HERE.glob("*.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def target_in(path: Path) -> Any:
    module = load(path)
    return getattr(module, "target", None) or module.Target


def function_of(target: Any) -> FunctionType:
    return cast(FunctionType, getattr(target, "forward", target))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_rewritten_function_is_the_golden_one(path: Path) -> None:
    # Which dtypes there are depends on the version of torch.
    text = re.sub(r"\{torch\.[^}]*\}", "{...}", show(target_in(path)))
    golden = path.with_suffix(".txt")
    if os.environ.get("TINYNETS_OVERWRITE") == "1":
        golden.write_text(text)
    assert text == golden.read_text()


def test_there_are_six_pairs() -> None:
    assert len(SOURCES) == 6
    assert [path.with_suffix(".txt") for path in SOURCES] == sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_what_is_shown_is_what_runs(path: Path) -> None:
    target = target_in(path)
    function = function_of(target)
    builder = builder_of(function)
    assert builder is not None
    rewritten = builder.rewrite()
    assert builder.compile(rewritten) == function.__code__
    assert ast.dump(ast.parse(show(target)).body[0]) == ast.dump(rewritten.node)
    assert set(function.__code__.co_freevars) <= {
        *rewritten.constants,
        *builder.function.__code__.co_freevars,
        "_tn_contract",
    }


def test_another_code_than_the_one_that_runs_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "edited.py"
    path.write_text((HERE / "plain.py").read_text())
    target = target_in(path)
    assert "self.fc1(images).relu()" in show(target)
    path.write_text(path.read_text().replace(".relu()", ".tanh()"))
    with pytest.raises(ValueError, match=r"Target\.forward cannot be shown: its file was changed"):
        show(target)
    function = function_of(target)
    path.write_text((HERE / "plain.py").read_text())
    function.__code__ = function.__code__.replace(co_consts=(*function.__code__.co_consts, 1))
    with pytest.raises(ValueError, match="cannot be shown"):
        show(target)


def test_names_that_exist_only_while_the_function_is_defined() -> None:
    Images = Float[Tensor, "batch 3"]

    @tn.contract
    def local(x: Images) -> Tensor:  # type: ignore[valid-type]
        y: Images = x + 1  # type: ignore[valid-type]
        return y

    builder = builder_of(local)
    assert builder is not None
    assert vars(builder.names)["_locals"] == {}, "nothing of the frame stays alive"
    assert "y.shape == (_tn_axis_batch, 3)" in show(local)


def test_every_checked_method_of_a_class_under_its_decorators() -> None:
    class Net(tn.Module):
        @torch.no_grad()
        def forward(self, x: Float[Tensor, "n"]) -> Tensor:
            return self.twice(self.forward_half(x))

        def forward_half(self, x: Float[Tensor, "n"]) -> Tensor:
            return x / 2

        @staticmethod
        @tn.contract
        def twice(x: Float[Tensor, "n"]) -> Tensor:
            return 2 * x

        def plain(self, x: Tensor) -> Tensor:
            return x

    class Child(Net):
        def forward_half(self, x: Float[Tensor, "n"]) -> Tensor:
            return x / 4

    text = show(Child())
    heads = re.findall(r"^# (\S+), ", text, re.MULTILINE)
    assert heads == ["Net.forward", "Child.forward_half", "Net.twice"]
    assert show(Net.forward) in show(Net)
    assert Child()(ones(1)).item() == 0.5


def test_a_function_without_source_is_shown_with_the_reason() -> None:
    namespace: dict[str, Any] = {"Float": Float, "Tensor": Tensor}
    exec('def f(x: Float[Tensor, "n"]):\n    return x', namespace)
    with pytest.warns(UserWarning, match="no usable source"):
        f = tn.contract(namespace["f"])
    assert "# no usable source: could not get source code\n" in show(f)
    assert "return _tn_original(x)" in show(f)


@pytest.mark.parametrize("target", ["tiny_vision_mlp", "tinynets:TinyVisionMLP"])
def test_the_command_shows_models(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", target]) == 0
    printed = capsys.readouterr().out
    assert printed == show(tn.TinyVisionMLP)
    assert "first.shape == (_tn_axis_batch, self.hidden)" in printed
    ast.parse(printed)


def test_the_command_shows_functions_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{HERE / 'loops.py'}:target"]) == 0
    assert "# target, loops.py:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("resnet21", "no model is called 'resnet21'"),
        ("nowhere.py:f", "there is no file nowhere.py"),
        ("torch.nn:Linear", "torch.nn:Linear: Linear has no checked function"),
        ("torch:relu", "relu has no checked function"),
        ("tinynets:nothing", "tinynets has no nothing"),
        ("tinynets:__version__", "str has no checked function"),
    ],
)
def test_a_wrong_target_is_one_line(target: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", target]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
