"""The models of a project, on the command line and in pytest."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import tinynets as tn
from tinynets.cli import main
from tinynets.testing.project import for_all_models, project_cases

from .nets import Good
from .test_pytest import NETS

pytest_plugins = ["pytester"]

MORE = """
class Wide(Net):
    def __init__(self, width, bias):
        super().__init__()
        self.linear = torch.nn.Linear(width, 3, bias=bias)
class Mixed(Net):
    def forward(self, x):
        return self.linear(x).softmax(0)
class TimeFirst(Net):
    def forward(self, x):
        return self.linear(x).cumsum(0)
"""
PYPROJECT = """
[tool.tinynets]
groups = ["runs", "batch"]
timeout = 20

[[tool.tinynets.models]]
target = "project_nets:Wide"
inputs = ["batch 4"]
arguments = { width = 4, bias = false }

[[tool.tinynets.models]]
target = "project_nets:Mixed"
inputs = ["batch 6"]
expected_failures = { "batch.*" = "it is the point of this model" }

[[tool.tinynets.models]]
target = "project_nets:TimeFirst"
inputs = ["time=3 rows=4 6"]
batch_axes = 1
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "project_nets.py").write_text(NETS + MORE)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("project_nets", None)  # the next test has another file of that name


def test_without_a_target_every_model_of_the_project_is_checked_in_a_line(project, capsys):
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[:2] for line in lines] == [
        ["project_nets", "Wide Wide"],
        ["project_nets", "Mixed Mixed"],
        ["project_nets", "TimeFirst TimeFirst"],
    ]
    assert " xfailed" in lines[1]


