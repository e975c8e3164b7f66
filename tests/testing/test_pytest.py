"""Checks as tests: one id for each, the same in every process, and no cost where nobody asks."""

import subprocess
import sys

import pytest

import tinynets as tn

# Runs of pytest inside this process forget what they import, and torch cannot be imported twice.

pytest_plugins = ["pytester"]

NETS = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(6, 3)
    def forward(self, x):
        return self.linear(x)
class Long(Net):
    def extra_repr(self):
        return "x" * 2_000_000
"""
TEST = """
import nets, torch, tinynets as tn
from tinynets.testing import Case, Options
options = Options(groups=["runs"], expected_failures={"runs.repr": "long"})
@tn.testing.parametrize_checks([
    Case("tiny", lambda: nets.Net(), ("batch 6",), Options(groups=["runs"])),
    Case("long", nets.Long, ("batch 6",), options),
    Case("stale", nets.Net, ("batch 6",), options),
])
def test_net(check):
    check()
"""


@pytest.fixture
def folder(pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(
        sys.modules, "nets", raising=False
    )  # another test may have looked at a file of that name
    pytester.makepyfile(nets=NETS)
    pytester.makepyfile(test_nets=TEST)
    pytester.syspathinsert()
    return pytester


def test_one_test_for_every_check_of_every_case(folder):
    result = folder.runpytest_inprocess("-rA", "-p", "no:xdist")
    result.stdout.fnmatch_lines_random(
        [
            "PASSED *test_net?tiny-runs.eval?",
            "XFAIL *test_net?long-runs.repr? - long",
            "*it does not fail any more: remove the exemption (long)",
        ]
    )
    assert result.parseoutcomes()["failed"] == 1
    total = sum(result.parseoutcomes().values())
    assert total == 3 * 7


def test_ids_do_not_depend_on_the_process_and_nothing_is_built_at_collection(folder):
    folder.makepyfile(test_nets=TEST.replace("lambda: nets.Net()", "lambda: 1 / 0"))
    runs = [folder.runpytest_inprocess("--collect-only", "-q", "-p", "no:xdist") for _ in range(2)]
    first, second = ([line for line in run.outlines if "::" in line] for run in runs)
    assert first == second
    assert "test_nets.py::test_net[tiny-runs.repr]" in first
    assert len(first) == 3 * 7


def test_two_cases_of_one_label_are_refused():
    with pytest.raises(ValueError, match="two cases have the label 'Linear'"):
        tn.testing.parametrize_checks([tn.CifarMLP, ("Linear", tn.CifarMLP), ("Linear", tn.CifarMLP)])


def test_a_model_is_checked_without_a_test_file(folder):
    arguments = ["--tinynets-check=nets:Long", "--tinynets-input=batch 6", "-k", "runs", "-rA"]
    result = folder.runpytest_inprocess(*arguments, "-p", "no:xdist")
    result.stdout.fnmatch_lines_random(
        [
            "PASSED nets:Long::runs.train",
            "FAILED nets:Long::runs.repr - Failed: repr(model) is too long",
        ]
    )
    assert "test_nets.py" not in result.stdout.str(), "nothing else is collected"
    paths = folder.runpytest_inprocess(*arguments, "test_nets.py", "--collect-only", "-q", "-p", "no:xdist")
    assert "test_nets.py" in paths.stdout.str(), "unless it is asked for"


def test_a_wrong_name_is_one_line(folder):
    result = folder.runpytest_inprocess("--tinynets-check=nets:Nit", "-p", "no:xdist")
    result.stderr.fnmatch_lines(["ERROR: --tinynets-check=nets:Nit: nets has no Nit"])
    missing = folder.runpytest_inprocess("--tinynets-check=nets:Net", "-k", "repr", "-p", "no:xdist")
    missing.stdout.fnmatch_lines(["*inputs are needed for Net: *"])


@pytest.mark.slow
def test_parallel_processes_agree_on_the_tests(folder):
    result = folder.runpytest_subprocess("-n", "2", "-q", "-k", "runs")
    assert result.parseoutcomes()["failed"] == 1


def test_the_plugin_costs_nothing_where_it_is_not_used():
    code = "import sys, tinynets_pytest; print([m for m in ('torch', 'tinynets') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.slow
def test_training_code_does_not_load_the_checks():
    code = (
        "import sys, torch; print('sympy' in sys.modules)\n"
        "import tinynets as tn; tn.create_model('lenet5'); print('sympy' in sys.modules)\n"
        "print('tinynets.testing' in sys.modules); print(tn.testing.check_model)\n"
        "print('sympy' in sys.modules)"
    )
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    by_torch, by_model, checks, function, by_checks = lines
    assert by_torch == by_model == by_checks, "sympy takes a third of a second"
    assert checks == "False"
    assert function.startswith("<function check_model")
