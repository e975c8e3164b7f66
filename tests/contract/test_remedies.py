"""Remedies are true: each one that is printed is applied here, and the same error does not come again."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import AnnotationError, Bool, Complex, Float, Float32, Int, Num, UInt8
from torch import Tensor, nn, ones

import tinynets as tn

CODE = re.compile(
    r"torch\.(?:from_numpy|stack|cat)\([^)]*\)|(?:x|the output)\S*?\.(?:mT|[a-z_0-9]+\([^)]*\)+)(?: / 255)?|x\[[^]]+\](?=\.?$)"
)


def remedy(error: Exception) -> str:
    """Return the code in the lines below the table of an error, or an empty string."""
    lines = [line for line in str(error).splitlines()[1:] if not re.match(r"  (expected|got|>) ", line)]
    found = CODE.findall("\n".join(lines))
    return found[0] if found else ""


def refused(function: Callable[..., Any], *values: Any) -> tn.ContractError:
    with pytest.raises(tn.ContractError) as caught:
        function(*values)
    return caught.value


def apply(code: str, value: Any) -> Any:
    return eval(code, {"torch": torch, "x": value})


@tn.contract
def images(x: Float[Tensor, "batch 3 height width"]) -> None: ...


@tn.contract
def grey(x: Float[Tensor, "batch 1 height width"]) -> None: ...


@tn.contract
def one_size(x: Float[Tensor, "batch 3 4 5"]) -> None: ...


@tn.contract
def rows(x: Float[Tensor, "batch 4"]) -> None: ...


@tn.contract
def array(x: Float[np.ndarray, "batch 4"]) -> None: ...


@tn.contract
def parameter(x: Float[nn.Parameter, "batch 4"]) -> None: ...


@tn.contract
def anything(x: Float[Any, "batch 4"]) -> None: ...


@tn.contract
def labels(x: Int[Tensor, "batch"]) -> None: ...


@tn.contract
def mask(x: Bool[Tensor, "batch"]) -> None: ...


@tn.contract
def single(x: Float32[Tensor, "batch"]) -> None: ...


@tn.contract
def cat(x: Float[Tensor, "6 4"]) -> None: ...


TRUE = {
    "channels last": (images, ones(2, 5, 6, 3), "x.permute(0, 3, 1, 2)"),
    "grey": (images, ones(2, 1, 5, 6), "x.expand(-1, 3, -1, -1)"),
    "colour": (grey, ones(2, 3, 5, 6), "x.mean(1, keepdim=True)"),
    "one sample": (images, ones(3, 5, 6), "x.unsqueeze(0)"),
    "an axis of one": (rows, ones(2, 1, 4), "x.squeeze(1)"),
    "transposed": (rows, ones(4, 2), "x.mT"),
    "pixels": (rows, ones(2, 4, dtype=torch.uint8), "x.float() / 255"),
    "integers": (rows, ones(2, 4, dtype=torch.int64), "x.float()"),
    "float labels": (labels, ones(2), "x.long()"),
    "float mask": (mask, ones(2), "x.to(torch.bool)"),
    "double": (single, ones(2, dtype=torch.float64), "x.to(torch.float32)"),
    "numpy": (rows, np.ones((2, 4)), "torch.from_numpy(x)"),
    "no channel": (grey, ones(2, 5, 6), "x.unsqueeze(1)"),
    "flattened": (one_size, ones(2, 60), "x.unflatten(1, (3, 4, 5))"),
    "one image": (grey, ones(5, 6), "x[None, None]"),
    "a batch with labels": (rows, (ones(2, 4), ones(2)), "x[0]"),
    "a list": (rows, [ones(4), ones(4)], "torch.stack(x)"),
    "a list of batches": (cat, [ones(2, 4), ones(4, 4)[:2], ones(2, 4)], "torch.cat(x)"),
}


@pytest.mark.parametrize("name", TRUE)
def test_a_remedy_is_accepted(name: str) -> None:
    function, value, code = TRUE[name]
    assert remedy(refused(function, value)) == code
    function(apply(code, value))


NONE = {
    "a NumPy array is asked for, its shape is wrong": (array, np.ones((2, 5))),
    "a NumPy array is asked for, its dtype is wrong": (array, np.ones((2, 4), dtype=np.int64)),
    "a NumPy array is asked for, a tensor came": (array, ones(2, 4)),
    "any array is asked for, its shape is wrong": (anything, np.ones((2, 5))),
    "a parameter is asked for, an array came": (parameter, np.ones((2, 4))),
    "a NumPy array of strings": (rows, np.array([["a", "b", "c", "d"]])),
    "a list of numbers": (rows, [[1.0, 2.0, 3.0, 4.0]]),
    "an empty list": (rows, []),
    "two batches, which may be joined or not": (rows, (ones(2, 5), ones(3))),
    "as many numbers as two samples": (one_size, ones(1, 120)),
    "tensors of several shapes": (rows, [ones(4), ones(5)]),
    "tensors that fit neither stacked nor joined": (rows, [ones(5), ones(5)]),
    "the mean of integers": (grey, ones(2, 3, 5, 6, dtype=torch.uint8)),
    "complex numbers": (single, ones(2, dtype=torch.complex64)),
}


@pytest.mark.parametrize("name", NONE)
def test_what_would_not_help_is_not_said(name: str) -> None:
    function, value = NONE[name]
    error = refused(function, value)
    assert remedy(error) == ""
    assert "Convert" not in str(error)


class TestContainers:
    """An item is compared with what the items before it have bound."""

    def test_an_item(self) -> None:
        @tn.contract
        def f(x: list[Float[Tensor, "batch n"]]) -> None: ...

        items = [ones(2, 3), ones(3, 2)]
        assert remedy(refused(f, items)) == "x[1].mT"
        items[1] = items[1].mT
        f(items)

    def test_a_remedy_that_only_helps_without_the_other_items(self) -> None:
        @tn.contract
        def f(x: list[Float[Tensor, "batch n"]]) -> None: ...

        assert remedy(refused(f, [ones(2, 3), ones(3)])) == ""  # as a batch of one it would not fit either
        assert remedy(refused(f, [ones(1, 3), ones(3)])) == "x[1].unsqueeze(0)"

    def test_an_item_of_the_output_is_named(self) -> None:
        @tn.contract
        def f(y: Tensor) -> tuple[Float[Tensor, "n"], Float[Tensor, "1 n"]]:
            return y, y

        assert remedy(refused(f, ones(2))) == "the output[1].unsqueeze(0)"

    def test_the_layer_of_an_item_cannot_be_told(self) -> None:
        class Net(tn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one = nn.Linear(3, 4)

            def forward(self, x: Float[Tensor, "batch 3"], y: Tensor) -> Tensor:
                both: tuple[Float[Tensor, "batch 4"], Float[Tensor, "batch 5"]] = (self.one(x), y)
                return both[0]

        error = refused(Net(), ones(2, 3), ones(2, 4))
        assert "Linear" not in str(error)


class TestLayers:
    class Net(tn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.one = nn.Linear(3, width)

        def forward(self, x: Float[Tensor, "batch 3"], more: int = 0) -> Float[Tensor, "batch 5"]:
            y: Float[Tensor, "batch 5"] = self.one(x[more:])
            return y

    def test_the_layer_that_made_the_size_is_named(self) -> None:
        error = refused(self.Net(4), ones(2, 3))
        assert "one is Linear(3, 4), which gives this size" in str(error)

    def test_a_batch_that_happens_to_have_the_size_of_a_layer(self) -> None:
        assert "Linear" not in str(refused(self.Net(5), ones(6, 3), 1))


class TestMatmul:
    def note(self, function: Callable[..., Any], *values: Any) -> str:
        with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
            function(*values)
        return "".join(getattr(caught.value, "__notes__", []))

    def test_the_operand_that_fits_transposed_is_named(self) -> None:
        @tn.contract
        def product(x: Float[Tensor, "a b"], y: Float[Tensor, "c d"]) -> Tensor:
            return x @ y

        assert "second operand is transposed" in self.note(product, ones(3, 5), ones(4, 5))
        assert "first operand is transposed" in self.note(product, ones(3, 5), ones(3, 4))
        product(ones(3, 5).mT, ones(3, 4))
        assert "transposed" not in self.note(product, ones(3, 5), ones(4, 6))

    def test_batch_axes_that_torch_has_folded(self) -> None:
        @tn.contract
        def product(x: Float[Tensor, "n a b"], y: Float[Tensor, "c d"]) -> Tensor:
            return x @ y

        assert "transposed" not in self.note(product, ones(2, 3, 5), ones(6, 4))

    def test_the_weight_of_a_layer(self) -> None:
        class Net(tn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.one = nn.Linear(4, 8)

            def forward(self, x: Float[Tensor, "batch n"]) -> Tensor:
                return self.one(x)

        assert "transposed" not in self.note(Net(), ones(3, 8))


def test_a_wrong_number_of_axes_is_a_shape_error_where_others_are_computed() -> None:
    @tn.contract
    def f(x: Float[Tensor, "batch h 2*h"]) -> None: ...

    with pytest.raises(tn.ShapeError, match=r"f\(x\): 2 axes, expected 3"):
        f(ones(2, 3))
    f(ones(2, 3, 6))

    @tn.contract
    def g(x: Float[Tensor, "2*h"], y: Float[Tensor, "h"]) -> None: ...

    with pytest.raises(tn.ContractError):
        g(ones(2, 3), ones(2))


HINTS = {
    "Float": Float, "Float32": Float32, "Int": Int, "UInt8": UInt8, "Bool": Bool, "Num": Num, "Complex": Complex
}  # fmt: skip
AXES = ["batch 3 h w", "batch 1 h w", "batch 3 4 5", "n 4", "n n", "n 2*n", "*rest n", "1 n", "", "n m 3"]
DTYPES = [torch.float32, torch.float64, torch.uint8, torch.int64, torch.bool, torch.complex64]


def random_value(random: Random) -> Any:
    shape = [random.choice([1, 1, 2, 3, 3, 4, 5]) for _ in range(random.randrange(5))]
    value = torch.ones(shape, dtype=random.choice(DTYPES))
    how = random.random()
    if how < 0.1:
        return value.numpy()
    return [value] * random.randrange(1, 4) if how < 0.2 else value


def next_remedy(function: Callable[..., Any], value: Any, texts: list[str]) -> str:
    try:
        function(value)
    except tn.ContractError as error:
        texts.append(str(error))
        return remedy(error) if texts.count(str(error)) == 1 else ""
    except AnnotationError:
        pass  # `2*n` where `n` is not bound
    return ""


SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_remedy_leads_to_the_same_error(seed: int) -> None:
    random, applied = Random(seed), 0
    for _ in range(60):
        hint = HINTS[random.choice(list(HINTS))][Tensor, random.choice(AXES)]

        @tn.contract
        def f(x: hint) -> None: ...  # type: ignore[valid-type]

        value, texts = random_value(random), list[str]()
        while code := next_remedy(f, value, texts):
            value = apply(code, value)
            applied += 1
        assert len(set(texts)) == len(texts), texts
    assert applied > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_no_remedy_for_an_item_leads_to_the_same_error(seed: int) -> None:
    """Items before it have bound axes, which the remedy must fit too."""
    random, applied = Random(seed), 0
    for _ in range(60):
        family = HINTS[random.choice(["Float", "Float32", "Int", "Num"])]
        item = family[Tensor, random.choice(["n 4", "n m", "1 n m", "batch 3 h w", "n n", "*rest n"])]
        hint = random.choice([list[item], dict[str, item], list[item] | None])

        @tn.contract
        def f(x: hint) -> None: ...  # type: ignore[valid-type]

        made = [ones([random.choice([1, 2, 3, 4]) for _ in range(random.randrange(1, 5))]) for _ in range(3)]
        made = [tensor.to(random.choice(DTYPES[:4])) for tensor in made]
        value: Any = dict(zip("abc", made, strict=True)) if hint == dict[str, item] else made
        texts = list[str]()
        while code := next_remedy(f, value, texts):
            if found := re.match(r"x\[[^]]+\]", code.removeprefix("torch.from_numpy(")):
                exec(f"{found[0]} = {code}", {"x": value, "torch": torch})
                applied += 1
            else:
                break
        assert len(set(texts)) == len(texts), texts
    assert applied > 5
