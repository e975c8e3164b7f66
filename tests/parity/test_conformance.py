"""`check_model` on models of torchvision and timm: no objection but those that are explained.

`python -m tests.parity.conformance_page` writes what is found to `docs/conformance.md`; here the page is held
against it.
"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("timm", reason="`make parity` installs it")
pytest.importorskip("torchvision", reason="`make parity` installs it")

from .conformance_flags import FLAGS
from .conformance_nets import NETS
from .conformance_page import PAGE, Row, checked, flag_table


@pytest.fixture(autouse=True)
def single_precision(double_precision: None) -> None:
    """Check the models as they are used; the fixture of the other tests puts the dtype back."""
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", NETS)
def test_objections_to_a_model_are_those_explained(name: str):
    report = checked(name)
    objections = report.with_status("failed", "warned", "xpassed")
    assert not objections, "\n\n".join(f"{result.id}: {result.message}" for result in objections)
    counts = Row.of(name, report).counts
    assert f"\n| {counts} | " in PAGE.read_text(), f"{PAGE} is out of date: {counts}"


def test_the_page_explains_every_flag():
    assert set(FLAGS) <= set(NETS)
    assert len(NETS) >= 40
    assert flag_table() in PAGE.read_text()
