"""Run `tn.install_import_hook` on public packages: imports, forwards, graphs and their own test suites.

`make packages` runs this in a separate environment with pinned versions. It answers: does anything crash,
which annotations are not true, and what does the hook cost compared with no hook and with jaxtyping's?
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from harness import Spread, Variant, control, interleaved, ratio, table, write
from public_models import MODELS, Called

import tinynets as tn
from tinynets._packages.lenient_policy import Lenient

# The modules to import from each package: importing `nerfstudio` alone imports nothing else.
PACKAGES = {
    "linear_operator": "linear_operator",
    "transformer_lens": "transformer_lens",
    "nerfstudio": "nerfstudio.configs.method_configs",
    "alphafold3_pytorch": "alphafold3_pytorch",
}
# As for an installed package: the first import writes the bytecode, and later ones read it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
INSTALL = {
    "none": "",
    "tinynets": "import tinynets; tinynets.install_import_hook({package!r})",
    "jaxtyping": "import jaxtyping; jaxtyping.install_import_hook({package!r}, 'beartype.beartype')",
}
SUITE = "linear_operator==0.6"  # the last release with annotations: 1,244 of them


def import_seconds(package: str, hook: str) -> float | None:
    """Time one fresh import, without the imports of the hooks themselves; None if it raises."""
    code = [
        "import time, torch, jaxtyping, einops, tinynets, beartype, warnings, importlib",
        "warnings.simplefilter('ignore')",
        INSTALL[hook].format(package=package),
        f"start = time.process_time(); importlib.import_module({PACKAGES[package]!r})",
        "print('seconds', time.process_time() - start)",
    ]
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^seconds ([\d.]+)", run.stdout, re.MULTILINE)
    return float(found[1]) if found else None


def imports(rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for package in PACKAGES:
        seconds: dict[str, list[float]] = {hook: [] for hook in INSTALL}
        for turn in range(rounds + 1):  # the first round compiles, and is not counted
            for hook in INSTALL:
                taken = import_seconds(package, hook)
                if turn and taken is not None:
                    seconds[hook].append(taken)
        for hook, values in seconds.items():
            figures[f"import {package}, {hook} [s]"] = Spread.of(values) if len(values) > 1 else "raises"
    return figures


def both(name: str) -> tuple[Called, Called]:
    """Import a package twice in this process, without and with the hook; return a model of each."""
    package, make = MODELS[name]
    forget(package)
    plain = make()
    forget(package)
    with tn.install_import_hook(package):
        checked = make()
    checked[0].load_state_dict(plain[0].state_dict())
    return plain, checked


def forget(package: str) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        del sys.modules[module]


def forwards(name: str, rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for hook in ("none", "tinynets"):
        found = graphs(name, hook)
        figures |= {f"{name}, {what}, {hook}": value for what, value in found.items()}
    lies = set[str]()
    Lenient.collector = lambda lie: lies.add(f"{lie.function}({lie.where})")
    (_, plain), (_, checked) = both(name)
    with torch.no_grad():
        seconds = interleaved(
            [Variant("none", plain), Variant("tinynets", checked)], rounds=rounds, milliseconds=20
        )
    print(name, control(seconds, "none"))
    figures[f"{name}, annotations not true in the forward"] = len(lies)
    figures[f"{name}, forward, tinynets / none"] = ratio(seconds, "tinynets", "none")
    return figures


def graphs(name: str, hook: str) -> dict[str, str]:
    """Compile a model in a separate process: dynamo looks up modules by name."""
    command = [sys.executable, "-W", "ignore", __file__, "--folder", ".", "--graphs", name, hook]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = dict(re.findall(r"^(graph breaks|fullgraph): (.*)", run.stdout, re.MULTILINE))
    return found or {"graph breaks": f"raises: {run.stderr.strip().splitlines()[-1][:100]}"}


def compile_here(name: str, hook: str) -> None:
    """Print the graph breaks of a model after one call, as docs/packages.md advises."""
    package, make = MODELS[name]
    if hook == "tinynets":
        Lenient.collector = lambda lie: None
        tn.install_import_hook(package)
    model, call = make()
    with torch.no_grad():
        call()
        found = torch._dynamo.explain(call)()
        lies = sum("expected" in reason.reason for reason in found.break_reasons)
        print(f"graph breaks: {found.graph_break_count}{f', {lies} of them at lies' if lies else ''}")
        torch._dynamo.reset()
        model.forward = torch.compile(model.forward, backend="eager", fullgraph=True)
        try:
            call()
            print("fullgraph: runs")
        except Exception as error:
            print("fullgraph: raises", str(error).strip().splitlines()[0][:80])


def linear_operator_tests(folder: Path) -> Path:
    """Return the tests in the sdist of linear_operator; download it if needed."""
    if not list(folder.glob("linear_operator-*")):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "-d", folder, SUITE], check=True)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
    return next(path for path in folder.glob("linear_operator-*") if path.is_dir()) / "test"


def run_tests(package: str, hook: str, tests: Sequence[Path], folder: Path) -> tuple[list[str], float]:
    """Run tests under a hook; return the lines that pytest prints and the CPU seconds."""
    options = [f"--tinynets-packages={package}"] if hook == "tinynets" else []
    # The folder may lie in this repository, whose settings of pytest would make warnings errors.
    own = ["-c", os.devnull, "--rootdir", folder]
    pytest = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", *own]
    command = [*pytest, "--continue-on-collection-errors", *options, *tests]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return run.stdout.splitlines(), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def suite(package: str, tests: Path, turns: int) -> dict[str, Any]:
    """Run a whole test suite without and with the hook, in turns, and print the table of lies."""
    figures: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {"none": [], "tinynets": []}
    failed: dict[str, set[str]] = {}
    for _ in range(turns):
        for hook, taken in seconds.items():
            lines, processor = run_tests(package, hook, [tests], tests.parent)
            taken.append(processor)
            figures[f"suite of {package}, {hook}"] = next(line for line in reversed(lines) if " in " in line)
            failed[hook] = {
                line.partition(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))
            }
            broken = sorted(line for line in failed["none"] if line.startswith("ERROR"))
            if broken:
                raise SystemExit(f"the suite of {package} does not run, even without a hook: {broken[0]}")
    start = next((i for i, line in enumerate(lines) if "= tinynets: " in line), len(lines))
    for line in lines[start:]:
        if line.startswith("=") and "tinynets: " not in line:
            break
        print(line)
    for hook, taken in seconds.items():
        figures[f"suite of {package}, {hook}, processor [s]"] = ", ".join(f"{value:.1f}" for value in taken)
    ratios = [ours / none for ours, none in zip(seconds["tinynets"], seconds["none"], strict=True)]
    figures[f"suite of {package}, tinynets / none"] = ", ".join(f"{value:.2f}" for value in ratios)
    figures[f"suite of {package}, tests that fail only under the hook"] = len(
        failed["tinynets"] - failed["none"]
    )
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--folder", type=Path, required=True, help="where the sdist is kept")
    options.add_argument("--only", choices=["imports", "forwards", "suites"])
    options.add_argument(
        "--nerfstudio-tests", type=Path, help="`tests` of a checkout of its repository: its sdist has but one"
    )
    options.add_argument("--graphs", nargs=2, help="compile a model here: its name, and none or tinynets")
    given = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    if given.graphs:
        compile_here(*given.graphs)
        return
    given.folder.mkdir(exist_ok=True, parents=True)
    figures: dict[str, Any] = {}
    if given.only in (None, "forwards"):
        for name in MODELS:
            figures |= forwards(name, given.rounds * 4)
    if given.only in (None, "imports"):
        figures |= imports(given.rounds)
    if given.only in (None, "suites"):
        tests = linear_operator_tests(given.folder.resolve())
        figures |= suite("linear_operator", tests, max(1, given.rounds // 4))
        if given.nerfstudio_tests:
            figures |= suite("nerfstudio", given.nerfstudio_tests.resolve(), 1)
    rows = [
        [name, value.text(3) if isinstance(value, Spread) else str(value)] for name, value in figures.items()
    ]
    print(table(["packages", "median (quartiles)"], rows))
    if given.only is None:
        recorded = {n: v.record() if isinstance(v, Spread) else v for n, v in figures.items()}
        write("packages", recorded)


if __name__ == "__main__":
    main()
