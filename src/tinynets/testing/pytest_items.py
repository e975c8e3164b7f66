"""`pytest --tinynets-check=pkg.mod:Model` and `--tinynets-project`: the checks as items without a test file;
the options are declared in `tinynets_pytest.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..errors import TargetError
from .options import Options
from .project import for_all_models, parse_arguments, parse_axes, parse_pairs, project_cases, target_case
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
        except (TypeError, ValueError) as error:  # the model cannot be checked: missing inputs, for example
            pytest.fail(str(error), pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return what the terminal shows; there is no file and no line."""
        return self.path, None, self.nodeid


def items(session: pytest.Session, option: Any) -> Iterator[pytest.Item]:
    """Yield the items of every model that the command line and the project name.

    Raises:
        pytest.UsageError: a model cannot be imported, or an option is malformed.
    """
    try:
        cases = _project(session.config.rootpath, option) if option.tinynets_project else []
        for target in option.tinynets_check:
            try:
                cases.append(_case(target, option))
            except TargetError as error:
                raise pytest.UsageError(f"--tinynets-check={target}: {error}") from None
    except (TargetError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None
    for case in cases:
        collector = ModelCollector.from_parent(session, name=case.label, nodeid=case.label)  # pyright: ignore[reportUnknownMemberType]
        collector.case = case
        yield from collector.collect()  # pyright: ignore[reportReturnType]


def _project(folder: Path, option: Any) -> list[Case]:
    return for_all_models(
        project_cases(folder),
        groups=option.tinynets_group,
        slow=option.tinynets_slow,
        timeout=option.tinynets_timeout,
    )


def _case(target: str, option: Any) -> Case:
    options = Options(
        slow=option.tinynets_slow,
        groups=option.tinynets_group or None,
        expected_failures=parse_pairs(option.tinynets_exempt, "--tinynets-exempt"),
        batch_axes=parse_axes(option.tinynets_batch_axis, "--tinynets-batch-axis"),
        timeout=Options().timeout if option.tinynets_timeout is None else option.tinynets_timeout,
    )
    arguments = parse_arguments(option.tinynets_argument, "--tinynets-argument")
    return target_case(target, option.tinynets_input, arguments=arguments, options=options)
