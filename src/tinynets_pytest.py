"""The pytest plugin of tinynets: its options.

It is outside the package because pytest imports every installed plugin in every run: importing the package
would load torch for suites that do not use it.
"""

from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options: which models to check, and how."""
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
    for flag, metavar, text in (
        ("group", "NAME", "only this group, id or glob"),
        ("exempt", "ID=REASON", "a check that is known to fail, by id or glob, and why"),
        ("argument", "NAME=VALUE", "an argument of the class or function that makes the model"),
        (
            "batch-axis",
            "AXIS",
            "the axis that counts samples, for all tensors or for each, or none",
        ),
    ):
        group.addoption(f"--tinynets-{flag}", action="append", default=[], metavar=metavar, help=text)
    group.addoption("--tinynets-timeout", type=float, metavar="SECONDS", help="limit for one check")
    group.addoption(
        "--tinynets-project", action="store_true", help="check the models that [tool.tinynets] names"
    )
    group.addoption(
        "--tinynets-packages",
        metavar="PKG,PKG",
        help="enforce the tensor annotations of these packages; those that are not true come in a table at"
        " the end, and fail no test",
    )
    group.addoption("--tinynets-baseline", metavar="FILE", help="annotations that are known not to be true")
    group.addoption("--tinynets-write-baseline", action="store_true", help="write that file")
    group.addoption("--tinynets-slow", action="store_true", help="run also the checks that take seconds")


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Install the import hook before a conftest can import the packages."""
    options = early_config.known_args_namespace
    packages = options.tinynets_packages
    if not packages and (options.tinynets_baseline or options.tinynets_write_baseline):
        raise pytest.UsageError("a baseline needs --tinynets-packages=PKG,PKG: it is of those packages")
    if packages:
        from tinynets._packages.pytest_lies import start

        start(early_config, packages)


def pytest_configure(config: pytest.Config) -> None:
    """Collect nothing else if models are named but paths are not; refuse options that would do nothing."""
    _refuse_options_without_a_model(config.option)
    named = config.getoption("tinynets_check") or config.getoption("tinynets_project")
    if named and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


def _refuse_options_without_a_model(option: Any) -> None:
    if option.tinynets_check:
        return
    useless = dict.fromkeys(("input", "exempt", "argument", "batch-axis"), "")
    if not option.tinynets_project:
        useless |= dict.fromkeys(("group", "timeout", "slow"), " or --tinynets-project")
    for flag, other in useless.items():
        if getattr(option, f"tinynets_{flag}".replace("-", "_")):
            raise pytest.UsageError(f"--tinynets-{flag} needs --tinynets-check=PKG.MOD:MODEL{other}")


def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the checks of the named models."""
    option = session.config.option
    if option.tinynets_check or option.tinynets_project:
        from tinynets.testing.pytest_items import items as made

        items.extend(made(session, option))
