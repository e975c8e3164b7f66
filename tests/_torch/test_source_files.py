"""A user's file is the user's, wherever it stands."""

import importlib.util

import pytest
import torch

import tinynets as tn

NET = """
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        raise RuntimeError("the sky is falling")
"""


@pytest.mark.parametrize("folder", ["torch", "models"])
def test_the_line_of_a_user_is_named_also_in_a_folder_called_torch(tmp_path, folder):
    path = tmp_path / folder / "net.py"
    path.parent.mkdir()
    path.write_text(NET)
    spec = importlib.util.spec_from_file_location("net", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    report = tn.testing.check_model(module.Net(), torch.ones(1), groups=("runs",), on_fail="collect")
    assert report["runs.eval"].failure.where == f'{path}:6: raise RuntimeError("the sky is falling")'
