"""Checks are found by their ids: the file of each, the decorator, and the ids of 0.1 that still work."""

import importlib
import re
import warnings
from pathlib import Path
from typing import ClassVar

import pytest

import tinynets as tn
from tinynets import cli
from tinynets.testing import Case, Failure, Level, ModelCheck, Options
from tinynets.testing.definition import registered
from tinynets.testing.measure.compare import Difference
from tinynets.testing.suite import prepare

from .nets import GIVEN, Good, LongRepr

CHECKS = [check for check in tn.testing.list_checks() if isinstance(check, ModelCheck)]
FOLDER = Path(tn.testing.__file__).parent / "checks"


def file_of(id: str) -> Path:
    group, name = id.partition("[")[0].split(".")
    return FOLDER / group / f"{name}.py"


def misplaced(checks) -> list[str]:
    return [check.id for check in checks if Path(check.function.__code__.co_filename) != file_of(check.id)]


def test_the_id_of_a_check_is_its_path():
    assert len(CHECKS) >= 68
    assert not misplaced(CHECKS)
    elsewhere = ModelCheck("batch.causal", Level.MUST, CHECKS[-1].function)
    assert misplaced([*CHECKS, elsewhere]) == ["batch.causal"]


def test_every_file_has_one_check_and_checks_come_in_the_order_of_their_paths():
    files = [path for path in sorted(FOLDER.glob("*/*.py")) if not path.name.startswith("_")]
    assert list(dict.fromkeys(file_of(check.id) for check in CHECKS)) == files
    for path in files:
        assert path.read_text(encoding="utf-8").count("\n@check(") == 1, path


def test_check_is_the_decorator_and_a_check_registered_late_is_seen(monkeypatch):
    before = tn.testing.list_checks()
    monkeypatch.setattr(
        "tinynets.testing.definition._REGISTERED", {check.id: check for check in registered()}
    )
    assert importlib.import_module("tinynets.testing").check is tn.testing.check

    @tn.testing.check("house.late", Level.MUST)
    def late(subject):
        """Object to every model."""
        raise Failure("too late")

    assert [check.id for check in tn.testing.list_checks()] == [check.id for check in before] + ["house.late"]
    report = tn.testing.check_model(Good, GIVEN, groups=["house"], on_fail="collect")
    assert report["house.late"].failure.what == "too late"


def test_the_name_of_0_1_for_assert_close_still_works():
    subject, _ = prepare(Good, (GIVEN,), Options())
    assert subject.close(lambda: None, "nothing differs") is None
    with pytest.raises(
        Failure, match="something differs\n  where    output\n  size     5.0e-01 of the largest value"
    ):
        subject.close(lambda: Difference("output", (), 0.5), "something differs")


# -- the ids of 0.1 ------------------------------------------------------------------------------------

OLD = {
    "contract.runs_eval": "runs.eval",
    "contract.runs_train": "runs.train",
    "contract.structure": "runs.structure",
    "contract.repr": "runs.repr",
}


def renamed(old: str, new: str):
    return pytest.warns(FutureWarning, match=re.escape(f"{old!r} is called {new!r} now"))


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_an_old_id_works_in_a_report_and_in_every_option(old, new):
    with renamed("contract", "runs"):
        report = tn.testing.check_model(Good, GIVEN, groups=["contract"])
    with renamed(old, new):
        assert report[old] is report[new]
    assert report[new].status == "passed"
    with renamed(old, new):
        skipped = tn.testing.check_model(Good, GIVEN, groups=["runs"], skip={old: "not today"})
    assert (skipped[new].status, skipped[new].note) == ("skipped", "not today")
    with renamed(old, new):
        stale = tn.testing.check_model(
            Good, GIVEN, groups=["runs"], expected_failures={old: "known"}, on_fail="collect"
        )
    assert stale[new].status == "xpassed"
    with renamed(old, new), pytest.raises(ValueError, match=f"supports: '{new}' is no capability"):
        tn.testing.check_model(Good, GIVEN, supports=[old])
    with (
        renamed(old, new),
        pytest.raises(ValueError, match=re.escape(f"params['{new}']: there is no parameter")),
    ):
        tn.testing.check_model(Good, GIVEN, params={old: {"limit": 1}})


def test_old_ids_work_where_a_class_declares_them_and_in_pytest_cases():
    class Declares(LongRepr):
        __checks__: ClassVar = {"expected_failures": {"contract.repr": "long"}, "groups": ["contract"]}

    with pytest.warns(FutureWarning) as caught:
        assert tn.testing.check_model(Declares, GIVEN)["runs.repr"].status == "xfailed"
    assert {str(warning.message).split("'")[1] for warning in caught} == {"contract", "contract.repr"}

    options = Options(skip={"contract.structure": "not today"}, groups=["runs"])
    mark = tn.testing.parametrize_checks([Case("good", Good, (GIVEN,), options)])
    structure = next(p.values[0] for p in mark.args[1] if p.id == "good-runs.structure")
    with (
        renamed("contract.structure", "runs.structure"),
        pytest.raises(pytest.skip.Exception, match="not today"),
    ):
        structure()


def test_old_ids_work_on_the_command_line(capsys):
    with renamed("contract.repr", "runs.repr"):
        assert cli.main(["check", "--about", "contract.repr"]) == 0
    assert capsys.readouterr().out.startswith("# `runs.repr`\n")
    with renamed("contract", "runs"):
        assert cli.main(["check", "tiny_vision_mlp", "--group", "contract"]) == 0
    assert "passed   runs.train" in capsys.readouterr().out


def test_the_warning_points_at_the_line_that_has_the_old_id_and_new_ids_do_not_warn():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = tn.testing.check_model(Good, GIVEN, groups=["contract"])
        report["contract.repr"]
        report["runs.repr"]
    assert [(warning.category, warning.filename) for warning in caught] == [(FutureWarning, __file__)] * 2


def test_an_old_id_that_a_check_of_ones_own_has_is_its_own(monkeypatch):
    monkeypatch.setattr(
        "tinynets.testing.definition._REGISTERED", {check.id: check for check in registered()}
    )
    tn.testing.check("contract.mine", Level.MUST)(lambda subject: None)
    report = tn.testing.check_model(Good, GIVEN, groups=["contract"])
    assert [result.id for result in report] == ["contract.mine"]
    assert report["contract.mine"].status == "passed"
