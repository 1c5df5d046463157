"""Slices in parallel: on a CPU one thread a core, each alone with its slices.

torch's own threads share every single operation and wait for each other after it. Those of one slice are short, so
beside other programs most of the time would go into waiting. Threads that never meet lose nothing, and what a core
works on stays in its own cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Item, Outcome = TypeVar("Item"), TypeVar("Outcome")

WATCH_SECONDS = 0.05


class _Stopped(Exception):
    """Ends a thread's work after another has failed or the caller has had enough."""


class Threads:
    """As many threads as torch is set to use.

    watch: called in the calling thread, often; what it raises ends the work.
    """

    def __init__(self, watch: Callable[[], None] = lambda: None):
        self.watch = watch
        self._apart = False
        self._stopped = False

    def share(self, count: int, most: int, device: torch.device | str) -> int:
        """How many of ``count`` slices to give to a thread at a time, when it takes ``most`` at a time at best."""
        threads = torch.get_num_threads() if torch.device(device).type == "cpu" else 1
        return max(1, min(most, -(-count // threads)))

    def pause(self) -> None:
        """To be called by the work itself, before every convolution."""
        if self._stopped:
            raise _Stopped
        if not self._apart:
            self.watch()

    def map(self, work: Callable[[Item], Outcome], items: Sequence[Item], device: torch.device) -> list[Outcome]:
        """What ``work`` gives for every item, in their order. If it calls this in its turn, it stays in its thread."""
        threads = min(torch.get_num_threads(), len(items))
        if device.type != "cpu" or threads == 1 or self._apart:
            return [work(item) for item in items]
        inference, gradients, all_threads = (
            torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_num_threads(),
        )  # fmt: skip

        def alone(item: Item) -> Outcome:
            torch.set_num_threads(1)  # of this thread
            with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
                return work(item)

        self._apart = True
        try:
            with ThreadPoolExecutor(threads) as pool:
                futures = [pool.submit(alone, item) for item in items]
                try:
                    waiting = futures
                    while waiting:
                        done, waiting = wait(waiting, WATCH_SECONDS, FIRST_EXCEPTION)
                        for future in done:
                            future.result()
                        self.watch()
                finally:
                    self._stopped = True
                    pool.shutdown(cancel_futures=True)
                return [future.result() for future in futures]
        finally:
            self._apart = self._stopped = False
            torch.set_num_threads(all_threads)  # for threads to come
