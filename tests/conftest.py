"""One thread per test process, since two workers with two threads each would wait for each other; one width.

Python's collector leaves alone what was there before the first test: that is all of torch, which never dies, and to look
through it again and again, and once more at the end, took an eighth of the time of the quick tests.
"""

import atexit
import gc
import logging
import os

os.environ["OMP_NUM_THREADS"] = "1"  # also for the processes that tests start
# In a test with AOTInductor, most of the time is the C++ compiler's.
os.environ["AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL"] = "O0"
os.environ["COLUMNS"] = "110"  # whatever the terminal that shows the tests


def pytest_collection() -> None:
    """Runs where tests do: the process that only hands them out does without torch."""
    gc.disable()
    import hypothesis  # noqa: F401  # asks the collector who refers to what, and its plugin imports it at the end if nobody did
    import torch

    torch.set_num_threads(1)
    # For its log, dynamo measures how fast the guards of each graph are, and empties the processor's cache for that.
    torch._C._dynamo.guards.profile_guard_manager = lambda *_: 0.0
    # pytest listens to every logger that does not propagate, and torch formats all that it traces for whoever listens.
    logging.getLogger("torch.__trace").propagate = True


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()
    atexit.register(gc.freeze)
