"""One switch for the process: `checks(False)` and `TINYNETS_CHECKS=0`."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import tinynets as tn


@tn.contract
def identity(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    y: Float[Tensor, "n"] = x
    return y


WRONG = torch.ones(2, 2)


def is_enforced() -> bool:
    try:
        identity(WRONG)
    except tn.ShapeError:
        return True
    return False


def test_off_inside_the_block_and_on_again_after() -> None:
    assert is_enforced()
    with tn.checks(False):
        assert not is_enforced()
        with tn.checks(True):
            assert is_enforced()
        assert not is_enforced()
    assert is_enforced()


def test_on_again_after_an_exception() -> None:
    with pytest.raises(KeyboardInterrupt), tn.checks(False):
        raise KeyboardInterrupt
    assert is_enforced()


def test_as_decorator_also_recursive() -> None:
    @tn.checks(False)
    def off(depth: int = 2) -> bool:
        return is_enforced() or (depth > 0 and off(depth - 1))

    assert not off()
    assert is_enforced()


def test_blocks_may_end_in_any_order() -> None:
    first, second = tn.checks(False), tn.checks(True)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert is_enforced()
    second.__exit__(None, None, None)
    assert is_enforced()


def test_other_threads_see_it() -> None:
    seen: list[bool] = []
    with tn.checks(False):
        thread = threading.Thread(target=lambda: seen.append(is_enforced()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_processes_started_inside_inherit_it() -> None:
    assert "TINYNETS_CHECKS" not in os.environ
    with tn.checks(False):
        assert os.environ["TINYNETS_CHECKS"] == "0"
    assert "TINYNETS_CHECKS" not in os.environ


PROBE = """
import torch, tinynets as tn
try:
    tn.TinyVisionMLP()(torch.ones(2, 28, 28, 1))
except tn.ShapeError:
    print("enforced")
else:
    print("off")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        (["-OO"], {"JAXTYPING_DISABLE": "1"}, "enforced"),
        ([], {"TINYNETS_CHECKS": "0"}, "off"),
        ([], {"TINYNETS_CHECKS": "1"}, "enforced"),
    ],
)
def test_a_process_of_its_own(options: list[str], environment: dict[str, str], expected: str) -> None:
    result = subprocess.run(
        [sys.executable, *options, "-c", PROBE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == expected


@pytest.mark.slow
def test_a_bad_value_in_the_environment_is_refused() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import tinynets"],
        env={**os.environ, "TINYNETS_CHECKS": "maybe"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "TINYNETS_CHECKS must be 0 or 1, got 'maybe'" in result.stderr


def test_checks_takes_a_bool() -> None:
    with pytest.raises(TypeError, match="takes True or False, got 'no'"):
        tn.checks("no")  # type: ignore[arg-type]
