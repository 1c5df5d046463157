"""Every process of the tests computes with one thread and is given time: `make test` has a process on each core."""

import os

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # for torch, which is not imported yet, and for the processes that a test starts
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
