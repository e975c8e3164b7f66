"""The pytest plugin of tinynets: three options.

It stands outside the package because pytest imports every installed plugin in every run: importing the
package would load torch for suites that never ask for it.
"""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--tinynets-check`, `--tinynets-input` and `--tinynets-slow`."""
    group = parser.getgroup("tinynets", "conformance checks of PyTorch models")
    group.addoption(
        "--tinynets-check",
        action="append",
        default=[],
        metavar="PKG.MOD:MODEL",
        help="check a model, or what a class or function makes; imports the module; no test file is needed",
    )
    group.addoption(
        "--tinynets-input",
        action="append",
        default=[],
        metavar="SHAPE",
        help='an input of the model, such as "batch 3 32 32", where its annotations do not tell',
    )
    group.addoption("--tinynets-slow", action="store_true", help="run also the checks that take seconds")


def pytest_configure(config: pytest.Config) -> None:
    """Collect nothing else where models are named and paths are not."""
    if config.getoption("tinynets_check") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the checks of the models that are named."""
    option = session.config.option
    if option.tinynets_check:
        from tinynets.testing.pytest_items import items as made

        items.extend(made(session, option.tinynets_check, option.tinynets_input, option.tinynets_slow))
