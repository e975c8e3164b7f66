"""`tinynets comments`: only comments change, twice is once, and a stale one fails."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets.cli import main

MODEL = '''"""A file."""
import torch.nn.functional as F
from torch import nn


class Small(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.fc1 = nn.Linear(8, width)
        self.fc2 = nn.Linear(width, 4)

    def forward(self, x):
        """No comment here."""
        hidden = F.relu(self.fc1( x ))     #   [B, 99]   of the first layer
        kept = F.dropout(
            hidden,
            0.5,   # the rate
            self.training,
        )
        other = kept.sum(1)  # a remark that is no shape
        pair = kept, other
        a = kept; b = a
        text = "x  # [1, 2]"
        return self.fc2(kept)


WEIRD   =  {  'left' : 1 }
'''
WRITTEN = (
    MODEL.replace("#   [B, 99]   of", "#   [batch, 16]   of")
    .replace("        )\n        other", "        )  # [batch, 16]\n        other")
    .replace("return self.fc2(kept)\n", "return self.fc2(kept)  # [batch, 4]\n")
)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path, request) -> Path:
    # A name of its own: a module stays imported under its name.
    path = tmp_path / f"model_{abs(hash(request.node.name))}.py"
    path.write_bytes(MODEL.encode())
    return path


@pytest.mark.slow
def test_writing_changes_comments_and_nothing_else(file: Path) -> None:
    assert run("comments", "--write", file, "--input", "batch 8") == 0
    assert file.read_text() == WRITTEN


@pytest.mark.slow
def test_writing_twice_is_writing_once(file: Path) -> None:
    run("comments", "--write", file, "--input", "batch 8")
    first = file.read_bytes()
    sys.modules.pop(file.stem, None)
    assert run("comments", "--write", file, "--input", "batch 8") == 0
    assert file.read_bytes() == first
    assert run("comments", "--check", file, "--input", "batch 8") == 0


@pytest.mark.parametrize(
    ("ending", "encoding"),
    [
        ("\r\n", "utf-8-sig"),
        pytest.param("\r\n", "utf-8", marks=pytest.mark.slow),
        pytest.param("\n", "utf-8-sig", marks=pytest.mark.slow),
        pytest.param("\n", "latin-1", marks=pytest.mark.slow),
    ],
)
def test_endings_and_encodings_stay(file: Path, ending: str, encoding: str) -> None:
    head = "# -*- coding: latin-1 -*-\n# \xe9t\xe9\n" if encoding == "latin-1" else "# \u00e9t\u00e9\n"
    file.write_bytes((head + MODEL).replace("\n", ending).encode(encoding))
    assert run("comments", "--write", file, "--input", "batch 8") == 0
    assert file.read_bytes() == (head + WRITTEN).replace("\n", ending).encode(encoding)


def test_a_stale_comment_fails_with_its_place_and_the_right_shape(file: Path, capsys) -> None:
    assert run("comments", "--check", file, "--input", "batch 8") == 1
    assert capsys.readouterr().out.startswith(f"{file}:14: [B, 99] should be [batch, 16]: hidden = ")
    assert file.read_text() == MODEL


def test_comments_of_a_model_that_cannot_be_built_are_not_passed_over(file: Path, capsys) -> None:
    file.write_text(MODEL.replace("width=16", "width"))
    assert run("comments", "--check", file, "--input", "batch 8") == 2
    message = capsys.readouterr().err
    assert "Small needs width" in message
    assert "lines 14" in message


def test_a_factory_builds_it(file: Path) -> None:
    file.write_text(MODEL.replace("width=16", "width") + "\n\ndef make():\n    return Small(16)\n")
    assert run("comments", "--check", file, "--input", "batch 8", "--factory", f"{file}:make") == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n", "SyntaxError: invalid syntax ({name}:1)"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module' ({name}:1)"),
        ("x = 1\nraise SystemExit(3)\n", "SystemExit: 3 ({name}:2)"),
        (
            "def Small():\n    raise OSError('no weights')\n",
            "cannot be built: OSError: no weights ({name}:2)",
        ),
    ],
)
def test_code_that_fails_is_told_in_one_line_with_its_place(file: Path, source, message, capsys) -> None:
    file.write_text(source)
    assert run("explain", f"{file}:Small", "--input", "batch 8") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(message.format(name=file.name))


def test_what_is_no_python_or_cannot_be_built_is_no_stale_comment(file: Path, capsys) -> None:
    assert run("comments", "--check", file, "--input", "batch 8", "--factory", "no_such_model") == 2
    file.write_text("x = 1\ndef f(:\n")
    assert run("comments", "--check", file) == 2
    assert f"{file}:2: no Python: invalid syntax" in capsys.readouterr().err


def test_a_dict_that_holds_a_tensor_gets_no_comment(file: Path) -> None:
    lines = "        kept = {'x': hidden}\n        return kept\n"
    file.write_text(MODEL.partition("        kept = ")[0] + lines)
    assert run("comments", "--write", file, "--input", "batch 8") == 0
    assert file.read_text().endswith(lines)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--depth", "0", "a number from 1, or 'all'"),
        ("--depth", "x", "a number from 1, or 'all'"),
        ("--width", "59", "a number from 60"),
    ],
)
def test_a_wrong_number_is_told(option: str, value: str, message: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("explain", "cifar_mlp", option, value)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_wrong_input_is_not_held_against_a_comment(file: Path, capsys) -> None:
    assert run("comments", "--check", file, "--input", "batch 9") == 2
    assert "Small failed" in capsys.readouterr().err


def test_files_without_models_pass(tmp_path: Path) -> None:
    path = tmp_path / "no_models_here.py"
    path.write_text("x = 1\n")
    assert run("comments", "--check", path) == 0
    assert run("comments", "--check", tmp_path / "absent.py") == 2


@pytest.mark.slow
def test_the_zoo_has_no_stale_comment() -> None:
    import tinynets.models.mlp as mlp

    assert run("comments", "--check", mlp.__file__) == 0


HELPERS = """
from torch import nn


