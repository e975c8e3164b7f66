"""The text of the errors is part of the product: compared whole with golden files.

`TINYNETS_OVERWRITE=1 pytest tests/contract/test_messages.py` writes them anew; read the diff.
"""

import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import tinynets as tn

HERE = Path(__file__).parent


def load_lesson() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lesson", HERE / "lesson.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lesson"] = module
    spec.loader.exec_module(module)
    return module


lesson = load_lesson()


def images(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(*shape, dtype=dtype)


def with_other_head() -> Any:
    model = lesson.Classifier()
    model.head = torch.nn.Linear(8, 11)
    return model


def encoder_tokens(*shape: int) -> Any:
    return lesson.Encoder()(torch.ones(*shape))


CASES: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "channels_last": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(32, 28, 28, 1))),
    "channels_last_rgb": (tn.ShapeError, lambda: lesson.RgbNet()(images(8, 32, 32, 3))),
    "missing_batch": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(1, 28, 28))),
    "extra_axis": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(5, 1, 1, 28, 28))),
    "wrong_class_count": (tn.ShapeError, lambda: with_other_head()(torch.ones(32, 8))),
    "uint8_images": (tn.DtypeError, lambda: tn.TinyVisionMLP()(images(32, 1, 28, 28, dtype=torch.uint8))),
    "int64_images": (tn.DtypeError, lambda: tn.TinyVisionMLP()(images(32, 1, 28, 28, dtype=torch.int64))),
    "wrong_declaration": (tn.ShapeError, lambda: lesson.WrongDeclaration()(images(32, 1, 28, 28))),
    "grey_for_rgb": (tn.ShapeError, lambda: lesson.RgbNet()(images(8, 1, 32, 32))),
    "rgb_for_grey": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(8, 3, 28, 28))),
    "other_size": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(8, 1, 32, 32))),
    "nested_module": (tn.ShapeError, lambda: encoder_tokens(2, 5, 8)),
    "transposed": (tn.ShapeError, lambda: lesson.attend(torch.ones(2, 7, 4), torch.ones(2, 9, 4))),
    "variadic": (tn.ShapeError, lambda: lesson.attend(torch.ones(2, 3, 7, 4), torch.ones(5, 3, 4, 9))),
    "variadic_rank": (tn.ShapeError, lambda: lesson.attend(torch.ones(2, 3, 7, 4), torch.ones(3, 4, 9))),
    "too_few_axes": (tn.ShapeError, lambda: lesson.attend(torch.ones(4), torch.ones(4, 9))),
    "float_indices": (tn.DtypeError, lambda: lesson.embed(torch.ones(2, 3), [])),
    "item_of_a_list": (
        tn.ShapeError,
        lambda: lesson.embed(torch.ones(2, 3).long(), [torch.ones(2, 3), torch.ones(2, 4)]),
    ),
    "expression": (tn.ShapeError, lambda: lesson.upscale(torch.ones(2, 3), 1.0, torch.ones(4, 5))),
    "plain_type": (tn.ContractError, lambda: lesson.upscale(torch.ones(2, 3), "twice")),
    "numpy_array": (tn.ContractError, lambda: tn.TinyVisionMLP()(np.ones((4, 1, 28, 28)))),
    "list_of_tensors": (tn.ContractError, lambda: tn.TinyVisionMLP()([images(1, 28, 28)])),
    "no_channel": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(32, 28, 28))),
    "flattened": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(32, 784))),
    "one_image": (tn.ShapeError, lambda: tn.TinyVisionMLP()(images(28, 28))),
    "grey_for_in_channels": (tn.ShapeError, lambda: tn.models.CifarResNet()(images(4, 1, 32, 32))),
    "batch_with_labels": (
        tn.ContractError,
        lambda: lesson.RgbNet()((images(4, 3, 32, 32), torch.zeros(4).long())),
    ),
    "float64_images": (
        RuntimeError,
        lambda: tn.TinyVisionMLP()(images(4, 1, 28, 28, dtype=torch.float64)),
    ),
    "other_device": (RuntimeError, lambda: tn.TinyVisionMLP()(images(4, 1, 28, 28).to("meta"))),
    "axis_never_set": (AttributeError, lambda: lesson.NeverSet()(torch.ones(2, 4))),
    "transposed_matmul": (RuntimeError, lambda: lesson.Fails()(torch.ones(3, 5))),
    "one_value_per_channel": (ValueError, lambda: tn.models.CifarResNet()(images(1, 3, 4, 4))),
    "torch_error": (RuntimeError, lambda: lesson.Fails()(torch.ones(3, 7))),
    "torch_error_nested": (RuntimeError, lambda: lesson.Outer()(torch.ones(3, 7))),
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    kind, call = CASES[name]
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    text = "".join(traceback.format_exception_only(error))
    if not issubclass(kind, tn.ContractError):
        text = text.replace(str(error), "what torch says")  # in the words of its version
    text = re.sub(r"line \d+ of residual", "line N of residual", text)  # a file of the library
    golden = HERE / "goldens" / f"{name}.txt"
    if os.environ.get("TINYNETS_OVERWRITE") == "1":
        golden.write_text(text)
    assert text == golden.read_text()
    assert len(text.splitlines()) <= 12
    assert all(len(line) <= 130 for line in text.splitlines())


