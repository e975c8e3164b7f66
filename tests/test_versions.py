"""The versions that pyproject.toml and the documentation name are those that `make matrix` ran."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLASSIFIER = "Programming Language :: Python :: "
ROW = re.compile(r"^\| ([\d.]+) \| ([\d.]+) \| (.*) \|$", re.MULTILINE)

spec = importlib.util.spec_from_file_location("matrix", Path(__file__).with_name("matrix.py"))
assert spec is not None
assert spec.loader is not None
matrix = importlib.util.module_from_spec(spec)
spec.loader.exec_module(matrix)


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall((ROOT / "docs" / "versions.md").read_text())


def test_the_page_has_a_row_for_each_of_the_matrix() -> None:
    assert [(torch, python) for torch, python, _ in rows()] == matrix.ROWS


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"torch{row[0]}-python{row[1]}")
def test_nothing_failed(row: tuple[str, str, str]) -> None:
    assert re.fullmatch(r"0 of [1-9]\d{2,}|not run: .+", row[2])


def test_the_lower_bounds_are_the_lowest_that_ran() -> None:
    ran = [(torch, python) for torch, python, result in rows() if not result.startswith("not run")]
    torches = [tuple(map(int, torch.split("."))) for torch, _ in ran]
    assert f"torch>={'.'.join(map(str, min(torches)))}" in PROJECT["dependencies"]
    pythons = sorted({python for _, python in ran}, key=lambda python: int(python.split(".")[1]))
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    assert pythons == [
        each.removeprefix(CLASSIFIER) for each in PROJECT["classifiers"] if each.startswith(f"{CLASSIFIER}3.")
    ]


def test_the_oldest_torch_meets_the_oldest_of_all() -> None:
    assert set(PROJECT["dependencies"]) == {
        each.replace("==", ">=") for each in matrix.requirements(matrix.TORCHES[-1])[:7]
    }
    assert "jaxtyping==0.3.7" not in matrix.requirements(matrix.TORCHES[0])


def test_a_python_that_is_missing_is_not_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "ENVIRONMENTS", tmp_path)
    assert matrix.run("2.13.0", "3.99", keep=False) == "not run: no Python 3.99 on this machine"


def test_a_suite_that_does_not_start_is_not_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = tmp_path / "torch0-python3"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").symlink_to("/bin/false")
    assert matrix.verdict(environment) == "not run: pytest ended with 1"