class Helped(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self._forward_impl(x)

    def _forward_impl(self, x):
        hidden = self.fc(x)  # [batch, 5]
        if self.training:
            return hidden
        return hidden.argmax(1)  # [batch, 1]
"""


def test_a_method_that_forward_calls_is_looked_at_in_both_modes(file: Path, capsys) -> None:
    file.write_text(HELPERS)
    assert run("comments", "--check", file, "--input", "batch 8") == 1
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "[batch, 5] should be [batch, 4]",
        "[batch, 1] should be [batch]",
    ]


def test_both_modes_are_traced_only_where_something_branches_on_the_mode() -> None:
    from tinynets._explain.explain_file import _branches_on_mode

    from .nets import Modes

    assert not _branches_on_mode(Modes())
    assert not _branches_on_mode(tn.TinyVisionMLP())
    assert _branches_on_mode(Branching())


def test_a_block_that_ran_inside_a_model_needs_no_factory(file: Path, capsys) -> None:
    block = "\n\nclass Outer(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    block += "        self.inner = Small(16)\n\n    def forward(self, x):\n        return self.inner(x)\n"
    file.write_text(MODEL.replace("width=16", "width").replace("[B, 99]", "[B, 16]") + block)
    assert run("comments", "--check", file, "--input", "batch 8") == 0
    assert capsys.readouterr().err == ""


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.training else x[:, 0]


def test_a_folder_is_all_of_its_files_that_define_models(file: Path, capsys) -> None:
    folder = file.parent
    (folder / "script.py").write_text("raise SystemExit('this is run')\n")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "more.py").write_text(HELPERS)
    (folder / "inner").mkdir()
    other = folder / "inner" / f"inner_{file.name}"
    other.write_text(HELPERS)
    assert run("comments", "--check", folder, "--input", "batch 8") == 1
    found = capsys.readouterr()
    assert {line.partition(":")[0] for line in found.out.splitlines()} == {str(file), str(other)}
    assert found.err == ""


def test_a_diff_changes_nothing_and_is_what_writing_does(file: Path, capsys) -> None:
    assert run("comments", "--diff", file, "--input", "batch 8") == 1
    assert file.read_text() == MODEL
    text = capsys.readouterr().out
    assert text.startswith(f"--- {file.as_posix()}\n+++ {file.as_posix()}\n@@ ")
    changed = [line for line in text.splitlines() if re.match(r"[-+] ", line)]
    assert [line for line in changed if line[0] == "+"] == [
        f"+{line}" for line in WRITTEN.splitlines() if line not in MODEL.splitlines()
    ]
    file.write_text(WRITTEN)
    sys.modules.pop(file.stem, None)
    assert run("comments", "--diff", file, "--input", "batch 8") == 0
    assert capsys.readouterr().out == ""


def test_a_progress_bar_is_shown_to_someone_who_watches(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    pytest.importorskip("rich", reason="rich is an optional extra")
    from tinynets.cli.comments import _with_progress

    files = [Path("one.py"), Path("two.py")]
    assert list(_with_progress(files)) == files
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(_with_progress(files)) == files
    assert "two.py" in capsys.readouterr().err


def test_list(capsys) -> None:
    assert run("list", "--family", "perceptron") == 0
    assert capsys.readouterr().out.split() == ["tiny_vision_mlp", "cifar_mlp"]


@pytest.mark.slow
def test_explain_by_name_by_file_and_by_module(file: Path, capsys, tmp_path: Path) -> None:
    assert run("explain", "cifar_mlp") == 0
    assert "CifarMLP(images [batch, 3, 32, 32] f32)" in capsys.readouterr().out
    assert run("explain", f"{file}:Small", "--input", "batch 8", "--format", "json") == 0
    assert capsys.readouterr().out.startswith("{")
    assert run("explain", "torch.nn:Identity", "--input", "batch 8", "--html", tmp_path / "page.html") == 0
    assert 'value="eval"' in (tmp_path / "page.html").read_text()  # a page can switch modes by itself
    assert run("explain", "cifar_mlp", "--svg", tmp_path / "flow.svg") == 0
    assert (tmp_path / "flow.svg").read_text().startswith("<svg ")
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "flow.svg")
    assert run("explain", "cifar_mlp", "--width", 75) == 0
    assert 70 < max(map(len, capsys.readouterr().out.splitlines())) <= 75


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["explain", "cifar_mpl"], 2),
        (["explain", "no.such.module:Model"], 2),
        (["explain", "torch.nn:Linear"], 2),
        (["explain", "torch.nn:NoSuchLayer"], 2),
        (["explain", "torch.nn:Identity"], 2),
        (["explain", "cifar_mlp", "--input", "batch 3 31 31"], 1),
        (["explain", "cifar_mlp", "--input", "batch -3"], 2),
        (["explain", "cifar_mlp", "--html", "no/such/folder/page.html"], 2),
        (["explain", "cifar_mlp", "--svg", "no/such/folder/flow.svg"], 2),
        (["list", "--family", "no such family"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int, capsys) -> None:
    assert run(*arguments) == code


@pytest.mark.parametrize("command", [[], ["explain"], ["comments"], ["list"]])
def test_help_tells_what_it_does(command: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*command, "--help")
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    if command != ["list"]:
        assert "exit codes" in text
    if command in (["explain"], ["comments"]):
        assert "Your code is imported" in text


@pytest.mark.slow
def test_it_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinynets.cli", "list"], capture_output=True, text=True, check=True
    )
    assert "cifar_mlp" in done.stdout
