"""docs/lesson.md runs, and its exercises have the answers that it promises."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tinynets as tn

LESSON = Path(__file__).parents[2] / "docs" / "lesson.md"


def run(program: str, name: str) -> dict[str, Any]:
    """Run a program whose source can be looked up, as that of a file or a notebook cell can."""
    linecache.cache[name] = (len(program), None, program.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "lesson"}
    exec(compile(program, name, "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def program() -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", LESSON.read_text(), re.MULTILINE | re.DOTALL))


def test_the_lesson_runs_from_top_to_bottom(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = run(program, "<lesson>")["model"]
    assert isinstance(model, tn.Module)
    assert model.training, "as it was before the lesson's blocks"
    printed = capsys.readouterr().out
    assert "axis 1 is 32, expected 3" in printed
    assert len(printed.splitlines()) <= 12


def test_one_image_without_a_batch_axis(program: str) -> None:
    lesson = run(program, "<lesson, exercise 1>")
    with tn.inference(lesson["model"]), pytest.raises(tn.ShapeError, match="unsqueeze"):
        lesson["model"](lesson["images"][0])


def test_a_layer_of_another_width_is_found_on_its_line(program: str) -> None:
    lesson = run(program, "<lesson, exercise 2>")
    model = lesson["model"]
    model.fc2 = nn.Linear(512, 128)
    with tn.inference(model), pytest.raises(tn.ShapeError) as caught:
        model(lesson["images"])
    assert caught.value.where == "second"
    assert caught.value.bindings["batch"] == 4
    line = program.splitlines().index(
        '        second: Float[Tensor, "batch hidden2"] = F.relu(self.fc2(first_kept))'
    )
    assert f":{line + 1}" in str(caught.value)


@pytest.mark.slow
def test_dropout_that_ignores_the_mode_is_noticed(program: str) -> None:
    forgetful = program.replace("F.dropout(first, 0.1, self.training)", "F.dropout(first, 0.1, True)")
    assert forgetful != program
    with pytest.raises(AssertionError) as caught:
        run(forgetful, "<lesson, exercise 3>")
    failed = linecache.getline("<lesson, exercise 3>", caught.traceback[-1].lineno + 1)
    assert failed.strip() == "assert torch.equal(model(images), model(images))"


def test_every_line_of_forward_writes_its_shape(program: str) -> None:
    forward = program[program.index("def forward") : program.index("model = ThreeLayerMLP()")]
    assignments = [line for line in forward.splitlines()[1:] if line.strip() and "return" not in line]
    assert len(assignments) == 6
    assert all(re.match(r' +\w+: Float\[Tensor, "[\w ]+"\] = ', line) for line in assignments)


def test_the_lesson_is_the_model_of_the_zoo(program: str) -> None:
    lesson = run(program, "<lesson, exercise 4>")
    zoo = tn.CifarMLP()
    zoo.load_state_dict(lesson["model"].state_dict())
    with tn.inference(zoo), tn.inference(lesson["model"]):
        assert torch.equal(zoo(lesson["images"]), lesson["model"](lesson["images"]))
