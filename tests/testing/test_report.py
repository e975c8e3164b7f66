"""Everything is reported, nothing is skipped in silence, and one error has all the failures."""

import io
import json
import re
import threading
import time
from dataclasses import replace
from typing import ClassVar, get_args
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets.errors import CheckTimeout
from tinynets.testing import Exemption, Failure, Level, ModelCheckError, ModelCheckWarning, Status
from tinynets.testing.check_ids import Group
from tinynets.testing.measure.time_limit import time_limit
from tinynets.testing.options import Options
from tinynets.testing.report.report import Report
from tinynets.testing.runner import Runner, run_one
from tinynets.testing.suite import prepare

from .nets import GIVEN, Declares, Good, LongRepr, NotFinite, Raises

RUNS = sorted(check.id for check in tn.testing.list_checks() if check.id.startswith("runs."))
IDS = [check.id for check in tn.testing.list_checks()]


def collect(model, *inputs, **options):
    options.setdefault("groups", ["runs"])
    return tn.testing.check_model(model, *(inputs or (GIVEN,)), on_fail="collect", **options)


def test_every_check_is_in_the_report_and_those_that_did_not_run_say_why():
    report = collect(Good, groups=None)
    assert sorted(result.id for result in report) == sorted(IDS)
    for result in report:
        assert result.status in Status
        if result.status == "skipped":
            assert result.note, result.id
    assert report["transforms.compile"].note == "takes seconds: slow=True runs it"
    assert sum(report.counts.values()) == len(report) == len(IDS)


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        ({"groups": "runs"}, RUNS),
        ({"groups": ["runs", "layout.*"]}, [*RUNS, "layout.channels_last", "layout.noncontiguous"]),
        ({"groups": None, "checks": "runs.repr"}, ["runs.repr"]),
        ({"groups": None, "checks": ["*.threads", "batch.sizes"]}, ["batch.sizes[1]", "batch.sizes[3]", "purity.threads"]),
        ({"groups": "runs", "checks": "batch.nan"}, [*RUNS, "batch.nan"]),
    ],
)  # fmt: skip
def test_groups_and_checks_take_one_name_or_many_ids_and_globs_and_others_do_not_appear(selection, ids):
    report = collect(Good, **selection)
    assert sorted(result.id for result in report) == sorted(ids)


def test_one_exemption_is_for_all_variants():
    class FourOnly(Good):
        def forward(self, x):
            if len(x) not in (3, 4):
                raise ValueError("four")
            return super().forward(x)

    report = collect(FourOnly, checks="batch.sizes", groups=None, expected_failures={"batch.sizes": "four"})
    assert {result.id: result.status for result in report} == {
        "batch.sizes[1]": "xfailed",
        "batch.sizes[3]": "passed",
    }


def test_all_failures_come_in_one_error():
    class Both(LongRepr, NotFinite):
        pass

    with pytest.raises(ModelCheckError) as caught:
        tn.testing.check_model(Both, GIVEN, groups=["runs"])
    report = caught.value.report
    assert [result.id for result in report if result.bad] == ["runs.repr", "runs.eval"]
    text = str(caught.value)
    assert text.startswith(f"Both: 2 of {len(RUNS)} checks failed (")
    assert "runs.repr (failed): repr(model) is too long\n  size     2," in text
    assert (
        "runs.eval (failed): the output is not finite\n"
        "  where    output\n"
        "  size     20 of 20 values\n"
        '  declare  expected_failures={"runs.eval": "why"}'
    ) in text


def test_the_failures_can_be_a_warning_or_only_collected():
    with pytest.warns(ModelCheckWarning, match="repr\\(model\\) is too long"):
        report = tn.testing.check_model(LongRepr, GIVEN, groups=["runs"], on_fail="warn")
    assert not report.ok
    assert not collect(LongRepr).ok
    with pytest.raises(ValueError, match='on_fail is "raise", "warn" or "collect", got \'ignore\''):
        tn.testing.check_model(Good, GIVEN, on_fail="ignore")


