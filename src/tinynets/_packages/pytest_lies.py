"""`pytest --tinynets-packages=a,b`: the table of annotations that are not true, its columns, the baseline
file, the exit code, pytest-xdist, and packages in which nothing is enforced.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from .lenient_policy import Lenient, Lie
from .loader import PackageFinder
from .package import checked_modules

_NAMES = ("module", "function", "where", "annotation")


class Lies:
    """Collects the lies of a test run; the main process also collects those of its workers.

    The file of the baseline has the lies that are known, or is to be written.
    """

    def __init__(self, packages: list[str], baseline: Path | None, *, write: bool) -> None:
        self.packages, self.baseline, self.write = packages, baseline, write
        self.finder = PackageFinder(tuple(packages))
        self.counts = Counter[Lie]()
        self.enforced: dict[str, bool] = {}  # package that was imported -> whether anything in it is checked
        self.known: set[tuple[str, ...]] = set()
        if baseline and not write:
            try:
                self.known = {
                    tuple(entry[name] for name in _NAMES) for entry in json.loads(baseline.read_text())
                }
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise pytest.UsageError(
                    f"--tinynets-baseline={baseline} cannot be read ({error});"
                    " --tinynets-write-baseline makes it"
                ) from None

    def note(self, lie: Lie) -> None:
        """Count a lie."""
        self.counts[lie] += 1

    @property
    def new(self) -> dict[Lie, int]:
        """The lies that are not in the baseline, sorted by place, and how often each occurred."""
        found = {lie: n for lie, n in self.counts.items() if _key(lie) not in self.known}
        return dict(sorted(found.items(), key=lambda item: (item[0].module, item[0].line, item[0].where)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Send the results to the main process, or set the exit code there."""
        for package in self.packages:
            modules = checked_modules(package)
            if modules or package in sys.modules:
                used = any(module.checks or module.waiting or module.classes for module in modules)
                self.enforced[package] = self.enforced.get(package, False) or used
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:  # a worker of pytest-xdist
            output["tinynets_lies"] = [(asdict(lie), n) for lie, n in self.counts.items()]
            output["tinynets_enforced"] = self.enforced
        elif session.exitstatus == pytest.ExitCode.OK and (self._silent() or (self.new and not self.write)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add the results of a worker."""
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        for fields, count in output.get("tinynets_lies", []):
            self.counts[Lie(**fields)] += count
        for package, enforced in output.get("tinynets_enforced", {}).items():
            self.enforced[package] = self.enforced.get(package, False) or enforced

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the table."""
        write, lies = terminalreporter.write_line, self.counts if self.write else self.new
        count = len({_key(lie) for lie in lies})
        calls = sum(lies.values())
        terminalreporter.write_sep(
            "=",
            f"tinynets: {count} annotation{'' if count == 1 else 's'} not true, in {calls}"
            f" call{'' if calls == 1 else 's'}",
        )
        for line in [*self._silent(), *_table(self.new)]:
            write(line)
        known = {_key(lie) for lie in self.counts} & self.known
        if known:
            write(f"{len(known)} more in {self.baseline}, which has {len(self.known)}")
        if self.write and self.baseline:
            entries = sorted({_key(lie) for lie in self.counts})
            text = json.dumps([dict(zip(_NAMES, entry, strict=True)) for entry in entries], indent=1)
            self.baseline.write_text(text + "\n")
            write(f"written to {self.baseline}")

    def _silent(self) -> list[str]:
        """Return a line for each package in which nothing was enforced."""
        return [
            f"no module of {package!r} was imported, so nothing is enforced; is the name right?"
            if package not in self.enforced
            else f"{package} has no tensor annotations of jaxtyping, so nothing is enforced"
            for package in self.packages
            if not self.enforced.get(package)
        ]


def _key(lie: Lie) -> tuple[str, ...]:
    """Return the part of a lie that edits to a file do not change; `parts[3]` and `parts[4]` are the same."""
    return lie.module, lie.function, lie.where.partition("[")[0], lie.annotation


def _table(lies: dict[Lie, int]) -> list[str]:
    """Return a row for each annotation: its first value and the number of calls."""
    first: dict[tuple[str, ...], Lie] = {}
    calls = Counter[tuple[str, ...]]()
    for lie, count in lies.items():
        first.setdefault(_key(lie), lie)
        calls[_key(lie)] += count
    rows = [("calls", "line", "function", "annotation", "value")] if first else []
    for key, lie in first.items():
        place, name = f"{lie.module}:{lie.line}", f"{lie.function}({lie.where})"
        rows.append((str(calls[key]), place, name, lie.annotation, lie.value))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def start(config: Any, packages: str) -> None:
    """Install the hook and collect the lies, before pytest has loaded any conftest.

    Raises:
        pytest.UsageError: a package is already imported, or the baseline cannot be read.
    """
    options = config.known_args_namespace
    names = [name.strip() for name in packages.split(",") if name.strip()]
    for name in names:
        if name in sys.modules:
            raise pytest.UsageError(
                f"--tinynets-packages: {name} is imported already, so nothing in it would be enforced"
            )
    if options.tinynets_write_baseline and not options.tinynets_baseline:
        raise pytest.UsageError("--tinynets-write-baseline needs --tinynets-baseline=FILE")
    baseline = Path(options.tinynets_baseline) if options.tinynets_baseline else None
    lies = Lies(names, baseline, write=options.tinynets_write_baseline)
    sys.meta_path.insert(0, lies.finder)
    Lenient.collector = lies.note
    config.pluginmanager.register(lies, "tinynets-lies")
