"""Measure the cost of checking every shape of a forward pass: the table of the README, and more details.

One thread, eval mode, `torch.inference_mode()`: the faster the forward pass, the larger the share of checks.
Each figure is a median with its quartiles over rounds in which all sides take turns.
"""

from __future__ import annotations

import argparse
import copy
import gc
import shutil
import time
import tracemalloc
import types
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from forms import compare_forms
from harness import CONTROL, Spread, Variant, control, difference, interleaved, ratio, table, write
from jaxtyping import TypeCheckError
from nets import Bare, Deep, Dltyped, Jaxtyped, Plain, define, digits, num_checked, with_weights_of

import tinynets as tn

BATCHES = (1, 32, 256)
PLAIN, CHECKED, UNCHECKED = "plain nn.Module", "tinynets", "tinynets, checks off"
BY_HAND = "tinynets, model.eval() by hand"
JAXTYPED, DLTYPED, BARE = "jaxtyped + beartype", "dltype", "bare functions"
checks_off = partial(tn.checks, False)
Record = dict[str, Any]


def compare(rounds: int) -> Record:
    """Compare all sides at every batch size; print the table of the README."""
    model = tn.TinyVisionMLP()
    plain = with_weights_of(model, Plain())
    sides = [
        Variant(BARE, Bare(model.fc1, model.fc2)),
        Variant(PLAIN, plain),
        Variant(UNCHECKED, model, checks_off),
        Variant(CHECKED, model),
        # Outside of tn.inference, every call checks for a forgotten train mode.
        Variant(BY_HAND, copy.deepcopy(model).eval()),
        Variant(DLTYPED, with_weights_of(model, Dltyped())),
        Variant(JAXTYPED, with_weights_of(model, Jaxtyped())),
    ]
    ours = num_checked(tn.TinyVisionMLP)
    tensors = {side.name: 0 for side in sides} | {CHECKED: ours, BY_HAND: ours, DLTYPED: 2, JAXTYPED: 2}

    record: Record = {"batches": {}}
    to_plain: dict[tuple[str, int], Spread] = {}
    for batch in BATCHES:
        images = digits(batch)
        with tn.inference(model):
            assert all(torch.equal(side.call(images), plain(images)) for side in sides)
            seconds = interleaved(sides, images, rounds=rounds, base=PLAIN)
        print(f"batch {batch}: {control(seconds, PLAIN)}")
        for side in sides:
            to_plain[side.name, batch] = ratio(seconds, side.name, PLAIN)
        overhead = difference(seconds, CHECKED, UNCHECKED)
        record["batches"][str(batch)] = {
            "microseconds": {name: Spread.of(times).scaled(1e6).record() for name, times in seconds.items()},
            "ratio to plain": {side.name: to_plain[side.name, batch].record() for side in sides},
            "control": ratio(seconds, CONTROL, PLAIN).record(),
            "checked to unchecked": ratio(seconds, CHECKED, UNCHECKED).record(),
            "nanoseconds per checked tensor": overhead.scaled(1e9 / tensors[CHECKED]).record(),
            "overhead to that of jaxtyped": overhead.median / difference(seconds, JAXTYPED, PLAIN).median,
        }

    header = ["time of a forward pass / plain", "tensors checked", *(f"batch {batch}" for batch in BATCHES)]
    rows = [
        [side.name, str(tensors[side.name]), *(to_plain[side.name, batch].text(2) for batch in BATCHES)]
        for side in sides
    ]
    print(table(header, rows), "\n")
    for batch, figures in record["batches"].items():
        print(
            f"batch {batch}: plain {figures['microseconds'][PLAIN]['median']:.1f} us, "
            f"checked / unchecked {figures['checked to unchecked']['median']:.3f}, "
            f"per checked tensor {figures['nanoseconds per checked tensor']['median']:.0f} ns, "
            f"overhead / jaxtyped's {figures['overhead to that of jaxtyped']:.3f}"
        )
    return record


def deep(rounds: int) -> Record:
    """Show that a deep model pays in proportion to the tensors that it annotates."""
    record: Record = {}
    for depth in (6, 24):
        model = Deep(depth=depth)
        checked = num_checked(Deep) + sum(num_checked(type(block)) for block in model.blocks)
        sides = [Variant(CHECKED, model), Variant(UNCHECKED, model, checks_off)]
        with tn.inference(model):
            seconds = interleaved(sides, torch.rand(1, model.width), rounds=rounds)
        print(f"{depth} blocks: {control(seconds, CHECKED)}")
        each = difference(seconds, CHECKED, UNCHECKED).scaled(1e9 / checked)
        total = ratio(seconds, CHECKED, UNCHECKED)
        record[f"{depth} blocks"] = {
            "tensors": checked,
            "nanoseconds per checked tensor": each.record(),
            "checked to unchecked": total.record(),
        }
        print(f"{depth} blocks, {checked} tensors: {each.text(0)} ns each; {total.text(3)} of unchecked")
    return record


def compiled(rounds: int) -> Record:
    """Call a compiled model whose checks were traced, and one compiled with checks off."""
    backend = "inductor" if shutil.which("g++") or shutil.which("clang++") else "eager"
    images = digits(32)
    with_checks, without = tn.TinyVisionMLP().eval(), twin(tn.TinyVisionMLP)().eval()
    sides = [
        Variant(CHECKED, torch.compile(with_checks, backend=backend)),
        Variant(UNCHECKED, torch.compile(without, backend=backend), checks_off),
    ]
    for side in sides:
        with side.context():
            side.call(images)
    seconds = interleaved(sides, images, rounds=rounds)
    cost = ratio(seconds, CHECKED, UNCHECKED)
    print(f"compiled: {control(seconds, CHECKED)}")
    print(f"compiled ({backend}), checked / unchecked: {cost.text(3)}")
    return {"backend": backend, "checked to unchecked": cost.record()}


