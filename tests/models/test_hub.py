"""A folder or repository of the Hub, without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
pytest.importorskip("huggingface_hub", reason="tinynets[hub] brings it")

from huggingface_hub import PyTorchModelHubMixin
from huggingface_hub.errors import LocalEntryNotFoundError

import tinynets as tn
from tinynets import hub
from tinynets.models import LeNet5

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Own(tn.Module):
    """A user's model."""

    width: int

    def __init__(self, *, width: int = 4) -> None:
        super().__init__()
        self.width = width
        self.layer = nn.Linear(width, width)


class HubLeNet(LeNet5, PyTorchModelHubMixin):
    """A user's class that reads the same files by the Hub's own mixin."""


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_gives_the_model_back(tmp_path: Path) -> None:
    model = LeNet5(num_classes=7)
    model.normalization = tn.Normalization((0.13,), (0.31,))
    hub.save_pretrained(model, tmp_path / "some" / "folder")
    files = {path.name for path in (tmp_path / "some" / "folder").iterdir()}
    assert files == {"model.safetensors", "config.json", "README.md"}
    loaded = hub.from_pretrained(tmp_path / "some" / "folder")
    assert type(loaded) is LeNet5
    assert loaded.config == model.config
    assert loaded.normalization == model.normalization
    assert same(loaded, model)
    assert not loaded.training


def test_a_class_of_your_own_is_named(tmp_path: Path) -> None:
    model = Own(width=3)
    hub.save_pretrained(model, tmp_path)
    loaded = hub.from_pretrained(str(tmp_path), model_class=Own)
    assert loaded.width == 3
    assert same(loaded, model)
    with pytest.raises(tn.CheckpointError, match="holds a 'Own', which is no model of tinynets"):
        hub.from_pretrained(tmp_path)
    with pytest.raises(tn.CheckpointError, match="holds a Own, not a LeNet5"):
        hub.from_pretrained(tmp_path, model_class=LeNet5)


def test_the_mixin_of_the_hub_reads_the_same_folder(tmp_path: Path) -> None:
    model = LeNet5(num_classes=7, in_channels=3)
    hub.save_pretrained(torch.compile(model, backend="eager"), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "image_size": 28,
        "in_channels": 3,
        "num_classes": 7,
    }
    assert same(HubLeNet.from_pretrained(tmp_path, strict=True), model)


def test_weights_that_are_not_finite_need_a_word(tmp_path: Path) -> None:
    model = Own()
    with torch.no_grad():
        model.layer.bias[0] = float("nan")
    hub.save_pretrained(model, tmp_path)
    with pytest.raises(tn.CheckpointError, match=r"values in layer\.bias that are not finite"):
        hub.from_pretrained(tmp_path, model_class=Own)
    assert hub.from_pretrained(tmp_path, model_class=Own, allow_nonfinite=True).layer.bias[0].isnan()


def test_saving_again_replaces_all_but_the_readme(tmp_path: Path) -> None:
    hub.save_pretrained(LeNet5(), tmp_path)
    (tmp_path / "README.md").write_text("mine")
    second = LeNet5(num_classes=3)
    hub.save_pretrained(second, tmp_path)
    assert same(hub.from_pretrained(tmp_path), second)
    assert json.loads((tmp_path / "config.json").read_text())["num_classes"] == 3
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_repository_is_found_in_the_cache(tmp_path: Path) -> None:
    model = LeNet5()
    repository = tmp_path / "models--someone--lenet5"
    hub.save_pretrained(model, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    assert same(hub.from_pretrained("someone/lenet5", cache_dir=tmp_path), model)
    assert same(hub.from_pretrained("someone/lenet5", cache_dir=tmp_path, revision=COMMIT), model)
    with pytest.raises(LocalEntryNotFoundError):
        hub.from_pretrained("someone/else", cache_dir=tmp_path, local_files_only=True)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file at .*model\.safetensors"):
        hub.from_pretrained(tmp_path)


@pytest.mark.parametrize("has_readme", [False, True])
def test_pushing_uploads_the_folder_in_one_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_readme: bool
) -> None:
    calls: dict[str, dict[str, Any]] = {}

    class Api:
        def __init__(self, **options: Any) -> None:
            calls["api"] = options

        def create_repo(self, repo_id: str, **options: Any) -> SimpleNamespace:
            calls["create"] = options
            return SimpleNamespace(repo_id=f"someone/{repo_id}")

        def file_exists(self, repo_id: str, filename: str, **options: Any) -> bool:
            assert (repo_id, filename) == ("someone/lenet5", "README.md")
            return has_readme

        def upload_folder(self, *, folder_path: str, **options: Any) -> str:
            calls["upload"] = options
            os.rename(folder_path, tmp_path / "uploaded")
            os.mkdir(folder_path)
            return "https://huggingface.co/someone/lenet5/commit/1"

    monkeypatch.setattr(hub, "HfApi", Api)
    model = LeNet5()
    address = hub.push_to_hub(model, "lenet5", private=True, token="secret", branch="next")
    assert address == "https://huggingface.co/someone/lenet5/commit/1"
    assert calls["api"] == {"token": "secret"}
    assert calls["create"] == {"private": True, "exist_ok": True}
    assert calls["upload"] == {
        "repo_id": "someone/lenet5",
        "commit_message": "Push a model of tinynets",
        "revision": "next",
        "create_pr": None,
        "ignore_patterns": ["README.md"] if has_readme else None,
    }
    assert same(hub.from_pretrained(tmp_path / "uploaded"), model)


@pytest.mark.slow
def test_a_missing_package_is_named_with_the_remedy() -> None:
    program = (
        "import sys; sys.modules['huggingface_hub'] = None\nimport tinynets\n"
        "try: import tinynets.hub\nexcept ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "tinynets.hub needs huggingface_hub: pip install 'tinynets[hub]'\n"