def test_what_fails_stands_below_its_line(project, capsys):
    (project / "pyproject.toml").write_text(PYPROJECT.replace('"batch.*"', '"batch.gradient"'))
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("  failed batch.neighbour: the output for sample")
    assert lines[-1].startswith("project_nets:TimeFirst TimeFirst: ")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("timeout", "timeuot", "[tool.tinynets]: there is no key 'timeuot'; did you mean 'timeout'?"),
        ("target = \"project_nets:Wide\"", "", "[tool.tinynets]: a model has no target"),
        ("project_nets:Wide", "project_nets:Wild", "project_nets has no Wild"),
        ("[[tool.tinynets.models]]", "[[tool.other.models]]", "names no models: add [[tool.tinynets.models]]"),
        ("[tool.tinynets]", "[tool.tinynets", "pyproject.toml: Expected ']'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_table_is_one_line(project, capsys, old, new, says):
    (project / "pyproject.toml").write_text(PYPROJECT.replace(old, new))
    assert main(["check"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_the_command_line_takes_arguments_axes_exemptions_and_timeouts(project, capsys):
    arguments = ["--argument", "width=4", "--argument", "bias=False", "--input", "batch 4"]
    assert main(["check", "project_nets:Wide", *arguments, "--group", "runs", "--timeout", "9"]) == 0
    time_first = ["check", "project_nets:TimeFirst", "--input", "3 4 6", "--group", "batch.neighbour"]
    assert main(time_first) == 1
    assert main([*time_first, "--batch-axis", "1"]) == 0
    assert main([*time_first, "--exempt", "batch.neighbour=a sum along the batch"]) == 0
    capsys.readouterr()
    for wrong, says in (
        (["--exempt", "batch.neighbour"], "--exempt: write batch.neighbour=..., got 'batch.neighbour'"),
        (["--batch-axis", "first"], "--batch-axis: an axis is a number or \"none\", got 'first'"),
        (["--argument", "width"], "--argument: write width=..., got 'width'"),
    ):
        assert main([*time_first, *wrong]) == 2
        assert says in capsys.readouterr().err


def test_what_could_not_be_judged_has_an_exit_code_of_its_own(project, capsys):
    (project / "project_nets.py").write_text(
        NETS + "class Endless(Net):\n    def extra_repr(self):\n        while True: pass\n"
    )
    check = ["check", "project_nets:Endless", "--input", "batch 6", "--group", "runs", "--timeout", "0.05"]
    assert main(check) == 3
    assert "error    runs.repr       tinynets could not judge this: " in capsys.readouterr().out


def test_there_is_no_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert "there is no pyproject.toml" in capsys.readouterr().err


def test_the_command_line_narrows_the_checks_of_all_models(project, capsys):
    assert main(["check", "--group", "runs.eval", "--timeout", "9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [" 1 checks " in line for line in lines] == [True] * 3, lines
    narrowed = for_all_models(project_cases(project), groups=[], slow=True, timeout=None)
    assert [case.options.slow for case in narrowed] == [True] * 3
    assert [case.options.timeout for case in narrowed] == [20] * 3


@pytest.mark.parametrize(
    "option",
    ["--input=batch 4", "--supports=x", "--exempt=x=y", "--argument=x=4", "--batch-axis=1", "--format=json"],
)
def test_an_option_of_one_model_needs_a_target(project, capsys, option):
    assert main(["check", option]) == 2
    assert capsys.readouterr().err == (
        f"tinynets: {option.partition('=')[0]} needs a target: without one, the models that pyproject.toml names are checked\n"
    )


UNNEEDED = "no failure needs an exemption any more, remove it:"


def test_an_exemption_of_several_checks_that_none_needs_is_named(project, capsys):
    table = PYPROJECT.replace(
        "batch_axes = 1", 'batch_axes = 1\nexpected_failures = { "batch.sizes" = "old" }'
    )
    (project / "pyproject.toml").write_text(table)
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"  {UNNEEDED} 'batch.sizes'"
    assert len(lines) == 4
    check = ["check", "project_nets:Net", "--input", "batch 6", "--exempt", "state.*=old"]
    assert main([*check, "--group", "state"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{UNNEEDED} 'state.*'"
    assert main([*check, "--group", "state.repeated"]) == 0
    assert UNNEEDED not in capsys.readouterr().out, "those that were not run may need it"
    old = {"batch.sizes": "old", "batch.n*": "old", "runs.*": "not all of them are run"}
    with pytest.warns(tn.testing.ModelCheckWarning, match="remove it: 'batch.sizes', 'batch.n[*]'$"):
        report = tn.testing.check_model(
            Good, (4, 6), groups="batch", checks="runs.eval", expected_failures=old
        )
    assert report.unneeded == ("batch.sizes", "batch.n*")


def test_an_exemption_that_one_of_several_checks_needs_is_not_named(project, capsys):
    assert main(["check"]) == 0
    assert UNNEEDED not in capsys.readouterr().out


def test_pytest_warns_of_an_exemption_that_no_check_needs(pytester):
    pytester.makepyfile(stale_nets=NETS)
    pytester.syspathinsert()
    stale = [
        "--tinynets-check=stale_nets:Net",
        "--tinynets-input=batch 6",
        "--tinynets-exempt=batch.sizes=old",
    ]
    result = pytester.runpytest_inprocess(*stale, "-p", "no:xdist", "-k", "batch and sizes", "-Wdefault")
    text = result.stdout.str()
    assert text.count(f"ModelCheckWarning: stale_nets:Net: {UNNEEDED} 'batch.sizes'") == 1
    result.assert_outcomes(passed=2, warnings=1)


def test_pytest_checks_the_models_of_the_project(pytester):
    pytester.makepyfile(project_nets=NETS + MORE)
    pytester.makepyprojecttoml(PYPROJECT)
    pytester.syspathinsert()
    result = pytester.runpytest_inprocess("--tinynets-project", "-rA", "-p", "no:xdist", "-k", "neighbour")
    result.stdout.fnmatch_lines_random(
        [
            "PASSED project_nets:Wide::batch.neighbour",
            "XFAIL project_nets:Mixed::batch.neighbour - it is the point of this model",
            "PASSED project_nets:TimeFirst::batch.neighbour",
        ]
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tinynets-slow"], "--tinynets-slow needs --tinynets-check=PKG.MOD:MODEL or --tinynets-project"),
        (
            ["--tinynets-batch-axis=1", "--tinynets-project"],
            "--tinynets-batch-axis needs --tinynets-check=PKG.MOD:MODEL",
        ),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(pytester, options, says):
    result = pytester.runpytest_subprocess(*options, "-p", "no:xdist")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {says}" in result.stderr.lines


def test_pytest_narrows_the_checks_of_the_project(pytester):
    pytester.makepyfile(project_nets=NETS + MORE)
    pytester.makepyprojecttoml(PYPROJECT)
    pytester.syspathinsert()
    options = ["--tinynets-project", "--tinynets-group=runs.eval", "-p", "no:xdist"]
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=3)


def test_the_plugin_takes_what_the_command_line_takes(pytester):
    pytester.makepyfile(plugin_nets=NETS + MORE)
    pytester.syspathinsert()
    result = pytester.runpytest_inprocess(
        "--tinynets-check=plugin_nets:TimeFirst",
        "--tinynets-input=3 4 6",
        "--tinynets-batch-axis=1",
        "--tinynets-group=batch",
        "--tinynets-exempt=batch.nan=known",
        "--tinynets-timeout=20",
        "-rA",
        "-p",
        "no:xdist",
    )
    result.stdout.fnmatch_lines_random(
        [
            "PASSED *::batch.neighbour",
            "PASSED *::runs.eval",
            "FAILED *::batch.nan - Failed: it does not fail*",
        ]
    )


def test_tuples_of_ints_are_shapes_and_arrays_are_refused_by_name():
    assert tn.testing.check_model(Good, (4, 6), groups="batch").ok
    expected = "inputs[0] is an array of NumPy: pass torch.as_tensor(array, dtype=torch.float32)"
    with pytest.raises(TypeError, match=re.escape(expected)):
        tn.testing.check_model(Good, np.zeros((4, 6)))

    class Sized(Good):
        def forward(self, x, size):
            assert size == (2, 3), "beside a tensor, a tuple is what it is"
            return super().forward(x)

    assert tn.testing.check_model(Sized, torch.randn(4, 6), (2, 3), groups="runs").ok


def test_a_project_is_found_from_a_folder_below(project):
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    assert project_cases(below)[0].label == "project_nets:Wide"
