"""Checks leave nothing behind: no tensor kept alive, no name that is seen, nothing evaluated twice."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import AnnotationError, Float
from torch import Tensor, nn, ones

import tinynets as tn

Row = Float[Tensor, "n"]


class TestNothingIsKeptAlive:
    @pytest.fixture(autouse=True)
    def _no_collector(self) -> Iterator[None]:
        gc.collect()
        gc.disable()
        yield
        gc.enable()

    @pytest.mark.parametrize("on", [True, False])
    @pytest.mark.slow
    def test_a_value_dies_with_its_name(self, on: bool) -> None:
        alive: list[bool] = []

        @tn.contract
        def f(x: Row) -> Row:
            pair: tuple[Row, Row] = (x + 1, x + 2)
            named: dict[str, list[Row]] = {"a": [x + 3]}
            held: dict[int, Any] = {}
            held[0]: Row = x + 4
            watched = [weakref.ref(t) for t in (*pair, *named["a"], held[0])]
            del pair, named, held
            alive.extend(w() is not None for w in watched)
            return x

        with tn.checks(on):
            f(ones(2))
        assert alive == [False] * 4

    def test_a_generator_keeps_nothing_that_it_has_handed_out(self) -> None:
        @tn.contract
        def rows(x: Row) -> Iterator[Row]:
            for step in range(3):
                yield x + step

        made = rows(ones(2))
        for row in made:
            watched = weakref.ref(row)
            del row
            assert watched() is None

    def test_a_refused_value_dies_with_its_error(self) -> None:
        seen: list[Any] = []

        @tn.contract
        def f(x: Row, again: bool = False) -> Row:
            try:
                return torch.stack([x, x]) if not again else x
            except tn.ShapeError as error:
                seen.append(weakref.ref(error))
            assert seen[0]() is None
            return x

        f(ones(2))

    @pytest.mark.parametrize("kind", ["ours", "torch's"])
    @pytest.mark.slow
    def test_an_error_that_was_caught_is_gone(self, kind: str) -> None:
        watched: list[Any] = []

        @tn.contract
        def f(x: Row, y: Any) -> Row:
            large: Row = x + 1
            watched.append(weakref.ref(large))
            return y if kind == "ours" else large @ y

        with contextlib.suppress(tn.ShapeError, RuntimeError):
            f(ones(2), ones(3))
        assert watched[0]() is None


class PlainBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.up(x)
        wide = torch.relu(wide)
        pair = (x, self.down(wide))
        del wide
        x = pair[0] + pair[1]
        del pair
        return self.down(self.up(x))


class Block(tn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: Float[Tensor, "batch 8"]) -> Float[Tensor, "batch 8"]:
        wide: Float[Tensor, "batch 32"] = self.up(x)
        wide = torch.relu(wide)
        pair: tuple[Float[Tensor, "batch 8"], Float[Tensor, "batch 8"]] = (x, self.down(wide))
        del wide
        x = pair[0] + pair[1]
        del pair
        return self.down(self.up(x))


class Peak(torch.utils._python_dispatch.TorchDispatchMode):
    """Adds up the storages that are alive after each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._watch(tensor.untyped_storage())
        self.peak = max(self.peak, sum(self.live.values()))
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self.live:
            self.live[key] = storage.nbytes()
            weakref.finalize(storage, self.live.pop, key, None)


def peak_of(make: Callable[[], nn.Module], *, training: bool) -> int:
    torch.manual_seed(0)
    net = nn.Sequential(*(make() for _ in range(24)))
    images = ones(16, 8)
    with torch.set_grad_enabled(training), Peak() as watch:
        out = net(images)
        if training:
            out.sum().backward()
    return watch.peak


@pytest.mark.parametrize("training", [False, True])
def test_the_peak_memory_of_a_deep_net_is_that_of_the_unchecked_one(training: bool) -> None:
    checked = peak_of(Block, training=training)
    with tn.checks(False):
        assert peak_of(Block, training=training) == checked
    assert peak_of(PlainBlock, training=training) == checked


