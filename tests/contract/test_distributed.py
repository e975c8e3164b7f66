"""The contract on two processes: DistributedDataParallel, FSDP2 and DTensor over gloo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo"),
]


def test_valid_is_accepted_and_invalid_refused_on_every_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in one group: starting its processes takes longer than what they do; an error names its function."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where a spawned process finds this package
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    from . import workers  # it imports FSDP and DTensor, which the quick loop does without

    torch.set_num_threads(1)
    multiprocessing.spawn(workers.run, (2, str(tmp_path / "group")), nprocs=2)
