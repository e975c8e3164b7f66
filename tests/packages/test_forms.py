"""Every form met in the wild: true annotations pass, lies are found, and the function stays the same object."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle

import pytest
import torch

import tinynets as tn

ones = torch.ones


def test_true_annotations_pass(forms) -> None:
    f, c = forms.functions, forms.classes
    f.add(ones(2, 3), ones(2, 3))
    assert f.lines(ones(2, 3)) == 6
    f.alias(ones(1, 3, 4, 4))
    assert f.plain("no number") == "no number"
    f.defaults(ones(2))
    f.defaults(ones(2), 1.0)
    f.tower(ones(2), (ones(2), 3))
    f.broadcast(ones(1, 3), ones(4, 3))
    f.variadic(ones(2), x=ones(2))
    f.choice([ones(2), ones(2)], "sum")
    f.generic(ones(2), lambda x: x)
    f.for_checkers(ones(2), ones(3))
    f.unknown(ones(2), None)
    f.consumed(iter([ones(2)]))
    f.leaves(ones(2))
    f.computed(ones(2))
    f.recursive(ones(3))
    f.cached(3)
    assert len(list(f.items(ones(2, 3)))) == len(list(f.delegated(ones(2, 3)))) == 2
    f.outer(2)(ones(2))
    assert torch.equal(f.scripted(ones(2)), ones(2) * 2)
    f.unchecked(ones(3))
    assert f.either(1) == 1
    f.ruled(ones(2), lambda x: x)
    f.sizes(ones(2, dtype=torch.int64))
    f.typo(ones(2, 3), ones(2, 3))
    f.by_beartype(1)
    assert c.Flat(2).private(ones(2), _Flat__k=ones(2)).tolist() == [2, 2]


def test_a_dataclass_has_its_own_axes(forms) -> None:
    c = forms.classes
    rays = c.Rays(ones(2, 3), [[0.0, 0.0, 1.0]] * 2)  # `__post_init__` makes a tensor of it
    merged = rays.merge(c.Rays(ones(5, 3), ones(5, 3)))
    assert merged.origins.shape == (7, 3)
    assert c.merge_all(rays, merged)[0] is rays
    assert c.Sphere(ones(3), ones(3)).radius == 1
    assert copy.replace(rays) if hasattr(copy, "replace") else True
    masked = c.Masked(ones(2, dtype=torch.int64), {"sum": 1}, ones(2))
    assert masked.callbacks(None, ones(2)).tolist() == [1, 1]
    assert pickle.loads(pickle.dumps(c.Box(ones(2), ones(2)))).low.tolist() == [1, 1]


def test_a_class_without_tensors_keeps_its_constructor(forms) -> None:
    watchful = forms.classes.Watchful("name")
    assert watchful.caller == "test_a_class_without_tensors_keeps_its_constructor"


def test_a_typed_dict_has_its_own_axes(forms) -> None:
    c = forms.classes
    small = {"images": ones(2, 4, 4), "weights": ones(2)}
    large = {"images": ones(3, 8, 8), "weights": ones(3)}
    assert c.train(small, large).shape == (3,)
    c.train_all([small, large, {}])
    with pytest.raises(tn.ShapeError, match=r"^train\(batch\)\['weights'\]: axis 0 is 3"):
        c.train({**small, "weights": ones(3)}, large)
    with pytest.raises(tn.ShapeError, match=r"^train_all\(batches\)\[1\]\['images'\]: 2 axes, expected 3"):
        c.train_all([small, {"images": ones(2, 2)}])


LIES = {
    "add(y): axis 0 is 3, expected batch = 2": lambda f, c: f.add(ones(2, 3), ones(3, 3)),
    "false_line, functions.py:43: rows has axis 0 = 3, expected batch = 2": lambda f, c: f.false_line(
        ones(2, 3)
    ),
    "alias returned 3 axes, expected 4": lambda f, c: f.alias(ones(1, 3, 1, 4)),
    "defaults(scale): got str, expected float or float []": lambda f, c: f.defaults(ones(2), "2"),
    "tower(pair)[0]: axis 0 is 3, expected n = 2": lambda f, c: f.tower(ones(2), (ones(3), 1.0)),
    "broadcast(y): #*batch is [3], which cannot be broadcast with [2]": lambda f, c: f.broadcast(
        ones(2, 4), ones(3, 4)
    ),
    "variadic(named)['x']: axis 0 is 3, expected n = 2": lambda f, c: f.variadic(ones(2), x=ones(3)),
    "choice(x)[1]: axis 0 is 3, expected n = 2": lambda f, c: f.choice([ones(2), ones(3)], "sum"),
    "generic returned axis 0 = 1, expected n = 2": lambda f, c: f.generic(ones(2), lambda x: x[:1]),
    "items yielded axis 0 = 1, expected d = 2": lambda f, c: list(f.items(-ones(1, 2))),
    "later returned axis 0 = 2, expected n = 3": lambda f, c: asyncio.run(f.later(ones(3))),
    "inner returned axis 0 = 2, expected n = 3": lambda f, c: f.outer(2)(ones(3)),
    "by_jaxtyping(size): got str, expected int": lambda f, c: f.by_jaxtyping(ones(2), "2"),
    "sizes(x): float32, expected a signed integer dtype": lambda f, c: f.sizes(ones(2)),
    "Rays(directions): axis 0 is 3": lambda f, c: c.Rays(ones(2, 3), ones(3, 3)),
    "Sphere(radius): axis 0 is 3": lambda f, c: c.Sphere(ones(2, 3), ones(2, 3), 0.1, ones(3)),
    "Masked(mask): axis 0 is 3, expected n = 2": lambda f, c: c.Masked(ones(2), mask=ones(3)),
    "Box(high): axis 0 is 3, expected n = 2": lambda f, c: c.Box(ones(2), ones(3)),
    "Linear(x): 1 axis, expected 2": lambda f, c: c.Linear(3)(ones(3)),
    "Flat returned 2 axes, expected 1": lambda f, c: c.Flat(3)(ones(2, 3)),
    "Flat.size returned 1 axis, expected 0": lambda f, c: c.Flat(3).size,
    "Flat.size(value): 1 axis, expected 0": lambda f, c: setattr(c.Flat(3), "size", ones(1)),
    "Flat.of(x): 2 axes, expected 1": lambda f, c: c.Flat.of(ones(2, 2)),
    "Flat.pad(x): 2 axes, expected 1": lambda f, c: c.Flat.pad(ones(2, 2)),
    "Concrete.area returned axis 0 = 1, expected n = 2": lambda f, c: c.Concrete().area(ones(2)),
    "recursive(x): 2 axes, expected 1": lambda f, c: f.recursive(ones(2, 2)),
}


@pytest.mark.parametrize("text", LIES)
def test_a_lie_is_found(text: str, forms) -> None:
    with pytest.raises(tn.ContractError) as caught:
        LIES[text](forms.functions, forms.classes)
    assert str(caught.value).startswith(text)


def test_a_lie_stops_the_function_where_it_is_told(forms) -> None:
    forms.functions.calls.clear()
    with pytest.raises(tn.ShapeError):
        forms.functions.false_line(ones(2, 3))
    assert forms.functions.calls == []


def test_the_function_is_the_same_object_with_the_same_signature(forms) -> None:
    f = forms.functions
    before = f.add
    f.add(ones(2, 3), ones(2, 3))
    assert before is f.add is f.registry["add"] is forms.add
    assert str(inspect.signature(f.add)).startswith("(x: jaxtyping.Float[Tensor, 'batch d'], y")
    assert f.add.__doc__ == "Add two tensors."
    assert pickle.loads(pickle.dumps(f.add)) is f.add
    assert inspect.isgeneratorfunction(f.items)
    assert inspect.iscoroutinefunction(f.later)
    assert inspect.isasyncgenfunction(f.stream)
    assert inspect.getsource(f.add).startswith("@register\ndef add(")


def test_an_async_generator(forms) -> None:
    async def collect() -> list[torch.Size]:
        return [row.shape async for row in forms.functions.stream(ones(2, 3))]

    assert asyncio.run(collect()) == asyncio.run(collect()) == [(3,), (3,)]


def test_jaxtypings_own_decorator_does_not_check_once_more(forms) -> None:
    f = forms.functions
    assert not hasattr(f.by_jaxtyping, "__wrapped__")
    f.by_jaxtyping(ones(2), 2)
    with pytest.raises(Exception, match="int"):
        f.by_beartype("2")  # it has no tensors: beartype still does its work


def test_checks_can_be_turned_off(forms) -> None:
    f = forms.functions
    with tn.checks(False):
        assert f.false_line(ones(2, 3)) is None
    with pytest.raises(tn.ShapeError):
        f.false_line(ones(2, 3))
