"""One thread per test process, since two workers with two threads each would wait for each other; one width."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # also for the processes that tests start
os.environ["COLUMNS"] = "110"  # whatever the terminal that shows the tests

import torch

torch.set_num_threads(1)
