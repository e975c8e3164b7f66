"""`pytest --tinynets-packages`: a table of lies in place of failing tests, and a baseline file."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from tinynets._packages.lenient_policy import Lenient, Lie
from tinynets._packages.pytest_lies import Lies

from .conftest import HEADER

pytest_plugins = ["pytester"]

SAMPLE = (
    HEADER
    + """
def half(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    total: Float[Tensor, "n"] = x.sum()
    return x[::2]

def true(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    return x
"""
)
TESTS = """
import sample, torch
def test_half(): assert len(sample.half(torch.ones(4))) == 2
def test_half_again(): assert len(sample.half(torch.ones(6))) == 3
def test_true(): sample.true(torch.ones(4))
"""
TABLE = [
    "*= tinynets: 2 annotations not true, in 4 calls =*",
    "calls  line      function      annotation  value",
    "2      sample:6  half(total)   float [[]n]   float32 [[][]], where n=4",
    "2      sample:7  half(return)  float [[]n]   float32 [[]2], where n=4",
]


@pytest.fixture
def folder(pytester, monkeypatch):
    """A folder with a package and its tests, which pass."""
    pytester.makepyfile(sample=SAMPLE)
    pytester.makepyfile(test_sample=TESTS)
    pytester.syspathinsert()
    before, path = Lenient.collector, list(sys.meta_path)
    yield pytester
    Lenient.collector, sys.meta_path[:] = before, path


def run(folder, *options: str):
    return folder.runpytest_inprocess("-p", "no:xdist", "-p", "no:hypothesispytest", *options)


def test_a_table_and_no_failing_test(folder) -> None:
    result = run(folder, "--tinynets-packages=sample")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(TABLE, consecutive=True)
    assert result.ret == 1


def test_a_baseline_holds_what_is_known(folder) -> None:
    options = ["--tinynets-packages=sample", "--tinynets-baseline=lies.json"]
    missing = run(folder, *options)
    missing.stderr.fnmatch_lines(["*lies.json cannot be read (*); --tinynets-write-baseline makes it"])
    written = run(folder, *options, "--tinynets-write-baseline")
    assert written.ret == 0
    written.stdout.fnmatch_lines(["written to lies.json"])
    file = folder.path / "lies.json"
    entries = json.loads(file.read_text())
    assert entries[0] == {
        "module": "sample",
        "function": "half",
        "where": "return",
        "annotation": "float [n]",
    }
    known = run(folder, *options)
    assert known.ret == 0
    known.stdout.fnmatch_lines(["*0 annotations not true, in 0 calls*", "2 more in lies.json, which has 2"])
    file.write_text(json.dumps(entries[1:]))
    fresh = run(folder, *options)
    assert fresh.ret == 1
    fresh.stdout.fnmatch_lines(["*1 annotation not true, in 2 calls*", "*", TABLE[3]], consecutive=True)


def test_the_lines_that_say_why_nothing_is_enforced(folder) -> None:
    folder.makepyfile(bare="x = 1", test_bare="import bare\ndef test_it(): pass")
    result = run(folder, "--tinynets-packages=bare,sampel", "test_bare.py")
    result.stdout.fnmatch_lines(
        [
            "bare has no tensor annotations of jaxtyping, so nothing is enforced",
            "no module of 'sampel' was imported, so nothing is enforced; is the name right?",
        ],
        consecutive=True,
    )
    assert result.ret == 1
    early = run(folder, "--tinynets-packages=json")
    early.stderr.fnmatch_lines(
        ["*--tinynets-packages: json is imported already, so nothing in it would be enforced"]
    )
    alone = run(folder, "--tinynets-packages=sample", "--tinynets-write-baseline")
    alone.stderr.fnmatch_lines(["*--tinynets-write-baseline needs --tinynets-baseline=FILE"])
    for option in ("--tinynets-write-baseline", "--tinynets-baseline=lies.json"):
        useless = run(folder, option)
        useless.stderr.fnmatch_lines(
            ["*a baseline needs --tinynets-packages=PKG,PKG: it is of those packages"]
        )


def test_workers_tell_what_they_found() -> None:
    """As pytest-xdist does: what a worker puts into `workeroutput` comes to the process that prints."""
    worker, printer = (Lies(["sample"], None, write=False) for _ in range(2))
    worker.note(Lie("sample", 7, "half", "return", "float [n]", "float32 [2]"))
    output: dict[str, object] = {}
    worker.pytest_sessionfinish(SimpleNamespace(config=SimpleNamespace(workeroutput=output)))
    for _ in range(2):
        printer.pytest_testnodedown(SimpleNamespace(workeroutput=json.loads(json.dumps(output))))
    assert list(printer.counts.values()) == [2]
    session = SimpleNamespace(config=SimpleNamespace(), exitstatus=pytest.ExitCode.OK)
    printer.pytest_sessionfinish(session)
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
