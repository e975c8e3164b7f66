"""Every item of a container is checked, not a sample: beartype alone looks at one item in a list."""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar

import pytest
import torch
from jaxtyping import AnnotationError, Float, Int
from torch import Tensor

import tinynets as tn
from tinynets._contract.show import show

Row = Float[Tensor, "n"]


@dataclass
class Unresolved:
    path: "Path"  # type: ignore[name-defined]
    count: int = 0


@dataclass
class UnresolvedTensor:
    rows: "Flaot[Tensor, 'n']"  # type: ignore[name-defined]


class Output(NamedTuple):
    logits: Float[Tensor, "batch classes"]
    name: str


class Batch(TypedDict):
    images: Float[Tensor, "batch 3"]
    labels: Int[Tensor, "batch"]
    weights: NotRequired[Float[Tensor, "batch"]]


@dataclass
class AxisState:
    hidden: Float[Tensor, "n"]
    steps: int = 0


Bounded = TypeVar("Bounded", bound=Float[Tensor, "n"])
Rows = NewType("Rows", list[Row])


def good() -> Tensor:
    return torch.ones(3)


def bad() -> Tensor:
    return torch.ones(4)


CASES: list[tuple[Any, Any, Any, str]] = [
    (list[Row], [good()] * 10, [good()] * 9 + [bad()], r"\[9\]"),
    (Sequence[Row], (good(), good()), (good(), bad()), r"\[1\]"),
    (tuple[Row, ...], (good(),) * 5, (good(),) * 4 + (bad(),), r"\[4\]"),
    (tuple[Row, Row], (good(), good()), (good(), bad()), r"\[1\]"),
    (tuple[Row, int], (good(), 1), (good(), "1"), r"\[1\]: got str, expected int"),
    (deque[Row], deque([good(), good()]), deque([good(), bad()]), r"\[1\]"),
    (dict[str, Row], {"a": good(), "b": good()}, {"a": good(), "b": bad()}, r"\['b'\]"),
    (Mapping[str, Row], OrderedDict(a=good(), b=good()), OrderedDict(a=good(), b=bad()), r"\['b'\]"),
    (dict[str, Row], {"a": good()}, {1: good()}, "key 1: got 1, expected str"),
    (
        list[dict[str, tuple[Row, Row]]],
        [{"a": (good(), good())}],
        [{"a": (good(), bad())}],
        r"\[0\]\['a'\]\[1\]",
    ),
    (Output, Output(torch.ones(2, 5), "x"), Output(torch.ones(2), "x"), r"\.logits: 1 axis, expected 2"),
    (Output, Output(torch.ones(2, 5), "x"), Output(torch.ones(2, 5), 3), r"\.name: got 3, expected str"),
    (AxisState, AxisState(good()), AxisState(torch.ones(2, 2)), r"\.hidden: 2 axes, expected 1"),
    (list[AxisState], [AxisState(good())] * 2, [AxisState(good()), AxisState(bad())], r"\[1\]\.hidden"),
    (Row | None, None, torch.ones(2, 2), "2 axes, expected 1"),
    (
        Row | Int[Tensor, "n n"],
        torch.ones(2, 2).long(),
        torch.ones(2, 3).long(),
        r"axis 1 is 3, expected n",
    ),
    (Row | str | int, "x", 2.5, r"got 2.5, expected float \[n\] or str or int"),
    (list[Row] | None, [good(), good()], [good(), bad()], r"f\(value\)"),
    (tuple[Row, Row] | list[Row], [good(), good()], [good(), bad()], r"f\(value\)"),
    (list[Row | None], [good(), None, good()], [good(), None, bad()], r"f\(value\)"),
    (Annotated[Row, "a note"], good(), torch.ones(1, 1), "2 axes"),
    (Bounded, good(), torch.ones(1, 1), "2 axes"),
    (Rows, [good(), good()], [good(), bad()], r"\[1\]"),
    (Literal["a", "b"], "a", "c", r"f\(value\)"),
    (Callable[[int], Tensor], abs, 3, "got 3, expected"),
    (list[int], [1, 2], "12", "got str, expected list"),
    (list[Tensor], [good()] * 10, [*[good()] * 9, 1], r"\[9\]: got 1, expected Tensor"),
    (dict[str, Tensor], {"a": good(), "b": good()}, {"a": good(), "b": 1}, r"\['b'\]"),
    (tuple[Tensor, ...], (good(),) * 10, (*[good()] * 9, 1), r"\[9\]"),
    (tuple[Tensor, int], (good(), 1), (good(), good()), r"\[1\]"),
    (list[int], [1] * 10, [*[1] * 9, "1"], r"\[9\]: got str, expected int"),
    (dict[str, list[int | None]], {"a": [1, None]}, {"a": [1, "1"]}, r"\['a'\]\[1\]"),
    (tuple[()], (), (1,), r"got tuple of 1 \(1\), expected tuple\[\(\)\]$"),
    (
        tuple[*tuple[int, ...]],
        (1, 2),
        [1, 2],
        r"of 2 \(1, 2\), expected tuple\[\*tuple\[int, \.\.\.\]\]$",
    ),
    (
        tuple[Row, int] | Row,
        (good(), 1),
        (good(), "a"),
        r"got tuple of 2 \(float32 \[3\], str\), expected tuple of 2: float \[n\], int or float \[n\]$",
    ),
    (tuple[list[int], ...] | int, ([1],), (["a"],) * 5, r"got tuple of 5 \(list, list, list, \.\.\.\)"),
    (tuple, (1, "a"), [1], "got list"),
    (list[Any], [1, "a"], (1,), "got tuple"),
]


