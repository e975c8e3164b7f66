"""pyright and mypy, both strict, find the types `positive.py` names and the errors `negative.py` marks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


class Found(NamedTuple):
    """What a checker says of one file: the lines in error, and the type revealed on each line."""

    errors: dict[int, str]
    revealed: dict[int, str]


def plain(text: str) -> str:
    """Replace the module of `negative.py` by one of torch, of which nothing is known."""
    text = text.replace("class Own(tn.Module):", "class Own(nn.Module):")
    return text.replace("from torch import Tensor", "from torch import Tensor, nn")


PROGRAMS = {
    "positive": (HERE / "positive.py").read_text(),
    "negative": (HERE / "negative.py").read_text(),
    "plain": plain((HERE / "negative.py").read_text()),
}


def pyright(folder: Path) -> dict[str, Found]:
    # A project of its own: the repository's covers `src` alone.
    settings = {"include": ["*.py"], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    pyright = Path(sys.executable).parent / "pyright"
    report = json.loads(
        run(pyright, "--project", folder, "--pythonpath", sys.executable, "--outputjson", cwd=folder)
    )
    assert report["summary"]["filesAnalyzed"] == len(PROGRAMS)
    found = {name: Found({}, {}) for name in PROGRAMS}
    for message in report["generalDiagnostics"]:
        of_file = found[Path(message["file"]).stem]
        line, text = message["range"]["start"]["line"] + 1, message["message"]
        if message["severity"] == "information":
            of_file.revealed[line] = re.search('is "(.*)"$', text)[1]  # type: ignore[index]
        else:
            of_file.errors[line] = text
    return found


# The parts of torch that none of the programs sees a type of: to read them takes most of mypy's time.
UNSEEN = """
[mypy]
[mypy-torch._decomp.*,torch._dynamo.*,torch._export.*,torch._functorch.*,torch._higher_order_ops.*]
follow_imports = skip
[mypy-torch._inductor.*,torch._prims.*,torch._refs.*,torch._subclasses.*,torch.ao.*,torch.distributed.*]
follow_imports = skip
[mypy-torch.export.*,torch.fx.*,torch.jit.*,torch.onnx.*,torch.utils.*,numpy.*,sympy.*]
follow_imports = skip
"""


def mypy(folder: Path) -> dict[str, Found]:
    # Settings of its own: the repository's must not make it more lenient.
    (folder / "mypy.ini").write_text(UNSEEN)
    options = ["--strict", "--config-file=mypy.ini", "--no-error-summary", "--python-version=3.11"]
    found = {name: Found({}, {}) for name in PROGRAMS}
    printed = run(sys.executable, "-m", "mypy", *options, *(f"{name}.py" for name in PROGRAMS), cwd=folder)
    for line in printed.splitlines():
        name, number, severity, text = re.match(r"(\w+)\.py:(\d+): (\w+): (.*)", line).groups()  # type: ignore[union-attr]
        if severity == "error":
            found[name].errors[int(number)] = text
        elif revealed := re.match('Revealed type is "(.*)"$', text):
            found[name].revealed[int(number)] = revealed[1]
    return found


def run(*command: object, cwd: Path) -> str:
    """Run a checker; both exit with 1 where they found errors."""
    finished = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert finished.returncode in (0, 1), finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(
    scope="module",
    params=[pytest.param(check, marks=pytest.mark.xdist_group(check.__name__)) for check in (pyright, mypy)],
    ids=lambda check: check.__name__,
)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What one of the checkers says of all programs; it reads torch once, which is what takes long."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    for name, text in PROGRAMS.items():
        (folder / f"{name}.py").write_text(text)
    return request.param(folder)


def comments(name: str, pattern: str) -> dict[int, str]:
    """Find the lines that match, and what their comment says."""
    lines = enumerate(PROGRAMS[name].splitlines(), start=1)
    return {number: match[1] for number, line in lines if (match := re.search(pattern, line))}


def test_what_is_right_is_accepted_and_understood(found: dict[str, Found]) -> None:
    assert found["positive"].errors == {}
    expected = comments("positive", r"reveal_type\(.*  # (.*)$")
    revealed = found["positive"].revealed
    assert {line: re.sub(r"\w+\.", "", name) for line, name in revealed.items()} == expected


def test_what_is_wrong_is_refused_and_nothing_else(found: dict[str, Found]) -> None:
    assert found["negative"].errors.keys() == comments("negative", "(# error)$").keys()


def test_a_plain_module_is_what_these_tests_would_notice(found: dict[str, Found]) -> None:
    assert found["plain"].errors.keys() != comments("plain", "(# error)$").keys()
