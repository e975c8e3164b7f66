"""The command itself, and what belongs to no room in particular."""

from __future__ import annotations

import os
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


MAKERS = """
import sys

def fails():
    raise RuntimeError("no\\nluck")

def leaves():
    sys.exit(7)

def is_stopped():
    raise KeyboardInterrupt
"""


@pytest.mark.parametrize("command", ["check", "explain", "prove"])
def test_what_makes_no_model_is_told_in_one_line(command: str, tmp_path: Path, capsys) -> None:
    file = tmp_path / "makers.py"
    file.write_text(MAKERS)
    assert main([command, f"{file}:fails"]) == 2
    error = f"tinynets: {file}:fails cannot be built: RuntimeError: no luck (makers.py:5)\n"
    assert capsys.readouterr().err == error
    assert main([command, f"{file}:leaves"]) == 2
    assert (
        capsys.readouterr().err == f"tinynets: {file}:leaves cannot be built: SystemExit: 7 (makers.py:8)\n"
    )
    assert main([command, f"{file}:is_stopped"]) == 130
    assert capsys.readouterr().err == "tinynets: interrupted\n"


def test_a_file_that_is_no_text_has_no_line_to_name(tmp_path: Path, capsys) -> None:
    file = tmp_path / "nulls.py"
    file.write_bytes(b"\0\0")
    assert main(["explain", f"{file}:Net"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tinynets: {file} cannot be imported: SyntaxError: source code ")
    assert ".py:" not in said.removeprefix(f"tinynets: {file} ")


def test_a_reader_that_has_left_is_no_error(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with monkeypatch.context() as patched, open(write, "w") as closed:
        patched.setattr("sys.stdout", closed)
        assert main(["list"]) == 141
    assert capsys.readouterr().err == ""


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
