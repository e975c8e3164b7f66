"""`tn.install_import_hook` on public packages: imports, forwards, graphs and a test suite of their own.

Run by `make packages` in an environment of its own, where the versions are pinned. It answers: does anything
crash, what is not true in the annotations, and what does it cost beside no hook and beside jaxtyping's.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import Spread, Variant, control, interleaved, ratio, table, write

import tinynets as tn

PACKAGES = ("linear_operator", "transformer_lens")
# As for an installed package: bytecode is written by the first import, and every later one finds it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
INSTALL = {
    "none": "",
    "tinynets": "import tinynets; tinynets.install_import_hook({package!r})",
    "jaxtyping": "import jaxtyping; jaxtyping.install_import_hook({package!r}, 'beartype.beartype')",
}
SUITE = "linear_operator==0.6"  # the last release with annotations: 1,244 of them


def import_seconds(package: str, hook: str) -> float | None:
    """Time one fresh import, after what the hooks themselves import; None if it raises."""
    code = [
        "import time, torch, jaxtyping, einops, tinynets, beartype, warnings, importlib",
        "warnings.simplefilter('ignore')",
        INSTALL[hook].format(package=package),
        f"start = time.process_time(); importlib.import_module({package!r})",
        "print('seconds', time.process_time() - start)",
    ]
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    found = re.search(r"^seconds ([\d.]+)", run.stdout, re.MULTILINE)
    return float(found[1]) if found else None


def imports(rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for package in PACKAGES:
        seconds: dict[str, list[float]] = {hook: [] for hook in INSTALL}
        for turn in range(rounds + 1):  # the first of them compiles, and is not counted
            for hook in INSTALL:
                taken = import_seconds(package, hook)
                if turn and taken is not None:
                    seconds[hook].append(taken)
        for hook, values in seconds.items():
            figures[f"import {package}, {hook} [s]"] = Spread.of(values) if len(values) > 1 else "raises"
    return figures


def transformer_lens() -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a small transformer with all its hook points, and an input."""
    lens = importlib.import_module("transformer_lens")
    config = lens.HookedTransformerConfig(
        n_layers=2, d_model=64, n_ctx=64, d_head=16, n_heads=4, d_mlp=256, d_vocab=100,
        act_fn="gelu", device="cpu", default_prepend_bos=False, seed=0,
    )  # fmt: skip
    return lens.HookedTransformer(config).eval(), torch.arange(16)[None]


MODELS: dict[str, Callable[[], tuple[torch.nn.Module, torch.Tensor]]] = {"transformer_lens": transformer_lens}


def both(name: str) -> tuple[torch.nn.Module, torch.nn.Module, torch.Tensor]:
    """Import a package twice in this process, without and with the hook; return a model of each."""
    plain, _ = MODELS[name]()
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    with tn.install_import_hook(name):
        checked, example = MODELS[name]()
    checked.load_state_dict(plain.state_dict())
    return plain, checked, example


def forwards(name: str, rounds: int) -> dict[str, Any]:
    plain, checked, example = both(name)
    figures: dict[str, Any] = {}
    for label, model in (("none", plain), ("tinynets", checked)):  # before anything was called
        torch._dynamo.reset()
        with torch.no_grad():
            found = torch._dynamo.explain(model)(example)
        figures[f"{name}, graph breaks, {label}"] = found.graph_break_count
        torch._dynamo.reset()
        with torch.no_grad():
            same = torch.allclose(
                torch.compile(model, backend="eager", fullgraph=True)(example), model(example)
            )
        figures[f"{name}, fullgraph, {label}"] = same
    with torch.no_grad():
        seconds = interleaved(
            [Variant("none", plain), Variant("tinynets", checked)], example, rounds=rounds, milliseconds=20
        )
    print(control(seconds, "none"))
    figures[f"{name}, forward, tinynets / none"] = ratio(seconds, "tinynets", "none")
    return figures


def suite(folder: Path) -> dict[str, Any]:
    """Run the test suite that is in the sdist of linear_operator, under each hook."""
    if not list(folder.glob("linear_operator-*")):
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--no-binary",
                ":all:",
                "-d",
                folder,
                SUITE,
            ],
            check=True,
        )
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
    tests = next(path for path in folder.glob("linear_operator-*") if path.is_dir()) / "test"
    figures: dict[str, Any] = {}
    for hook, options in {
        "none": [],
        "tinynets": ["--tinynets-packages=linear_operator"],
        "jaxtyping": ["--jaxtyping-packages=linear_operator,beartype.beartype"],
    }.items():
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", *options, tests]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(command, cwd=tests.parent.parent, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = run.stdout.splitlines()
        figures[f"suite, {hook}"] = next(line for line in reversed(lines) if " in " in line)
        figures[f"suite, {hook}, processor [s]"] = round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        )
        if hook == "tinynets":
            start = next((i for i, line in enumerate(lines) if "= tinynets: " in line), len(lines))
            end = next(
                (i for i, line in enumerate(lines[start + 1 :], start + 1) if line.startswith("=")), start
            )
            print("\n".join([*lines[start : end if end > start else None], ""]))
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--folder", type=Path, required=True, help="where the sdist is kept")
    options.add_argument("--only", choices=["imports", "forwards", "suite"])
    given = options.parse_args()
    given.folder.mkdir(exist_ok=True, parents=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    if given.only in (None, "forwards"):
        for name in MODELS:
            figures |= forwards(name, given.rounds * 4)
    if given.only in (None, "imports"):
        figures |= imports(given.rounds)
    if given.only in (None, "suite"):
        figures |= suite(given.folder.resolve())
    rows = [
        [name, value.text(3) if isinstance(value, Spread) else str(value)] for name, value in figures.items()
    ]
    print(table(["packages", "median (quartiles)"], rows))
    if given.only is None:
        recorded = {n: v.record() if isinstance(v, Spread) else v for n, v in figures.items()}
        write("packages", recorded)


if __name__ == "__main__":
    main()
