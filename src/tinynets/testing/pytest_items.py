"""Checks as pytest items without a test file: `pytest --tinynets-check=pkg.mod:factory`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..errors import TargetError
from ..inputs.targets import load_target
from .options import Options
from .pytest_params import Case, CaseCheck, selected_checks


class ModelCollector(pytest.Collector):
    """The checks of one model, named on the command line."""

    case: Case

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item for every check."""
        for check in selected_checks(self.case):
            item = CheckItem.from_parent(self, name=check.id)  # pyright: ignore[reportUnknownMemberType]
            item.run = CaseCheck(self.case, check)
            yield item


class CheckItem(pytest.Item):
    """One check of one model."""

    run: CaseCheck

    def runtest(self) -> None:
        """Run the check."""
        try:
            self.run()
        except (TypeError, ValueError) as error:  # the model cannot be checked: no inputs, for example
            pytest.fail(str(error), pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return what the terminal shows; there is no file and no line."""
        return self.path, None, self.nodeid


def items(
    session: pytest.Session, targets: list[str], inputs: list[str], slow: bool
) -> Iterator[pytest.Item]:
    """Yield the items of every target.

    Raises:
        pytest.UsageError: a target cannot be imported.
    """
    for target in targets:
        collector = ModelCollector.from_parent(session, name=target, nodeid=target)  # pyright: ignore[reportUnknownMemberType]
        try:
            model = load_target(target)
        except TargetError as error:
            raise pytest.UsageError(f"--tinynets-check={target}: {error}") from None
        collector.case = Case(target, model, tuple(inputs), Options(slow=slow))
        yield from collector.collect()  # pyright: ignore[reportReturnType]