@pytest.mark.parametrize("timeout", [-3, 0, float("nan")])
def test_no_time_at_all_is_refused(timeout):
    with pytest.raises(ValueError, match=f"timeout is a positive number of seconds or None, got {timeout}"):
        collect(Good, timeout=timeout)


def test_a_model_that_raises_fails_once_and_the_others_say_why_they_did_not_run():
    report = collect(Raises, groups=None)
    failed = report["runs.eval"]
    assert failed.status == "failed"
    assert failed.failure.what == "the model raised RuntimeError: the sky is falling"
    assert re.search(r"nets\.py:\d+: raise RuntimeError", failed.failure.where)
    assert isinstance(failed.failure.error, RuntimeError)
    assert report["runs.structure"].note == "the model does not run: see runs.eval"
    ran = {result.id for result in report if result.status != "skipped"}
    static = {check.id for check in tn.testing.list_checks() if check.static}
    assert ran <= static | {"runs.eval"}


def test_the_cheap_checks_come_first_and_the_slow_ones_last():
    order = [result.id for result in collect(Good)]
    checks = {check.id: check for check in tn.testing.list_checks()}
    static = [checks[id].static and not checks[id].slow for id in order]
    assert static == sorted(static, reverse=True)
    slow = [checks[id].slow for id in order]
    assert slow == sorted(slow)


def test_exemptions_carry_a_reason_and_a_stale_one_is_a_failure():
    report = collect(LongRepr, expected_failures={"runs.repr": "we print the weights"})
    assert (report["runs.repr"].status, report["runs.repr"].note) == (
        "xfailed",
        "we print the weights",
    )
    assert report.ok
    stale = collect(Good, expected_failures={"runs.repr": "we print the weights"})
    assert stale["runs.repr"].status == "xpassed"
    assert not stale.ok
    assert "remove the exemption (we print the weights)" in stale["runs.repr"].message
    with pytest.raises(ValueError, match="an exemption needs a reason"):
        collect(LongRepr, expected_failures={"runs.repr": " "})
    with pytest.raises(ValueError, match="skip: 'runs.repr' needs a reason"):
        collect(LongRepr, skip={"runs.repr": ""})


def test_an_exemption_holds_for_the_error_that_it_names_only():
    def status(**how):
        exemption = Exemption("known", **how)
        return collect(Raises, expected_failures={"runs.eval": exemption})["runs.eval"]

    assert status(raises=RuntimeError, match="sky").status == "xfailed"
    other = status(raises=KeyError)
    assert other.status == "failed"
    assert "the exemption does not fit (expected KeyError, got RuntimeError): known" in other.message
    assert status(match="ground").status == "failed"


