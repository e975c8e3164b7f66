"""The checks of one model run in one worker, since they share what the first of them computed."""

import pytest


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from tinynets.testing.pytest_params import CaseCheck  # pytest reads this file before the tests start

    for item in items:
        check = getattr(item, "callspec", None) and item.callspec.params.get("check")
        if isinstance(check, CaseCheck):
            item.add_marker(pytest.mark.xdist_group(check.case.label))
