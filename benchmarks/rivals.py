"""Compare conformance suites: which seeded bugs of the gallery does each one flag?

Run `python benchmarks/rivals.py` in an environment with `torchtest2==0.1.0` and `pytest-torch==1.1.0`. A
suite catches a bug if one of its checks flags the broken model and passes the fixed one. Every model is
checked in a separate process.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import pkgutil
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

import tinynets as tn
from tinynets.testing.measure.compare import leaves
from tinynets.testing.options import Options
from tinynets.testing.runner import Runner
from tinynets.testing.suite import prepare

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "testing"))
SECONDS = 60


def bugs() -> list[Any]:
    gallery = importlib.import_module("gallery")
    modules = [importlib.import_module(f"gallery.{m.name}") for m in pkgutil.iter_modules(gallery.__path__)]
    return [bug for module in modules for bug in getattr(module, "BUGS", [])]


def ours(bug: Any, factory: Callable[[], Any]) -> Iterable[str]:
    slow = {check.id for check in tn.testing.list_checks() if getattr(check, "slow", False)}
    options = Options(**{"slow": bug.check in slow, **bug.options})
    runner = Runner(*prepare(factory() if bug.single else factory, bug.inputs, options))
    for result in runner.results():
        if result.status in ("failed", "warned") or result.note.startswith("not supported"):
            yield result.id


def arguments(bug: Any, factory: Callable[[], Any]) -> tuple[Any, int | None]:
    """Return the inputs of the other suites: the tensors that tinynets draws, and the batch axis."""
    subject, _ = prepare(factory, bug.inputs, Options(**bug.options))
    drawn = subject.batch()
    axis = next((axis for axis in drawn.axes if axis is not None), None)
    return drawn.kwargs or drawn.args, axis


def torchtest2(bug: Any, factory: Callable[[], Any]) -> Iterable[str]:
    import torchtest2 as suite

    inputs, axis = arguments(bug, factory)
    for result in suite.check_model(factory(), inputs, overfit_steps=0, batch_dim=axis).results:
        if str(result.status) in ("FAIL", "WARN"):
            yield result.name


def pytest_torch(bug: Any, factory: Callable[[], Any]) -> Iterable[str]:
    import pytest
    from pytest_torch.checkpoint import assert_checkpoint_roundtrip
    from pytest_torch.contract import check_inference_contract
    from pytest_torch.invariance import assert_layout_invariant
    from pytest_torch.parity import assert_autocast_parity, assert_compile_parity, assert_export_parity
    from pytest_torch.training import assert_all_params_receive_grad, assert_gradients_finite

    inputs, _ = arguments(bug, factory)

    def loss(output: Any) -> Any:
        return sum(leaf.tensor.square().sum() for leaf in leaves(output))

    checks = {
        "inference_contract": lambda model: check_inference_contract(model.eval(), inputs),
        "compile": lambda model: assert_compile_parity(model.eval(), inputs, backend="eager"),
        "export": lambda model: assert_export_parity(model.eval(), inputs, dynamic_batch=True),
        "layouts": lambda model: assert_layout_invariant(model.eval(), inputs),
        "checkpoint": lambda model: assert_checkpoint_roundtrip(factory, inputs, model=model.eval()),
        "autocast": lambda model: assert_autocast_parity(model.eval(), inputs),
        "gradients_finite": lambda model: assert_gradients_finite(model.train(), inputs, loss),
        "all_params_receive_grad": lambda model: assert_all_params_receive_grad(model.train(), inputs, loss),
    }
    for name, check in checks.items():
        try:
            check(factory())
        except pytest.skip.Exception:
            pass
        except BaseException:
            yield name


SUITES = {"tinynets": ours, "torchtest2": torchtest2, "pytest-torch": pytest_torch}


def flags(suite: str, index: int, side: str, answer: Any) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bug = bugs()[index]
    answer.send(sorted(set(SUITES[suite](bug, getattr(bug, side)))))


def in_a_process(suite: str, index: int, side: str) -> list[str]:
    """Return what a suite flags, run in a separate process; a crash or a hang counts as a flag."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=flags, args=(suite, index, side, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if receiver.poll(SECONDS):
            return receiver.recv()
    except EOFError:
        return ["broke"]
    finally:
        process.kill()
        process.join()
    return ["did not end"]


def main() -> None:
    rows: list[dict[str, Any]] = []
    for index, bug in enumerate(bugs()):
        row: dict[str, Any] = {"check": bug.check, "bug": bug.label}
        for suite in SUITES:
            broken, mended = (in_a_process(suite, index, side) for side in ("broken", "mended"))
            row[suite] = {"caught": sorted(set(broken) - set(mended)), "false": mended}
        rows.append(row)
        print(bug.label, {suite: bool(row[suite]["caught"]) for suite in SUITES}, flush=True)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["check"].partition(".")[0]].append(row)
    print("\n| group | bugs | " + " | ".join(SUITES) + " |\n|---|---|" + "---|" * len(SUITES))
    for group, members in [*groups.items(), ("all", rows)]:
        caught = [str(sum(bool(row[suite]["caught"]) for row in members)) for suite in SUITES]
        print(f"| {group} | {len(members)} | " + " | ".join(caught) + " |")
    path = ROOT / "benchmarks" / "results" / f"rivals_torch{torch.__version__.partition('+')[0]}.json"
    path.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