def test_a_class_can_declare_what_would_be_passed_and_what_is_passed_wins():
    assert collect(Declares)["runs.repr"].note == "a joke"
    passed = collect(Declares, expected_failures={"runs.repr": "not funny"})
    assert passed["runs.repr"].note == "not funny"

    class Misspelt(Good):
        __checks__: ClassVar = {"expected_failure": {}}

    expected = "there is no argument 'expected_failure'; did you mean 'expected_failures'?"
    with pytest.raises(ValueError, match=re.escape(expected)):
        collect(Misspelt)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"skip": {"runs.reper": "x"}},
            "skip: there is no check 'runs.reper'; did you mean 'runs.repr'?",
        ),
        ({"groups": ["run"]}, "groups: there is no group 'run'; did you mean 'runs'?"),
        ({"supports": ["runs.repr"]}, "supports: 'runs.repr' is no capability"),
        ({"params": {"runs.repr": {"size": 3}}}, "params['runs.repr']: there is no parameter 'size'"),
    ],
)
def test_what_does_not_exist_is_refused(options, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        collect(Good, **options)


class Broken:
    """A check with a bug of its own."""

    id, level = "mine.broken", Level.MUST

    def __call__(self, subject):
        return {}["nothing"]


class Endless(Good):
    def extra_repr(self):
        while True:
            pass


class Waits(Good):
    def extra_repr(self):
        threading.Event().wait()


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (Endless, "it used 0.05 s of the processor: timeout= allows more"),
        (Waits, "it has not ended after 0.5 s: does it wait for a lock?"),
    ],
)
def test_a_check_that_takes_too_long_is_an_error_and_the_others_go_on(model, what, monkeypatch):
    if model is Endless:  # on a busy machine, half a second may pass before it has had its share
        monkeypatch.setattr("tinynets.testing.measure.time_limit._PATIENCE", 10_000)
    report = collect(model, timeout=0.05, groups=["runs"])
    assert report["runs.repr"].status == "error"
    assert report["runs.repr"].failure.what == f"tinynets could not judge this: {what}"
    assert report["runs.eval"].status == "passed"
    assert not report.ok
    assert not report.with_status("failed")
    with pytest.raises(ModelCheckError, match="^Endless: 0 of [0-9]+ checks failed|^Waits: 0 of [0-9]+"):
        tn.testing.check_model(model, GIVEN, timeout=0.05, groups=["runs"])


class Deaf:
    """Python drops whatever is raised while it deletes one."""

    def __del__(self):
        spin()


def spin():
    while True:
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_timeout_that_python_drops_comes_again(monkeypatch):
    monkeypatch.setattr("tinynets.testing.measure.time_limit._AGAIN", 0.05)
    deaf = [Deaf()]
    with pytest.raises(CheckTimeout), time_limit(0.05):
        deaf.clear() or spin()


def test_a_busy_machine_is_no_timeout():
    with time_limit(0.05):
        time.sleep(0.2)


def test_a_check_that_breaks_is_an_error_and_not_a_failure_of_the_model():
    subject, plan = prepare(Good, (GIVEN,), Options(expected_failures={"runs.repr": "known"}))
    result = run_one(Broken(), subject, plan)
    assert result.status == "error"
    assert result.failure.what == "tinynets could not judge this: the check raised KeyError: 'nothing'"
    assert re.search(r"test_report.py:\d+: return {}\[.nothing.\]", result.failure.where)
    assert "expected_failures" not in result.message
    report = Report("Good", (result,))
    suite = ElementTree.fromstring(report.to_junit())
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert suite.find("testcase/error").get("message") == result.failure.what
    lower = Report("Good", (replace(result, level=Level.SHOULD),))
    assert lower.ok, "what only warns does not fail for want of a verdict"


def test_a_check_made_after_the_first_list_is_seen():
    from tinynets.testing import definition

    before = tn.testing.list_checks()
    try:

        @tn.testing.check("house.late", Level.MUST)
        def late(subject):
            """Came late."""

        assert [found.id for found in tn.testing.list_checks() if found not in before] == ["house.late"]
        assert collect(Good, groups=["house"])["house.late"].status == "passed"
    finally:
        definition._REGISTERED.pop("house.late", None)


def test_a_check_of_ones_own_is_found_by_its_entry_point(monkeypatch):
    from tinynets.testing import definition

    class NoLinear:
        """No linear layers here."""

        id, level = "house.no_linear", Level.SHOULD

        def __call__(self, subject):
            for name, found in subject.model.named_modules():
                if isinstance(found, nn.Linear):
                    raise Failure("there is a linear layer", where=name)

    class Entry:
        name, value = "house", "house:checks"

        def load(self):
            return [NoLinear()]

    class Wrong(Entry):
        def load(self):
            return "not a check"

    definition._offered.cache_clear()
    try:
        monkeypatch.setattr(definition, "entry_points", lambda group: [Entry()])
        found = collect(Good, groups=["house"])["house.no_linear"]
        assert (found.status, found.failure.where) == ("warned", "linear")
        definition._offered.cache_clear()
        monkeypatch.setattr(definition, "entry_points", lambda group: [Wrong()])
        with pytest.raises(
            TypeError, match="entry point 'house' \\(house:checks\\): 'not a check' is not a Check"
        ):
            tn.testing.list_checks()
    finally:
        monkeypatch.undo()
        definition._offered.cache_clear()


