"""Run a script, `lets_go.py SCRIPT OPTIONS`, that must let go of every DDP before it destroys the process group.

One that outlives its group hangs now and then (pytorch/pytorch#56297); here it fails every time.
"""

import gc
import os
import runpy
import sys

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

destroy = dist.destroy_process_group


def destroy_and_look(group: dist.ProcessGroup | None = None) -> None:
    if any(type(thing) is DistributedDataParallel for thing in gc.get_objects()):
        print("a DistributedDataParallel outlives its process group", file=sys.stderr, flush=True)
        os._exit(1)  # before it can hang
    destroy(group)


dist.destroy_process_group = destroy_and_look
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
