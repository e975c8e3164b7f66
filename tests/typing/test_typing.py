"""pyright and mypy, both strict, find the types `positive.py` names and the errors `negative.py` marks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


class Found(NamedTuple):
    """What a checker says of one file: the lines in error, and the type revealed on each line."""

    errors: dict[int, str]
    revealed: dict[int, str]


def pyright(path: Path, scratch: Path) -> Found:
    # A project of its own: the repository's covers `src` alone.
    settings = {"include": ["checked.py"], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (scratch / "pyrightconfig.json").write_text(json.dumps(settings))
    (scratch / "checked.py").write_text(path.read_text())
    command = ["pyright", "--project", str(scratch), "--pythonpath", sys.executable, "--outputjson"]
    report = json.loads(run(command))
    assert report["summary"]["filesAnalyzed"] == 1
    found = Found({}, {})
    for message in report["generalDiagnostics"]:
        line, text = message["range"]["start"]["line"] + 1, message["message"]
        if message["severity"] == "information":
            found.revealed[line] = re.search('is "(.*)"$', text)[1]  # type: ignore[index]
        else:
            found.errors[line] = text
    return found


def mypy(path: Path, scratch: Path) -> Found:
    # `--config-file=` with nothing: the repository's settings must not make it more lenient.
    # One cache for all tests: reading torch takes twenty seconds.
    cache = scratch.parent / "mypy_cache"
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--no-error-summary"]
    found = Found({}, {})
    for line in run(
        [sys.executable, "-m", "mypy", *options, "--python-version=3.11", str(path)]
    ).splitlines():
        number, severity, text = re.match(r".*?:(\d+): (\w+): (.*)", line).groups()  # type: ignore[union-attr]
        if severity == "error":
            found.errors[int(number)] = text
        elif revealed := re.match('Revealed type is "(.*)"$', text):
            found.revealed[int(number)] = revealed[1]
    return found


def run(command: list[str]) -> str:
    """Run a checker from an environment's own folder; both exit with 1 where they found errors."""
    if command[0] == "pyright":
        command[0] = str(Path(sys.executable).parent / "pyright")
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
    assert finished.returncode in (0, 1), finished.stdout + finished.stderr
    return finished.stdout


IN_ONE_WORKER = pytest.mark.xdist_group("mypy")  # where its cache is
CHECKERS = pytest.mark.parametrize("check", [pyright, pytest.param(mypy, marks=IN_ONE_WORKER)])
Check = Callable[[Path, Path], Found]


def comments(path: Path, pattern: str) -> dict[int, str]:
    """Find the lines that match, and what their comment says."""
    lines = enumerate(path.read_text().splitlines(), start=1)
    return {number: match[1] for number, line in lines if (match := re.search(pattern, line))}


@CHECKERS
def test_what_is_right_is_accepted_and_understood(check: Check, tmp_path: Path) -> None:
    path = HERE / "positive.py"
    found = check(path, tmp_path)
    assert found.errors == {}
    expected = comments(path, r"reveal_type\(.*  # (.*)$")
    assert {line: re.sub(r"\w+\.", "", name) for line, name in found.revealed.items()} == expected


@CHECKERS
def test_what_is_wrong_is_refused_and_nothing_else(check: Check, tmp_path: Path) -> None:
    path = HERE / "negative.py"
    assert check(path, tmp_path).errors.keys() == comments(path, "(# error)$").keys()


@CHECKERS
def test_a_plain_module_is_what_these_tests_would_notice(check: Check, tmp_path: Path) -> None:
    program = (HERE / "negative.py").read_text().replace("class Own(tn.Module):", "class Own(nn.Module):")
    plain = tmp_path / "plain.py"
    plain.write_text(program.replace("from torch import Tensor", "from torch import Tensor, nn"))
    assert check(plain, tmp_path).errors.keys() != comments(plain, "(# error)$").keys()
