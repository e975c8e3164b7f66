"""Models on the Hugging Face Hub: `save_pretrained`, `from_pretrained`, `push_to_hub`, the files
`model.safetensors` and `config.json`, and the text of the model card.

A repository contains `model.safetensors`, as `save` writes it, and `config.json`, the constructor arguments.
A class that inherits from `PyTorchModelHubMixin` can read them too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar, overload

from torch import nn

from . import checkpoint
from ._torch.modules.wrappers import unwrapped
from .atomic_write import write_atomically
from .models import ImageClassifier, load

try:
    from huggingface_hub import HfApi, hf_hub_download  # pyright: ignore[reportUnknownVariableType]
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f"tinynets.hub needs {missing.name}: pip install 'tinynets[hub]'", name=missing.name
    ) from None

M = TypeVar("M", bound=nn.Module)

WEIGHTS = "model.safetensors"
CARD = """---
library_name: tinynets
tags:
- pytorch
---

# {name}

Constructor's arguments: `{config}`. Load it with `tinynets.hub.from_pretrained`.
"""


def save_pretrained(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write weights and arguments of a model to a folder; an existing `README.md` is kept.

    Raises:
        CheckpointError: a constructor argument is not kept as an attribute, or is not plain data.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(model, folder / WEIGHTS)
    model = unwrapped(model)
    config = checkpoint.config_of(model)
    write_atomically(folder / "config.json", json.dumps(config, indent=2, sort_keys=True).encode())
    card = folder / "README.md"
    if not card.exists():
        text = CARD.format(name=type(model).__name__, config=json.dumps(config))
        write_atomically(card, text.encode())


@overload
def from_pretrained(
    source: str | os.PathLike[str],
    *,
    model_class: type[M],
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    allow_nonfinite: bool = False,
) -> M: ...
@overload
def from_pretrained(
    source: str | os.PathLike[str],
    *,
    model_class: None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    allow_nonfinite: bool = False,
) -> ImageClassifier: ...
def from_pretrained(
    source: str | os.PathLike[str],
    *,
    model_class: type[nn.Module] | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    allow_nonfinite: bool = False,
) -> nn.Module:
    """Rebuild a model that `save_pretrained` or `push_to_hub` wrote, on the CPU and in eval mode.

    Args:
        source: a folder, or the name of a repository (`"someone/resnet20"`).
        model_class: the model's class; optional for a model of the zoo.
        revision: branch, tag or commit of the repository.
        cache_dir: folder for downloads.
        token: token of a Hub account, for private repositories.
        local_files_only: use only what was downloaded before.
        force_download: download again.
        allow_nonfinite: accept weights that are NaN or infinite.

    Raises:
        CheckpointError: the file is damaged, newer than this library, of another class, does not match it, or
            contains NaN or infinities.
        FileNotFoundError: the folder does not contain weights.
        huggingface_hub.errors.HfHubHTTPError, OSError: the repository could not be read.
    """
    if Path(source).is_dir():
        path = Path(source) / WEIGHTS
    else:
        path = hf_hub_download(
            os.fspath(source),
            WEIGHTS,
            revision=revision,
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
        )
    if model_class is None:
        return load(path, allow_nonfinite=allow_nonfinite)
    return checkpoint.load(model_class, path, allow_nonfinite=allow_nonfinite)


def push_to_hub(
    model: nn.Module,
    repo_id: str,
    *,
    commit_message: str = "Push a model of tinynets",
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Write a model to a repository in one commit, creating it if needed, and return the commit's address.

    An existing `README.md` is kept.

    Raises:
        CheckpointError: a constructor argument is not kept as an attribute, or is not plain data.
        huggingface_hub.errors.HfHubHTTPError: the Hub rejected the request.
    """
    api = HfApi(token=token)
    with TemporaryDirectory() as folder:
        save_pretrained(model, folder)  # first, since it may raise
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        keep = ["README.md"] if api.file_exists(repo_id, "README.md", revision=branch) else None
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=commit_message,
            revision=branch,
            create_pr=create_pr,
            ignore_patterns=keep,
        )
    return str(commit)
