"""Functions that read their own name or that of their class."""

import importlib.util
import inspect
import sys
import warnings
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
import torch.nn.modules as torch_modules
from jaxtyping import Float
from torch import Tensor, ones

import tinynets as tn
from tinynets._contract.codegen.source import compile_function, function_node

TEXT = """
from jaxtyping import Float
from torch import Tensor, ones

import tinynets as tn


class Net(tn.Module):
    SCALE = 2
    count = 0

    def __init__(self) -> None:
        super(Net, self).__init__()
        Net.count += 1
        self.__private = 3

    def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        assert isinstance(self, Net)
        return self.__private * Net.SCALE * x if x.numel() < 9 else x[1:]


class Child(Net):
    def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return super(Child, self).forward(x) + 1

    class Inner(tn.Module):
        def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return x + Child.SCALE


@tn.contract
def factorial(x: Float[Tensor, ""]) -> Float[Tensor, ""]:
    return x * factorial(x - 1) if x > 1 else ones(1 if x == 0 else ())


class forward(tn.Module):
    def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return x if isinstance(self, forward) else -x
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path: Path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(TEXT)
    spec = importlib.util.spec_from_file_location("own", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec.loader.exec_module(module)
    return module


def test_a_method_that_reads_its_class(module: ModuleType) -> None:
    before = module.Net.count
    assert module.Net()(ones(2)).tolist() == [6, 6]
    assert module.Net.count == before + 1
    with pytest.raises(tn.ShapeError, match="Net returned axis 0 = 8, expected n = 9"):
        module.Net()(ones(9))


def test_super_with_arguments_and_an_inner_class(module: ModuleType) -> None:
    assert module.Child()(ones(2)).tolist() == [7, 7]
    assert module.Child.Inner()(ones(2)).tolist() == [3, 3]
    assert module.forward()(ones(2)).tolist() == [1, 1]
    with pytest.raises(tn.ShapeError):
        module.Child.Inner()(ones(2, 2))


def test_a_name_that_is_bound_anew_is_followed(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    net = module.Net()

    class Other(module.Net):
        SCALE = 5

    monkeypatch.setattr(module, "Net", Other)
    with pytest.raises(AssertionError):
        net(ones(1))


def test_a_recursive_function(module: ModuleType) -> None:
    assert module.factorial(ones(()) * 5).item() == 120
    with pytest.raises(tn.ShapeError, match="factorial returned"):
        module.factorial(ones(()) * 0)


def test_inside_a_function() -> None:
    @tn.contract
    def half(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return half(x / 2) if x.sum() > 1 else x

    class Net(tn.Module):
        SCALE = 2

        def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return half(Net.SCALE * super().extra(x))

        def extra(self, x: Tensor) -> Tensor:
            return x

    class Base(Net):
        def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return super().forward(x)

    with pytest.raises(AttributeError):
        Net()(ones(2))
    assert half(ones(2)).tolist() == [0.5, 0.5]


def functions_of_torch() -> list[FunctionType]:
    found: dict[int, FunctionType] = {}
    for name, module in sys.modules.items():
        if name.startswith(torch_modules.__name__):
            for kind in vars(module).values():
                if isinstance(kind, type) and kind.__module__ == name:
                    found |= {
                        id(f): f
                        for f in vars(kind).values()
                        if isinstance(f, FunctionType)
                        and f.__module__ == name
                        and f.__code__.co_filename == module.__file__
                    }
    return sorted(found.values(), key=lambda f: (f.__code__.co_filename, f.__code__.co_firstlineno))


@pytest.mark.slow
def test_every_method_of_torchs_own_modules_reads_the_same_names() -> None:
    functions = functions_of_torch()
    own = 0
    for function in functions:
        function = inspect.unwrap(function)
        node, _ = function_node(function)
        code = compile_function(node, function)
        assert code.co_freevars == function.__code__.co_freevars, function.__qualname__
        assert code.co_names == function.__code__.co_names, function.__qualname__
        assert code.co_varnames == function.__code__.co_varnames, function.__qualname__
        own += function.__qualname__.split(".")[0] in code.co_names
    assert len(functions) > 500
    assert own > 10