def twin(module_class: type[tn.TinyVisionMLP]) -> type[tn.TinyVisionMLP]:
    """Derive a class with a separate code object, since dynamo caches compiled code per code object."""

    class Twin(module_class):  # type: ignore[misc, valid-type]
        pass

    forward = module_class.forward
    code = forward.__code__.replace(co_name=forward.__code__.co_name)
    copied = types.FunctionType(code, forward.__globals__, forward.__name__, None, forward.__closure__)
    copied.__kwdefaults__ = forward.__kwdefaults__
    copied.__dict__.update(forward.__dict__)
    Twin.forward = copied  # type: ignore[method-assign]
    return Twin


def errors(rounds: int) -> Record:
    """Raise the error for channels-last images, including its message."""
    images = digits(4).permute(0, 2, 3, 1)
    model = tn.TinyVisionMLP().eval()

    def refused(call: Callable[..., object]) -> Callable[[], None]:
        def attempt() -> None:
            try:
                call(images)
            except TypeCheckError as error:
                str(error)
            else:
                raise AssertionError("the wrong input was accepted")

        return attempt

    sides = [Variant(CHECKED, refused(model)), Variant(JAXTYPED, refused(with_weights_of(model, Jaxtyped())))]
    seconds = interleaved(sides, rounds=max(4, rounds // 10), milliseconds=50)
    print(f"raising an error: {control(seconds, CHECKED)}")
    record = {name: Spread.of(times).scaled(1e3) for name, times in seconds.items() if name != CONTROL}
    for name, spread in record.items():
        print(f"raising an error, {name}: {spread.text(2)} ms")
    return {f"{name} [ms]": spread.record() for name, spread in record.items()}


def class_creation() -> Record:
    """Define a class with five annotated lines repeatedly."""
    milliseconds = []
    for _ in range(20):
        began = time.thread_time()
        define()
        milliseconds.append(1000 * (time.thread_time() - began))
    first, rest = milliseconds[0], Spread.of(milliseconds[1:])
    print(f"class creation: {rest.text(2)} ms, the first {first:.2f} ms")
    return {"first [ms]": first, "later [ms]": rest.record()}


def memory(calls: int) -> Record:
    """Count the bytes that remain allocated after many checked calls with changing batch sizes."""
    model = tn.TinyVisionMLP(hidden=4).eval()
    inputs = [digits(batch) for batch in (1, 2, 3, 4)]
    for images in inputs * 10:
        model(images)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(calls // len(inputs)):
        for images in inputs:
            model(images)
    gc.collect()
    retained = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"memory retained over {calls:,} calls: {retained:,} bytes")
    return {"calls": calls, "bytes": retained}


def bars(record: Record) -> str:
    """Compare the medians with the targets of the project."""
    batches, blocks = record["TinyVisionMLP"]["batches"], record["deep model"]
    median = {batch: figures["checked to unchecked"]["median"] for batch, figures in batches.items()}
    each = {depth: figures["nanoseconds per checked tensor"]["median"] for depth, figures in blocks.items()}
    rows = [
        *(
            (f"checked / unchecked, batch {b}", median[b], bar)
            for b, bar in (("1", 1.05), ("32", 1.01), ("256", 1.01))
        ),
        ("checked / plain, batch 1", batches["1"]["ratio to plain"][CHECKED]["median"], 1.0),
        ("overhead / jaxtyped's, batch 1", batches["1"]["overhead to that of jaxtyped"], 0.1),
        ("ns per checked tensor, batch 1", batches["1"]["nanoseconds per checked tensor"]["median"], 500),
        ("ns per checked tensor, 24 blocks / 6 blocks", each["24 blocks"] / each["6 blocks"], 1.25),
        ("checked / unchecked, compiled", record["compiled"]["checked to unchecked"]["median"], 1.02),
        ("ms to raise an error", record["raising an error"][f"{CHECKED} [ms]"]["median"], 10),
        ("ms to create a class", record["class creation"]["later [ms]"]["median"], 5),
        ("bytes retained per call", record["memory"]["bytes"] / record["memory"]["calls"], 0.1),
    ]
    header = ["bar", "measured", "at most", ""]
    return table(
        header,
        [[name, f"{value:.3g}", f"{bar:g}", "ok" if value <= bar else "missed"] for name, value, bar in rows],
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=300, help="turns that every side takes")
    options.add_argument("--calls", type=int, default=100_000, help="calls of the memory section")
    options.add_argument("--forms", action="store_true", help="compare the forms of annotations instead")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if chosen.forms:
        print(f"Wrote {write('forms', compare_forms(chosen.rounds))}")
        return
    with torch.inference_mode():
        record = {"rounds": chosen.rounds, "TinyVisionMLP": compare(chosen.rounds)}
        print()
        record["deep model"] = deep(chosen.rounds)
        record["compiled"] = compiled(chosen.rounds)
        record["raising an error"] = errors(chosen.rounds)
        record["class creation"] = class_creation()
        record["memory"] = memory(chosen.calls)
    print(f"\n{bars(record)}\n\nWrote {write('contract', record)}")


if __name__ == "__main__":
    main()