@pytest.mark.parametrize(
    "name", [name for name, (kind, _) in CASES.items() if issubclass(kind, tn.ContractError)]
)
def test_the_error_is_one_error_that_ends_in_the_users_own_line(name: str) -> None:
    with pytest.raises(tn.ContractError) as caught:
        CASES[name][1]()
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert Path(last.filename).name in ("mlp.py", "resnet.py", "lesson.py")


def test_group_norm_is_not_taken_for_batch_norm() -> None:
    class Grouped(tn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.GroupNorm(8, 8)

        def forward(
            self, maps: Float[Tensor, "batch 8 height width"]
        ) -> Float[Tensor, "batch 8 height width"]:
            return self.norm(maps)

    with pytest.raises(ValueError, match="more than 1 value per channel") as caught:
        Grouped()(images(1, 8, 1, 1))
    (note,) = caught.value.__notes__
    assert "in Grouped.forward" in note
    assert "BatchNorm" not in note


def test_fields_say_it_for_programs() -> None:
    with pytest.raises(tn.ShapeError) as caught:
        with_other_head()(torch.ones(32, 8))
    error = caught.value
    assert (error.where, error.axis) == ("logits", 1)
    assert (error.expected, error.got) == ("float [batch num_classes]", "float32 [32 11]")
    assert error.bindings == {"batch": 32, "num_classes": 10}
    assert error.module_path == ""
    with pytest.raises(tn.ShapeError) as caught:
        encoder_tokens(2, 5, 8)
    assert caught.value.module_path == "blocks.2"


def test_no_tensor_values_in_any_message() -> None:
    secret = torch.full((4, 28, 28, 1), 123456.0)
    with pytest.raises(tn.ShapeError) as caught:
        tn.TinyVisionMLP()(secret)
    assert "123456" not in str(caught.value) + repr(vars(caught.value))


def test_a_remedy_is_named_only_where_the_numbers_support_it() -> None:
    with pytest.raises(tn.ShapeError) as caught:
        tn.TinyVisionMLP()(images(4, 29, 28, 1))
    assert "permute" not in str(caught.value)
    with pytest.raises(tn.ShapeError) as caught:
        tn.TinyVisionMLP()(images(2, 29, 28))
    assert "unsqueeze" not in str(caught.value)


def test_an_error_that_accepts_no_note_is_not_replaced() -> None:
    class OwnError(RuntimeError):
        def add_note(self, note: str) -> None:
            raise ValueError("no notes")

    @tn.contract
    def f(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        raise OwnError("mine")

    with pytest.raises(OwnError, match="mine"):
        f(torch.ones(2))


def test_what_a_handler_inside_a_forward_swallows() -> None:
    @tn.contract
    def inside(x: Float[Tensor, "n"]) -> Tensor:
        try:
            y: Float[Tensor, "n 3"] = x
        except TypeError:  # a ShapeError is one
            return torch.zeros(0)
        return y

    @tn.contract
    def around(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        try:
            return x[1:]
        except tn.ShapeError:
            return x

    @tn.contract
    def arguments(x: Float[Tensor, "n 3"]) -> Tensor:
        try:
            return x
        except Exception:
            return x

    assert len(inside(torch.ones(2))) == 0
    assert len(around(torch.ones(2))) == 2
    with pytest.raises(tn.ShapeError):
        arguments(torch.ones(2))
