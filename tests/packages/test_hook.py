"""The hook itself: what it reaches, and what it leaves as it was."""

from __future__ import annotations

import importlib
import sys
import trace
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

import tinynets as tn
from tinynets._packages.package import checked_module

FALSE = """
def f(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    return x[:1]
"""


def is_checked(function) -> bool:
    try:
        function(torch.ones(2))
    except tn.ShapeError:
        return True
    return False


def test_a_module_below_a_namespace_package(package, monkeypatch) -> None:
    package(FALSE, "sample/deep/inner")
    with tn.install_import_hook(["sample"]):
        import sample.deep.inner as inner
    assert is_checked(inner.f)


def test_a_zip_file(package, tmp_path, monkeypatch) -> None:
    path = package(FALSE, "elsewhere/sample")
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.write(path, "sample.py")
    monkeypatch.syspath_prepend(tmp_path / "lib.zip")
    with tn.install_import_hook("sample"):
        import sample
    assert is_checked(sample.f)


def test_only_the_named_package_and_only_while_installed(package) -> None:
    package(FALSE)
    with (
        pytest.warns(
            UserWarning, match=r"^tinynets: no module of 'other' was imported while the import hook"
        ),
        tn.install_import_hook("other"),
    ):
        import sample
    assert not is_checked(sample.f)
    del sys.modules["sample"]
    hook = tn.install_import_hook("sample")
    with pytest.warns(UserWarning, match="'sample' was imported"):
        hook.uninstall()
    hook.uninstall()  # which is nothing more to say


def test_a_package_that_is_imported_already(package) -> None:
    package(FALSE)
    import sample

    message = (
        "tinynets: 'sample' is imported already, so nothing in it is enforced; install the import hook first"
    )
    with pytest.warns(UserWarning, match="already") as caught, tn.install_import_hook("sample"):
        pass
    assert [str(warning.message) for warning in caught] == [message]
    assert not is_checked(sample.f)


def test_a_reload_builds_what_was_defined_before_from_what_was_there(package) -> None:
    path = package(FALSE)
    with tn.install_import_hook("sample"):
        import sample

        old = sample.f
        path.write_text(path.read_text().replace("x[:1]", "x"))
        importlib.invalidate_caches()
        path.touch()
        importlib.reload(sample)
    assert sample.f is not old
    assert is_checked(old)
    assert torch.equal(sample.f(torch.ones(2)), torch.ones(2))
    with pytest.raises(tn.ShapeError):
        sample.f(torch.ones(2, 2))


def test_a_definition_in_a_loop(package) -> None:
    package("""
functions = []
for size in (1, 2):
    def f(x: Float[Tensor, "n"], size=size) -> Float[Tensor, "n"]:
        return x[:size]
    functions.append(f)
""")
    with tn.install_import_hook("sample"):
        import sample
    first, second = sample.functions
    assert is_checked(first)
    assert torch.equal(second(torch.ones(2)), torch.ones(2))
    assert second(torch.ones(2), size=3).shape == (2,)


def test_code_is_kept_on_the_disk_and_made_anew_when_the_file_changes(package, monkeypatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = package(FALSE)
    for text in (path.read_text(), path.read_text().replace("x[:1]", "x")):
        path.write_text(text)
        for _ in range(2):
            with tn.install_import_hook("sample"):
                import sample
            assert is_checked(sample.f) == ("x[:1]" in text)
            del sys.modules["sample"]
    kept = list((path.parent / "__pycache__").glob("sample.*.opt-tinynets*.pyc"))
    assert len(kept) == 1
    kept[0].write_bytes(b"damaged")
    with tn.install_import_hook("sample"):
        import sample
    assert not is_checked(sample.f)


def test_names_that_exist_only_after_the_module_has_run(package) -> None:
    package("""
def f(x: "Later") -> "Later":
    return x[:1]

Later = Float[Tensor, "n"]
""")
    with tn.install_import_hook("sample"):
        import sample
    assert is_checked(sample.f)
    assert checked_module("sample").skipped == {}


def test_a_local_name_of_a_caller_is_no_annotation(package) -> None:
    package("""
def f(x: "Float[Tensor, 'n']") -> "Float[Tensor, 'n']":
    return x[:1]

def call(x, Float=None, Tensor=None):
    return f(x)
""")
    with tn.install_import_hook("sample"):
        import sample
    assert is_checked(sample.call)


def test_a_tinynets_module_in_the_package_stays_strict(package) -> None:
    package("""
import tinynets as tn
class Net(tn.Module):
    width: int
    def __init__(self) -> None:
        super().__init__()
        self.width = 3
    def forward(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        y: Float[Tensor, "n width"] = x
        y = y[:1]
        return x
""")
    with warnings.catch_warnings(), tn.install_import_hook("sample"):
        warnings.simplefilter("error")
        import sample
    with pytest.raises(tn.ShapeError, match="axis 1 is 2, expected width = 3"):
        sample.Net()(torch.ones(1, 2))
    with pytest.raises(tn.ShapeError, match=r"line|y has axis 0 = 1"):
        sample.Net()(torch.ones(2, 3))


def test_lines_are_those_of_the_file(package) -> None:
    path = package(FALSE)
    with tn.install_import_hook("sample"):
        import sample
    counted = trace.Trace(count=True, trace=False)
    counted.runfunc(sample.f, torch.ones(1))
    lines = {line for file, line in counted.results().counts if Path(file) == path}
    assert lines - {6} == {7}
    with pytest.raises(tn.ShapeError) as caught:
        sample.f(torch.ones(2))
    assert [entry.lineno for entry in caught.traceback if Path(entry.path) == path][-1] == 7 - 1
    assert checked_module("sample").file == str(path)


def test_a_function_that_cannot_be_built_runs_as_it_is(package, monkeypatch) -> None:
    package(FALSE)
    with tn.install_import_hook("sample"):
        import sample

    def fail(*arguments):
        raise ValueError("no")

    monkeypatch.setattr("tinynets._packages.build.original_source", fail)
    assert sample.f(torch.ones(2)).tolist() == [1]
    assert [s.reason for s in checked_module("sample").skipped] == ["ValueError: no"]


def test_a_dataclass_that_jaxtyping_decorates_is_checked_once(package) -> None:
    package("""
from dataclasses import dataclass
from beartype import beartype
from jaxtyping import jaxtyped

@jaxtyped(typechecker=beartype)
@dataclass
class Pair:
    first: Float[Tensor, "n"]
    second: Float[Tensor, "n"]
""")
    with tn.install_import_hook("sample"):
        import sample
    with pytest.raises(tn.ShapeError):
        sample.Pair(torch.ones(2), torch.ones(3))


def test_an_inner_function_with_new_annotations_each_time_is_not_built_for_ever(package) -> None:
    package("""
def outer():
    class Local: ...
    def inner(x: Float[Tensor, "n"], local: Local) -> Float[Tensor, "n"]:
        return x[:1]
    return inner
""")
    with tn.install_import_hook("sample"):
        import sample
    assert is_checked(lambda x: sample.outer()(x, None))
    for _ in range(20):
        sample.outer()
    assert len([name for name in vars(sample) if name.startswith("_tn_contract")]) == 8


def test_threads_build_a_function_once(package) -> None:
    from concurrent.futures import ThreadPoolExecutor

    package(FALSE)
    with tn.install_import_hook("sample"):
        import sample
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_checked, [sample.f] * 32))
    assert len(checked_module("sample").checks) == 1


