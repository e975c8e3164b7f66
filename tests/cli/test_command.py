"""The command itself, and what belongs to no room in particular."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinynets as tn
from tinynets.cli import main


def test_alone_it_shows_its_help(capsys) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: tinynets [-h] [--version] COMMAND ...\n")


def test_its_version_is_that_of_the_package(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"tinynets {tn.__version__}\n"


def test_check_names_every_check(capsys) -> None:
    assert main(["check", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [check.id for check in tn.testing.list_checks()]
    assert "batch.neighbour                    must" in lines


def test_shapes_may_have_commas(capsys) -> None:
    assert main(["explain", "lenet5", "--input", "batch, 1, 28, 28"]) == 0
    with_commas = capsys.readouterr().out
    assert main(["explain", "lenet5", "--input", "batch 1 28 28"]) == 0
    assert capsys.readouterr().out == with_commas


def test_a_missing_folder_is_told_before_the_work(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.export.export", lambda *_: pytest.fail("it was traced"))
    file = tmp_path / "models" / "lenet5.pt2"
    assert main(["export", "lenet5", "--to", str(file)]) == 2
    assert capsys.readouterr().err == f"tinynets: cannot write {file}: there is no folder {file.parent}\n"


@pytest.mark.parametrize("function", [tn.explain, tn.export, tn.optimize_for_inference])
def test_a_name_or_a_class_is_told_what_to_write(function, tmp_path: Path) -> None:
    arguments = [tmp_path / "x.pt2"] if function is tn.export else []
    name = f"{function.__name__}() takes a torch.nn.Module, got "
    with pytest.raises(TypeError) as caught:
        function("resnet20", *arguments)
    assert str(caught.value) == f"{name}the name 'resnet20': pass tinynets.create_model('resnet20')"
    with pytest.raises(TypeError) as caught:
        function(tn.TinyVisionMLP, *arguments)
    assert str(caught.value) == f"{name}the class TinyVisionMLP: pass an instance, TinyVisionMLP(...)"
    with pytest.raises(TypeError) as caught:
        function("resnet21", *arguments)
    assert str(caught.value) == f"{name}str"