@pytest.mark.parametrize(("hint", "accepted", "refused", "message"), CASES, ids=range(len(CASES)))
def test_every_item_is_checked(hint: Any, accepted: Any, refused: Any, message: str) -> None:
    @tn.contract
    def f(value: hint) -> None:
        pass

    f(accepted)
    with pytest.raises(tn.ContractError, match=message):
        f(refused)


@pytest.mark.parametrize(("hint", "accepted", "refused", "message"), CASES, ids=range(len(CASES)))
def test_as_return_value_and_as_line(hint: Any, accepted: Any, refused: Any, message: str) -> None:
    @tn.contract
    def give(value: Any) -> hint:
        return value

    @tn.contract
    def hold(value: Any) -> None:
        held: hint = value

    for f in (give, hold):
        f(accepted)
        with pytest.raises(tn.ContractError):
            f(refused)


@dataclass
class Node:
    value: Float[Tensor, "n"]
    children: "tuple[Node, ...]" = ()


def test_a_tree_is_checked_at_its_root() -> None:
    @tn.contract
    def first(node: Node) -> Float[Tensor, "n"]:
        return node.value

    leaf = Node(torch.ones(2, 2))
    assert first(Node(torch.ones(3), (leaf,))).shape == (3,)
    with pytest.raises(tn.ShapeError, match=r"^first\(node\)\.value: 2 axes, expected 1"):
        first(leaf)
    with pytest.raises(tn.ContractError, match=r"^first\(node\)\.children\[0\]: got 3, expected Node"):
        first(Node(torch.ones(3), (3,)))  # type: ignore[arg-type]
    assert "# not checked: node: Node" in show(first)


def test_typed_dicts() -> None:
    @tn.contract
    def f(batch: Batch) -> None:
        pass

    images, labels = torch.ones(2, 3), torch.ones(2).long()
    f({"images": images, "labels": labels})
    f({"images": images, "labels": labels, "weights": torch.ones(2)})
    with pytest.raises(tn.ShapeError, match=r"\['weights'\]: axis 0 is 3, expected batch = 2"):
        f({"images": images, "labels": labels, "weights": torch.ones(3)})
    with pytest.raises(tn.DtypeError, match=r"\['labels'\]: float32, expected a signed integer dtype"):
        f({"images": images, "labels": torch.ones(2)})
    with pytest.raises(
        tn.ContractError, match="got dict of 1 item, expected dict with keys images, labels, weights"
    ):
        f({"images": images})  # type: ignore[typeddict-item]


def test_axes_bound_inside_a_container_are_shared_with_the_rest() -> None:
    @tn.contract
    def f(rows: list[Float[Tensor, "n"]], last: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return last

    assert f([], torch.ones(5)).shape == (5,)
    assert f([good()], good()).shape == (3,)
    with pytest.raises(tn.ShapeError, match=r"f\(last\): axis 0 is 4, expected n = 3"):
        f([good()], bad())


def test_a_failed_arm_of_a_union_binds_nothing() -> None:
    @tn.contract
    def f(
        value: tuple[Row, Int[Tensor, "n"]] | tuple[Float[Tensor, "m"], Float[Tensor, "n"]], n: Row
    ) -> None:
        pass

    f((torch.ones(3), torch.ones(7)), torch.ones(7))
    with pytest.raises(tn.ShapeError, match="expected n = 7"):
        f((torch.ones(3), torch.ones(7)), torch.ones(3))


def test_classes_whose_fields_do_not_resolve() -> None:
    @tn.contract
    def f(x: Row, config: Unresolved) -> None:
        pass

    f(good(), Unresolved("here"))
    with pytest.raises(
        AnnotationError, match=r"g, value: UnresolvedTensor.rows: name 'Flaot' is not defined"
    ):

        @tn.contract
        def g(value: UnresolvedTensor) -> None:
            pass


def test_a_jagged_tensor_is_refused_with_its_shape() -> None:
    @tn.contract
    def f(x: Float[Tensor, "batch length 8"]) -> None:
        pass

    f(torch.nested.nested_tensor([torch.ones(2, 8), torch.ones(3, 8)], layout=torch.jagged))
    with pytest.raises(tn.ShapeError, match="axis 2 is 7, expected 8"):
        f(torch.nested.nested_tensor([torch.ones(2, 7), torch.ones(3, 7)], layout=torch.jagged))
