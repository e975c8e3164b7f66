"""The flow of a forward pass, and its picture as a file that stands alone."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import tinynets as tn
from tinynets._explain.render.flow import Flow, flow
from tinynets._explain.render.picture import _lanes

from .arrows import arrows_of_fx, arrows_of_picture

SVG = "{http://www.w3.org/2000/svg}"


class Block(tn.Module):
    """Two ways around: one added by name, one chosen by a condition."""

    width: int

    def __init__(self, width: int, *, project: bool) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.project = nn.Linear(width, width) if project else None

    def forward(self, rows: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        alias = rows
        mixed = alias + self.linear(self.norm(alias))
        carried = rows if self.project is None else self.project(mixed)
        last: Float[Tensor, "batch width"] = F.relu(mixed * carried)
        return last


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alike = nn.Sequential(*(Block(6, project=True) for _ in range(3)))
        self.unlike = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 4))

    def forward(self, rows: Float[Tensor, "batch 6"]) -> Tensor:
        first = self.alike(rows)
        return self.unlike(first)


def flow_of(model: nn.Module) -> Flow:
    return flow(tn.explain(model).run.frame)


def titles(found: Flow) -> list[str]:
    return [box.title for box in found.boxes]


def test_a_sum_with_a_call_shows_the_way_around() -> None:
    found = flow_of(Block(6, project=False))
    assert titles(found) == ["rows", "norm > linear", "add", "mul > relu"]
    assert found.arrows == [(0, 1), (0, 2), (1, 2), (2, 3), (0, 3)]
    assert [box.kind for box in found.boxes] == ["input", "step", "step", "output"]
    assert found.boxes[-1].result.shape == ("batch", "width")


def test_only_the_branch_that_ran_is_read() -> None:
    found = flow_of(Block(6, project=True))
    assert titles(found) == ["rows", "norm > linear", "add", "project", "mul > relu"]
    assert (2, 3) in found.arrows
    assert (0, 3) not in found.arrows
    assert (0, 4) not in found.arrows


def test_alike_items_are_one_box_and_unlike_ones_several() -> None:
    boxes = flow_of(Stack()).boxes
    assert [(box.title, box.holds) for box in boxes] == [
        ("rows", ""),
        ("alike", "Block x3"),
        ("unlike.0", "Linear"),
        ("unlike.1", "Linear"),
        ("unlike.2", "Linear"),
    ]
    assert [box.result.sizes[1] for box in boxes] == [6, 6, 5, 4, 4]
    assert boxes[-1].kind == "output"


class Foreign(nn.Module):
    """What the models of other libraries do: a method for everything, one name for all, calls side by side."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("first", "second", "left", "right", "third", "head"):
            setattr(self, name, nn.Linear(6, 6))

    def _mix(self, parts: list[Tensor]) -> Tensor:
        x = torch.cat(parts, 1)
        return self.third(x[:, :6])

    def _forward_impl(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.second(x)
        x = torch.cat([self.left(x), self.right(x)])
        x = self._mix([x, x])
        x = self.head(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self._forward_impl(x)


def test_arrows_are_those_of_the_graph() -> None:
    found = arrows_of_picture(Foreign(), "batch 6")
    assert found == arrows_of_fx(Foreign())
    assert {("first", "second"), ("first", "left"), ("left", "third"), ("head", "<output>")} <= found
    assert len(found) == 10


def test_arrows_side_by_side_do_not_share_a_lane() -> None:
    lanes = _lanes([(0, 4), (1, 3), (4, 6), (2, 5)])
    for first in lanes:
        for second in lanes:
            overlap = first != second and first[0] < second[1] and second[0] < first[1]
            assert not overlap or lanes[first] != lanes[second]
    assert lanes[1, 3] == lanes[4, 6] == 0


@pytest.mark.slow
def test_the_file_stands_alone(tmp_path: Path) -> None:
    model = Stack()
    block = tn.explain(model.alike[0])
    path = tn.explain(model).to_svg(tmp_path / "stack.svg", block)
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label") == "The forward pass of Stack"
    assert "prefers-color-scheme:dark" in text
    assert "currentColor" in text
    assert not re.findall(r"(?:href|src|@import|url\((?!#flow-tip))", text)
    # Nothing is coloured by a variable that the file does not set.
    assert set(re.findall(r"var\((--\w+)\)", text)) <= set(re.findall(r"(--\w+):", text))
    words = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert {"[batch, width]", "[batch, 6]", "5", "Block x3", "unlike.1"} <= set(words)
    assert next(word for word in words if word.startswith("Stack")).endswith("parameters")


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_4"])
def test_labels_and_arrows_stay_inside(name: str, tmp_path: Path) -> None:
    path = tn.explain(tn.create_model(name).layer2[0]).to_svg(tmp_path / "layer.svg")
    root = ElementTree.parse(path).getroot()
    width, height = int(root.get("width", "")), int(root.get("height", ""))
    for path in root.iter(f"{SVG}path"):
        numbers = [int(number) for number in re.findall(r"\d+", path.get("d", ""))]
        assert max(numbers) <= max(width, height) - 16
    for text in root.iter(f"{SVG}text"):
        if text.get("text-anchor") != "end":
            assert int(text.get("x", "")) + 7 * len("".join(text.itertext())) <= width
