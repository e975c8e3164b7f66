"""Run the quick suites on every supported version of torch and Python, and print the table of docs/versions.md.

`python tests/matrix.py [--keep] [NAME ...]`: the rows whose name has one of the words, by default all. Each row gets an
environment of its own in `.venv-matrix`, which is removed afterwards; one that is there already is used, and kept.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / ".venv-matrix"
TORCHES = ("2.15.0", "2.14.1", "2.13.0", "2.12.1", "2.11.0", "2.10.0", "2.9.1", "2.8.0")
ROWS = [*((torch, "3.11") for torch in TORCHES), *(("2.13.0", python) for python in ("3.12", "3.13", "3.14"))]
SUITES = ["tests/contract", "tests/modes", "tests/models", "tests/_torch"]
HEAD = "| torch | Python | failed of run |\n|---|---|---|"


def interpreter(version: str) -> str | None:
    """Return a Python of a version that runs: the one on the path, or the newest of pyenv."""
    pyenv = sorted(
        Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), key=lambda path: len(str(path))
    )
    for candidate in (f"python{version}", *map(str, reversed(pyenv))):
        command = shutil.which(candidate)
        asked = [command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"] if command else None
        if asked and subprocess.run(asked, capture_output=True, text=True).stdout.strip() == version:
            return command
    return None


def requirements(torch: str) -> list[str]:
    """Return the exact dependencies of a row: those of constraints.txt; on the oldest torch, the oldest of all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = [each.replace(">=", "==") for each in project["dependencies"]]
    exact = oldest if f"torch=={torch}" in oldest else [f"torch=={torch}"]
    names = tuple(each.split("==")[0] + "==" for each in exact)
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    return exact + [pin for pin in pins if "==" in pin and not pin.startswith(names)]


def install(environment: Path, torch: str) -> str:
    """Install this tree and what its tests need; return what pip says where that fails."""
    pins = environment / "pins.txt"
    pins.write_text("\n".join(requirements(torch)))
    packages = ["pytest", "hypothesis", "rich", "-c", str(pins), "-e", str(ROOT)]
    command = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, cwd=ROOT)
    return (done.stderr.strip().splitlines() or ["pip failed"])[-1] if done.returncode else ""


def verdict(environment: Path) -> str:
    """Run the suites and return how many tests failed; the output of those that do stands in the environment."""
    report, output = environment / "report.xml", environment / "output.txt"
    report.unlink(missing_ok=True)
    options = ["-m", "not slow", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    with output.open("w") as file:
        done = subprocess.run(
            [environment / "bin/python", "-m", "pytest", *options, *SUITES],
            stdout=file,
            stderr=file,
            cwd=ROOT,
        )
    if done.returncode not in (0, 1) or not report.exists():
        return f"not run: pytest ended with {done.returncode}"
    for line in output.read_text().splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(f"  {line}", file=sys.stderr)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    tests, skipped, failures, errors = (
        int(suite.attrib[name]) for name in ("tests", "skipped", "failures", "errors")
    )
    return f"{failures + errors} of {tests - skipped}"


def run(torch: str, python: str, *, keep: bool) -> str:
    """Return the last cell of a row."""
    command = interpreter(python)
    if command is None:
        return f"not run: no Python {python} on this machine"
    environment = ENVIRONMENTS / f"torch{torch}-python{python}"
    keep = keep or environment.exists()
    if not environment.exists():
        subprocess.run([command, "-m", "venv", environment], check=True)
    try:
        problem = install(environment, torch)
        return f"not run: {problem}" if problem else verdict(environment)
    finally:
        if not keep:
            shutil.rmtree(environment)


def main() -> None:
    """Run the rows that are asked for, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as torch2.9.1 or python3.13")
    parser.add_argument(
        "--keep", action="store_true", help="keep the environments, with the output of pytest"
    )
    options = parser.parse_args()
    lines: list[str] = []
    for torch, python in ROWS:
        name = f"torch{torch}-python{python}"
        if not options.names or any(word in name for word in options.names):
            lines.append(f"| {torch} | {python} | {run(torch, python, keep=options.keep)} |")
            print(lines[-1], file=sys.stderr, flush=True)
    print(f"{date.today()}, `{' '.join(SUITES)} -m 'not slow'`\n\n{HEAD}", *lines, sep="\n")


if __name__ == "__main__":
    main()