@pytest.mark.parametrize("who", ["another thread", "the build itself"])
def test_a_call_while_the_function_is_built(package, monkeypatch, who: str) -> None:
    """Another thread waits for the checks; what the build runs itself, such as an annotation, cannot."""
    from concurrent.futures import ThreadPoolExecutor, wait

    from tinynets._contract.builder import FunctionBuilder

    package(FALSE)
    with tn.install_import_hook("sample"):
        import sample
    rewrite, seen = FunctionBuilder.rewrite, []

    def call_meanwhile(builder):
        if who == "the build itself":
            seen.append(is_checked(sample.f))
        else:
            seen.append(pool.submit(is_checked, sample.f))
            wait(seen, timeout=0.2)
        return rewrite(builder)

    monkeypatch.setattr(FunctionBuilder, "rewrite", call_meanwhile)
    with ThreadPoolExecutor(1) as pool:
        assert is_checked(sample.f)
    assert seen == [False] if who == "the build itself" else seen[0].result()
    assert is_checked(sample.f)


MODEL = """
from dataclasses import dataclass

@dataclass
class Pair:
    first: Float[Tensor, "n"]
    second: Float[Tensor, "n"]

def scale(x: Float[Tensor, "batch d"], by: Float[Tensor, "#d"]) -> Float[Tensor, "batch d"]:
    return x * by

class Net(torch.nn.Module):
    def forward(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch"]:
        y: Float[Tensor, "batch d"] = scale(x, x[0])
        pair = Pair(y[0], y[0])
        def inner(z: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return z + 1
        return inner(y.sum(1) + pair.first.sum())
"""


@pytest.mark.slow
def test_a_compiled_model_is_one_graph_although_nothing_was_called_before(package) -> None:
    package(MODEL)
    with tn.install_import_hook("sample"):
        import sample
    torch._dynamo.reset()
    frames: list[torch.fx.GraphModule] = []

    def backend(graph, inputs):
        frames.append(graph)
        return graph

    model = sample.Net()
    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=False)
    x = torch.rand(2, 3)
    for _ in range(3):
        assert torch.equal(compiled(x), model(x))
    assert len(frames) == 2, "the code that waits for the first call, and the checked code"
    assert checked_module("sample").skipped == {}
    with pytest.raises(tn.ShapeError, match=r"Net\(x\): 1 axis, expected 2"):
        model(torch.rand(3))
    with pytest.raises(Exception, match="expected float"):
        compiled(torch.rand(3))
    torch._dynamo.reset()


@pytest.mark.slow
def test_dynamo_may_start_anew_after_it_met_a_function_for_the_first_time(package) -> None:
    package("""
def prefix(x: Float[Tensor, "n"], *, times: int = 2) -> Float[Tensor, "n"]:
    return torch.cat([x for _ in range(times)])[: len(x)]

def run(x):
    return x * float(prefix(prefix(x), times=1).sum().item())
""")
    with tn.install_import_hook("sample"):
        import sample
    torch._dynamo.reset()
    compiled = torch.compile(sample.run, backend="eager")
    x = torch.rand(3)
    for _ in range(2):
        found = compiled(x)
        assert torch.allclose(found, sample.run(x))
    assert checked_module("sample").skipped == {}
    with pytest.raises(tn.ShapeError, match=r"prefix\(x\): 2 axes, expected 1"):
        compiled(torch.rand(3, 2))
    torch._dynamo.reset()
