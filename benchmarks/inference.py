"""Measure one call of plain modules, ours, straight lines, exported files and the compilers, in one run.

Run `python benchmarks/inference.py` on an idle machine; it prints ratios to the plain module and writes them
to `benchmarks/results`. The clock counts the whole process, since ONNX Runtime has threads of its own.

For larger batches it also prints the page faults of a call: the C library returns the memory of large
tensors to the system and gets it back page by page. How often depends on its heap. `--keep-memory` makes the
C library keep the memory.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import CONTROL, Spread, Variant, control, interleaved, ratio, table, write
from torch import Tensor, nn

import tinynets as tn

NETS = ("tiny_vision_mlp", "lenet5", "resnet20", "cct_2_3x2")
BASE, OURS, LINE, AOTI, ONNX = "plain", "tinynets", "straight line", "backend aoti", "backend onnxruntime"
BARE, AOTI_ALONE, ONNX_ALONE = "bare functions", "AOTI alone", "ONNX Runtime alone"
# Lower bounds of any version with checks: the same program without checks of its inputs.
FLOORS = {LINE: BARE, AOTI: AOTI_ALONE, ONNX: ONNX_ALONE}
# The targets for one image, as ratios to the plain module.
BARS = {
    LINE: {"tiny_vision_mlp": 0.60, "lenet5": 0.80, "resnet20": 0.85, "cct_2_3x2": 0.92},
    AOTI: {"tiny_vision_mlp": 0.60, "lenet5": 0.65, "resnet20": 0.65, "cct_2_3x2": 0.50},
    ONNX: {"tiny_vision_mlp": 0.60, "lenet5": 0.20, "resnet20": 0.40, "cct_2_3x2": 0.45},
}


class PlainMLP(nn.Module):
    """The model as written without a library."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.drop = nn.Linear(784, 256), nn.Linear(256, 10), nn.Dropout(0.1)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc2(self.drop(F.relu(self.fc1(images.flatten(1)))))


def base(model: nn.Module) -> Variant:
    """Return the side that all others are compared with.

    The MLP has a twin without tinynets. The other nets are compared with themselves with checks off.
    """
    if not isinstance(model, tn.TinyVisionMLP):
        return Variant(BASE, model, lambda: tn.checks(False))
    twin = PlainMLP()
    twin.load_state_dict(model.state_dict())
    return Variant(BASE, twin.eval())


def bare_functions(model: tn.TinyVisionMLP) -> Callable[[Tensor], Tensor]:
    """Return the minimum in Python: only the operations, with the weights in local variables."""
    w1, b1, w2, b2 = model.parameters()
    return lambda images: F.linear(torch.relu(F.linear(images.reshape(-1, 784), w1, b1)), w2, b2)


def exports(model: nn.Module, images: Tensor, folder: Path) -> list[Variant]:
    """Return the traced, exported and compiled versions that are available on this machine."""
    found = [
        Variant("torch.export(...).module()", torch.export.export(model, (images,)).module()),
        Variant("jit trace and freeze", torch.jit.freeze(torch.jit.trace(model, images))),
    ]
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        found.append(Variant(ONNX, tn.optimize_for_inference(model, images, backend="onnxruntime")))
        tn.export(model, folder / "model.onnx")
        found.append(Variant("load_exported, ONNX Runtime", tn.load_exported(folder / "model.onnx")))
        threads = onnxruntime.SessionOptions()
        threads.intra_op_num_threads = threads.inter_op_num_threads = 1
        run = onnxruntime.InferenceSession(folder / "model.onnx", threads).run
        given = {"images": images.numpy()}
        found.append(Variant(ONNX_ALONE, lambda _: run(None, given)))
    if shutil.which("g++") or shutil.which("clang++"):
        found.append(Variant(AOTI, tn.optimize_for_inference(model, images, backend="aoti")))
        tn.export(model, folder / "model.pt2", format="aoti")
        found.append(Variant("load_exported, AOTI", tn.load_exported(folder / "model.pt2")))
        shipped = torch._inductor.aoti_load_package(str(folder / "model.pt2"))
        found.append(Variant("AOTI as shipped", shipped))
        found.append(Variant(AOTI_ALONE, lambda images: shipped.loader.boxed_run([images])))
        found += [
            Variant(f"torch.compile, {mode}", torch.compile(model, mode=mode))
            for mode in ("default", "reduce-overhead", "max-autotune")
        ]
    return found


