"""Check architectures of other packages, and print every objection that is not explained, with its text.

Run `python -m tests.wild.run [NAME ...]` in the environment of `make conformance-wild`. Without names, it writes
the section of docs/conformance.md too. It ends with 1 if an objection is not explained.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path

import torch

import tinynets as tn
from tinynets.testing.report.report import Report

from .flags import FALSE_ALARMS, FLAGS
from .net import Net

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
MARK = "\n## Architectures of other packages\n"
PACKAGES = {
    "transformers": "transformers",
    "diffusers": "diffusers",
    "smp": "segmentation_models_pytorch",
    "kornia": "kornia",
    "monai": "monai",
    "torchaudio": "torchaudio",
    "vit-pytorch": "vit-pytorch",
    "x-transformers": "x-transformers",
    "open_clip": "open_clip_torch",
    "neuralop": "neuraloperator",
}
SECTION = """
{number} architectures of
{packages},
from configurations without weights, the fast checks on torch {torch}: {clean} have no objection; the others have {must}
failures and {should} warnings, each listed with its reason. What is called a false alarm there is one ({false} of them);
the others are findings, some of them meant or harmless. `make conformance-wild` builds the environment, checks them
again, and fails on anything that is not listed. An architecture takes {median:.2f} s of one thread of the processor in the
median, and nine in ten take at most {p90:.2f} s.

What is worth a report to the packages is in [Findings in other packages](upstream_findings.md), each in a few lines that
reproduce it.

{flags}
"""


def nets() -> dict[str, Net]:
    """Return every architecture."""
    modules = [
        importlib.import_module(f"{__package__}.{name}") for name in ("transformers_nets", "other_nets")
    ]
    return {name: net for module in modules for name, net in module.NETS.items()}


def checked(name: str, net: Net) -> Report:
    """Check an architecture, with what is explained as exemptions."""
    flags = FLAGS.get(name, {})
    return tn.testing.check_model(
        net.make,
        *net.inputs,
        named=net.named,
        expected_failures=flags,
        on_fail="collect",
        timeout=120,
        **net.options,
    )


def flag_table(levels: dict[tuple[str, str], str]) -> str:
    """Return a row for each reason, with the architectures that it is about."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for (name, id), level in levels.items():
        prefix = "false alarm: " if (name, id) in FALSE_ALARMS else ""
        grouped.setdefault((id, level, prefix + FLAGS[name][id].reason), []).append(name)
    rows = [
        f"| {_several(names)} | [`{id}`](checks/{id}.md) | {level} | {reason} |"
        for (id, level, reason), names in sorted(grouped.items(), key=lambda item: item[1][0])
    ]
    return "\n".join(["| Architecture | Check | Level | Why |", "| -- | -- | -- | -- |", *rows])


def _several(names: list[str]) -> str:
    package = names[0].partition(" ")[0]
    return f"{package} {', '.join(name.removeprefix(package + ' ') for name in names)}"


def main(starts: list[str]) -> int:
    """Check every architecture, or those whose names begin so; return the exit code."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    everything = nets()
    chosen = [name for name in everything if not starts or any(name.startswith(start) for start in starts)]
    levels: dict[tuple[str, str], str] = {}
    seconds: list[float] = []
    unexplained = 0
    for name in chosen:
        start = time.process_time()
        try:
            report = checked(name, everything[name])
        except Exception:
            print(f"== {name}: not checked\n{traceback.format_exc(limit=-4)}", flush=True)
            unexplained += 1
            continue
        seconds.append(time.process_time() - start)
        print(f"== {name}: {report.counts} in {seconds[-1]:.2f} s", flush=True)
        levels |= {(name, result.id): result.level.value for result in report.with_status("xfailed")}
        for result in report.with_status("failed", "warned", "error", "xpassed"):
            unexplained += 1
            print(f"{name} {result.status} {result.level} {result.id}: {report.message(result)}", flush=True)
    p90 = sorted(seconds)[int(len(seconds) * 0.9)]
    print(f"{len(seconds)} architectures, {unexplained} objections that are not explained")
    print(f"processor seconds: median {statistics.median(seconds):.2f}, p90 {p90:.2f}")
    if not starts and not unexplained:
        found = list(levels.values())
        section = SECTION.format(
            number=len(seconds),
            packages=", ".join(f"{name} {version(package)}" for name, package in PACKAGES.items()),
            torch=torch.__version__.partition("+")[0],
            clean=len(seconds) - len({name for name, _ in levels}),
            false=len(FALSE_ALARMS & set(levels)),
            must=found.count("must"),
            should=found.count("should"),
            median=statistics.median(seconds),
            p90=p90,
            flags=flag_table(levels),
        )
        PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + section)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