class TestNoNameIsSeen:
    def test_locals_vars_and_dir(self) -> None:
        seen: list[Any] = []

        @tn.contract
        def look(x: Row) -> Row:
            y: list[Row] = [x]
            seen.extend([locals(), vars(), dir()])
            seen.append(eval("x + 1", globals(), locals()))
            inner = lambda: sorted(locals())  # noqa: E731
            seen.append(inner())
            return y[0]

        look(ones(2))
        assert set(seen[0]) == set(seen[1]) == set(seen[2]) == {"x", "y", "seen"}
        assert isinstance(seen[2], list)
        assert seen[3].tolist() == [2, 2]
        assert seen[4] == []

    def test_vars_of_something_is_left_alone(self) -> None:
        @tn.contract
        def look(x: Row, namespace: Any) -> Any:
            return vars(namespace)

        class Names:
            pass

        assert look(ones(2), Names) is not None

    def test_a_frame_shows_no_tensor_under_a_generated_name(self) -> None:
        shown: list[dict[str, Any]] = []

        @tn.contract
        def f(x: Row) -> Row:
            pair: tuple[Row, Row] = (x, x)
            shown.append(dict(sys._getframe(0).f_locals))
            return pair[0]

        f(ones(2))
        generated = {name: value for name, value in shown[0].items() if name.startswith("_tn_")}
        assert generated
        assert not any(isinstance(value, Tensor) for value in generated.values())

    def test_a_name_of_the_checks_is_refused(self) -> None:
        with pytest.raises(AnnotationError, match="names that begin with `_tn_` .*; rename '_tn_value'"):

            @tn.contract
            def f(x: Row) -> Row:
                _tn_value = x
                return _tn_value


class TestNothingIsEvaluatedTwice:
    def test_annotations(self) -> None:
        namespace: dict[str, Any] = {"counts": []}

        def note(axes: str) -> Any:
            namespace["counts"].append(axes)
            return Float[Tensor, axes]

        @tn.contract
        def f(x: note("a b")) -> note("a _"):
            held: list[Any] = [x]
            y: note("b a") = x.T
            held[0]: note("_ a") = y
            return x

        f(ones(2, 3))
        f(ones(2, 3))
        assert sorted(namespace["counts"]) == ["_ a", "a _", "a b", "b a"]

    def test_decorators_of_inner_functions(self) -> None:
        calls: list[str] = []

        def register(name: str) -> Callable[[Any], Any]:
            calls.append(name)
            return lambda function: function

        @tn.contract
        def f(x: Row) -> Row:
            @register("inner")
            def inner() -> Tensor:
                return x

            return inner()

        assert calls == []
        f(ones(2))
        assert calls == ["inner"]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
class TestWhatHasNoShape:
    def nested(self) -> Tensor:
        return torch.nested.nested_tensor([ones(2), ones(3)])

    @pytest.mark.parametrize("where", ["argument", "line", "return", "returned name", "item", "yield"])
    def test_a_nested_tensor_of_strided_layout(self, where: str) -> None:
        @tn.contract
        def f(x: Float[Tensor, "a b"] | None, y: Any, where: str) -> Float[Tensor, "a b"] | None:
            if where == "line":
                z: Float[Tensor, "a b"] = y
            if where == "item":
                items: list[Float[Tensor, "a b"]] = [y]
            if where == "return":
                return y + 0
            return y if where == "returned name" else None

        @tn.contract
        def g(y: Any) -> Iterator[Float[Tensor, "a b"]]:
            yield y

        def call() -> None:
            if where == "yield":
                next(g(self.nested()))
            f(self.nested() if where == "argument" else None, self.nested(), where)

        with pytest.raises(tn.ContractError, match=r"nested float32 tensor of strided layout") as caught:
            call()
        if where in ("line", "item", "yield"):  # of the others, a union is asked
            assert "layout=torch.jagged" in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__traceback__ is not None

    def test_in_an_error_of_torch(self) -> None:
        @tn.contract
        def f(x: Any, y: Row) -> Row:
            return y @ ones(7)

        with pytest.raises(RuntimeError) as caught:
            f(self.nested(), ones(2))
        assert "x nested float32 tensor of strided layout; y float32 [2]" in caught.value.__notes__[0]


def test_an_error_whose_note_cannot_be_added_is_not_hidden() -> None:
    class StubbornError(RuntimeError):
        def add_note(self, _: str) -> None:
            raise KeyError

    @tn.contract
    def f(x: Row) -> Row:
        raise StubbornError("what happened")

    with pytest.raises(StubbornError, match="what happened"):
        f(ones(2))