def measure(name: str, batch: int, rounds: int, peers: bool) -> dict[str, Spread]:
    """Return the time of every side as a ratio to the base."""
    model = tn.create_model(name).eval()
    channels, size = (1, 28) if name in ("tiny_vision_mlp", "lenet5") else (3, 32)
    images = torch.randn(batch, channels, size, size)
    began = time.process_time()
    fast = tn.optimize_for_inference(model)
    traced = time.process_time() - began
    began = time.process_time()
    torch.export.export(model, (images,))
    alone = time.process_time() - began
    print(f"{name}: traced twice in {traced:.2f} s of the processor; torch.export alone, once: {alone:.2f} s")
    sides = [base(model), Variant(OURS, model), Variant(LINE, fast)]
    if isinstance(model, tn.TinyVisionMLP):
        sides.append(Variant(BARE, bare_functions(model)))
    with tempfile.TemporaryDirectory() as folder:
        if peers:
            with torch.no_grad():
                sides += exports(model, images, Path(folder))
        with torch.inference_mode():
            seconds = interleaved(sides, images, rounds=rounds, base=BASE, clock=time.process_time)
            if batch > 1:
                faults = ", ".join(f"{side.name} {page_faults(side.call, images)}" for side in sides[1:3])
                print(f"{name}, batch {batch}: page faults a call: {faults}")
    print(f"{name}, batch {batch}: {control(seconds, BASE)}", flush=True)
    return {side: ratio(seconds, side, BASE) for side in (*(s.name for s in sides), CONTROL)}


def page_faults(call: Callable[[Tensor], Any], images: Tensor) -> int:
    """Return how often a call has to get memory from the system again."""
    call(images)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        call(images)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 4


def keep_memory() -> None:
    """Make glibc keep freed memory, like the variables MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_."""
    trim_threshold, mmap_threshold = -1, -3
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not all(mallopt(setting, 2**30) for setting in (trim_threshold, mmap_threshold)):
        raise SystemExit("--keep-memory: this C library has no such settings")


def verdicts(name: str, found: dict[str, Spread]) -> None:
    """Print which targets were met at one image, and how far each side is above its lower bound."""
    for side, bars in BARS.items():
        if name in bars and side in found:
            ours, bar, floor = found[side].median, bars[name], found.get(FLOORS[side])
            least = f"; {FLOORS[side]}, its floor: {floor.median:.3f}" if floor else ""
            print(f"{side}, one image: {ours:.3f}, at most {bar}: {'ok' if ours <= bar else 'missed'}{least}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 32, 256])
    parser.add_argument("--only", nargs="*", default=list(NETS), choices=tn.list_models(), metavar="NAME")
    parser.add_argument("--no-peers", action="store_true", help="without exports and compilers")
    parser.add_argument("--keep-memory", action="store_true", help="no page faults between large tensors")
    options = parser.parse_args()
    if options.keep_memory:
        keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    tn.optimize_for_inference(nn.Linear(1, 1), "batch 1")  # triggers torch's imports for its first trace
    record: dict[str, Any] = {
        "rounds": options.rounds,
        "keep_memory": options.keep_memory,
        "load": os.getloadavg()[0],
        "models": {},
    }
    for name in options.only:
        found = {b: measure(name, b, options.rounds, not options.no_peers) for b in options.batches}
        names = list(dict.fromkeys(side for figures in found.values() for side in figures))
        rows = [[side, *(figures[side].text(3) for figures in found.values())] for side in names]
        print(table([name, *(f"batch {batch}" for batch in options.batches)], rows))
        if 1 in found:
            verdicts(name, found[1])
        record["models"][name] = {
            b: {s: r.record() for s, r in figures.items()} for b, figures in found.items()
        }
    print(f"Wrote {write('inference', record)}")


if __name__ == "__main__":
    main()