def test_json_junit_and_markdown_say_what_the_report_says(tmp_path):
    report = collect(LongRepr, skip={"runs.structure": "not today | ever"})
    data = json.loads(report.to_json(tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text()) == data
    assert (data["model"], data["ok"], data["counts"]) == ("LongRepr", False, report.counts)
    assert [entry["id"] for entry in data["results"]] == [result.id for result in report]
    assert data["environment"]["torch"] == torch.__version__

    suite = ElementTree.fromstring(report.to_junit())
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert (suite.get("tests"), suite.get("failures")) == (str(len(RUNS)), "1")
    assert cases["runs.repr"].find("failure").get("message") == "repr(model) is too long"
    assert cases["runs.structure"].find("skipped").get("message") == "not today | ever"
    assert len(list(suite.iter("skipped"))) == int(suite.get("skipped"))

    rows = [line for line in report.to_markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(RUNS)
    assert "| `runs.structure` | must | skipped | not today \\| ever |" in rows


def test_type_checkers_know_every_group():
    assert list(get_args(Group)) == sorted({id.partition(".")[0] for id in IDS})


def test_a_notebook_shows_what_fails_first_and_every_message_as_text():
    html = collect(LongRepr, groups=None, skip={"state.seed": "<b>&"})._repr_html_()
    ids = re.findall(r"<code>(.*?)</code>", html)
    assert ids[0] == "runs.repr"
    assert sorted(ids) == sorted(IDS)
    assert html.index("runs.repr") < html.index("<details>") < html.index(ids[1])
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html


def test_the_table_has_every_check_and_plain_text_is_one_line_for_each():
    from rich.console import Console

    report = collect(LongRepr, groups=None)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report)
    shown = console.export_text()
    assert all(id in shown for id in IDS)
    lines = str(report).splitlines()
    assert lines[0].startswith(f"LongRepr: {len(IDS)} checks in ")
    assert lines[1].startswith("failed   runs.repr"), "what fails comes first"


@pytest.mark.slow
def test_the_repr_is_ten_lines_at_most_failures_first():
    class Bad(LongRepr):
        def forward(self, x):
            x += 1
            self.last = x
            return super().forward(x)

    report = collect(Bad, groups=None)
    lines = repr(report).splitlines()
    assert len(lines) <= 10
    assert lines[0] == str(report).splitlines()[0]
    assert lines[1].startswith("failed purity.inputs: a call in eval mode writes to its arguments (and ")
    assert repr(collect(Good)).splitlines()[1:] == []


def test_a_model_that_does_not_run_fails_whatever_is_selected():
    report = collect(Raises, groups="batch")
    assert not report.ok
    assert report["runs.eval"].status == "failed"
    assert report["batch.neighbour"].note == "the model does not run: see runs.eval"


def test_what_is_only_warned_of_is_a_warning_of_python():
    class Zero(Good):
        def __init__(self):
            super().__init__()
            nn.init.zeros_(self.linear.weight)

    with pytest.warns(ModelCheckWarning, match="warned state.init: the output is the same for every sample"):
        report = tn.testing.check_model(Zero, GIVEN, groups="state")
    assert report.ok
    assert collect(Zero, groups="state").counts["warned"] == 1


def test_the_callback_sees_every_result_as_it_comes():
    seen = []
    report = collect(Good, callback=seen.append)
    assert seen == list(report)


def test_a_check_is_run_once_when_it_is_asked_for():
    runner = Runner(*prepare(Good, (GIVEN,), Options()))
    check = next(check for check in tn.testing.list_checks() if check.id == "runs.eval")
    assert runner.result(check) is runner.result(check)
