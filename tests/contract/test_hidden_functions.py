"""A decorator turns no check off in silence: what it holds is enforced, or refused."""

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, overload

import pytest
from beartype import beartype
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import AnnotationError, Float, install_import_hook, jaxtyped
from torch import Tensor, ones

import tinynets as tn
from tinynets._contract.contract import contract_of

HOOKED = """
from jaxtyping import Float
from torch import Tensor
import tinynets as tn

class Net(tn.Module):
    def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        y: Float[Tensor, "n 99"] = x
        return y
"""


REGISTRY: list[Callable[..., Any]] = []


def keeper(how: str) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that keeps the function where no check can be inserted."""

    def decorate(function: Callable[..., Any]) -> Any:
        held = {"function": function}
        if how == "dict":
            return functools.update_wrapper(lambda *args: held["function"](*args), function)
        if how == "both":
            return functools.update_wrapper(lambda *args: (function, held["function"](*args))[1], function)
        if how == "global":
            REGISTRY.append(function)
            index = len(REGISTRY) - 1
            return lambda *args: REGISTRY[index](*args)
        return Method(function)

    return decorate


class Method:
    """A decorator that is a class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: type) -> Any:
        return functools.partial(self.function, instance)


def test_type_checkers_leave_the_checks_on() -> None:
    @beartype
    def under_another(self: Any, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        return x

    with pytest.warns(UserWarning, match="jaxtyping now prefers the syntax"):
        old_style = jaxtyped(under_another)  # type: ignore[call-overload]

    class Net(tn.Module):
        @jaxtyped(typechecker=beartype)
        def forward(self, x: Float[Tensor, "n 3"], bad: bool = False) -> Float[Tensor, "n 3"]:
            y: Float[Tensor, "n 99"] = x if bad else x.repeat(1, 33)
            return x

        @beartype
        def forward_beartype(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
            y: Float[Tensor, "n 99"] = x
            return y

        forward_old = old_style

    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert net(ones(2, 3)).shape == (2, 3)
    with pytest.raises(tn.ShapeError, match="y has axis 1 = 3, expected 99"):
        net(ones(2, 3), True)
    with pytest.raises(tn.ShapeError, match="y has axis 1 = 3, expected 99"):
        net.forward_beartype(ones(2, 3))
    with pytest.raises(tn.ShapeError):
        net.forward_old(ones(2, 4))
    assert contract_of(Net.forward).original is not Net.forward


def test_the_import_hook_of_jaxtyping(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hooked.py").write_text(HOOKED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hooked", raising=False)
    with install_import_hook("hooked", "beartype.beartype"):
        import hooked  # type: ignore[import-not-found]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tn.ShapeError, match="expected 99"):
            hooked.Net()(ones(2, 3))


def test_a_class_that_beartype_decorates() -> None:
    @beartype
    class Net(tn.Module):
        def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Net()(ones(2, 3))
    with pytest.raises(BeartypeCallHintParamViolation):  # its check comes first
        Net()(ones(2, 4))


def test_a_function_deep_in_closures_and_defaults() -> None:
    def deep(function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*args: Any, _call: Any = function) -> Any:
            return _call(*args)

        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            wrapper.calls += 1  # type: ignore[attr-defined]
            return inner(*args)

        wrapper.calls = 0  # type: ignore[attr-defined]
        return wrapper

    class Net(tn.Module):
        @deep
        def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
            return x

    Net()(ones(2, 3))
    with pytest.raises(tn.ShapeError):
        Net()(ones(2, 4))
    assert Net.forward.calls == 2  # type: ignore[attr-defined]


def test_a_decorator_that_does_not_say_what_it_wraps() -> None:
    def silent(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: function(*args)

    class Net(tn.Module):
        width: int = 3

        @silent
        def forward(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
            return x

        @silent
        def plain(self, x: int) -> int:
            return x

    Net()(ones(2, 3))
    with pytest.raises(tn.ShapeError, match="expected width = 3"):
        Net()(ones(2, 4))


@pytest.mark.parametrize("how", ["dict", "object", "global", "both"])
def test_a_decorator_that_keeps_the_function_elsewhere_is_refused(how: str) -> None:
    with pytest.raises(AnnotationError, match="put @tinynets.contract directly above the def"):

        class Net(tn.Module):
            @keeper(how)
            def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
                return x

    class Told(tn.Module):
        @keeper(how)
        @tn.contract
        def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
            return x

        @keeper(how)
        def unannotated(self, x: Any) -> Any:
            return x

    Told()(ones(2, 3))
    with pytest.raises(tn.ShapeError):
        Told()(ones(2, 4))


def test_the_axes_of_the_class_under_such_a_decorator() -> None:
    with pytest.raises(AnnotationError, match=r"'width' cannot be that of the class; write \{self.width\}"):

        class Net(tn.Module):
            width: int = 3

            @keeper("dict")
            @tn.contract
            def forward(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
                return x


def test_overloads_are_no_hidden_functions() -> None:
    class Net(tn.Module):
        @overload
        def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]: ...
        @overload
        def forward(self, x: int) -> int: ...
        def forward(self, x: Any) -> Any:
            return x

    assert Net()(3) == 3
