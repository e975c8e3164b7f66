"""Every check has a page, and the pages in docs are those of the code."""

import re
from pathlib import Path

import pytest

import tinynets as tn
from tinynets import cli
from tinynets.testing.pages import pages

DOCS = Path(__file__).parents[2] / "docs" / "checks"


def test_the_pages_in_docs_are_made_from_the_code():
    written = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    assert written == pages(), "run: python -m tinynets.testing.pages docs/checks"


@pytest.mark.parametrize("name", sorted(set(pages()) - {"index.md"}))
def test_a_page_says_what_why_and_what_to_do(name):
    text = pages()[name]
    assert re.match(r"# `[\w.]+`\n\n\S[^\n]*\.\n", text), "the first line is one sentence"
    for section in ("Why", "Fix", "Declare"):
        assert f"\n## {section}\n\n" in text, f"{name} has no section {section!r}"


def test_every_check_is_in_the_index():
    for check in tn.testing.list_checks():
        assert f"| [`{check.id}`](" in pages()["index.md"]


def test_the_command_prints_a_page_and_refuses_what_it_does_not_know(capsys):
    assert cli.main(["check", "--about", "runs.repr"]) == 0
    assert capsys.readouterr().out == pages()["runs.repr.md"]
    assert cli.main(["check", "--about", "runs.rep"]) == 2
    assert "did you mean 'runs.repr'?" in capsys.readouterr().err


def test_the_command_checks_a_model(capsys):
    assert cli.main(["check", "tiny_vision_mlp", "--group", "runs"]) == 0
    assert "passed   runs.train" in capsys.readouterr().out
    assert cli.main(["check"]) == 2
    assert cli.main(["check", "tiny_vision_mlp", "--group", "run"]) == 2
