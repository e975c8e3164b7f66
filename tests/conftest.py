"""One thread per test process: two workers with two threads each would wait for each other on two cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # also for the processes that tests start

import torch

torch.set_num_threads(1)
