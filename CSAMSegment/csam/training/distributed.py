"""Several processes that train one network, as torchrun starts them; a single process is a group of one.

Step: train.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..errors import InputError

PATIENCE = timedelta(hours=6)
"""How long a process waits for another: the first one validates while the others have nothing to do."""


@dataclass(frozen=True)
class Group:
    """This process among ``size``: ``rank`` counts from 0, ``local_rank`` on this host."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes, validates and talks."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The items of a batch that are this process's. Raises InputError when there are fewer items than processes."""
        if batch < self.size:
            raise InputError(
                f"{batch} stack(s) a step cannot be shared out among {self.size} processes. Ask for --batch "
                f"{self.size} or a multiple of it."
            )
        return range(self.rank, batch, self.size)

    def from_first(self, value: Any) -> Any:
        """The first process's value, in every process."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def agree(self, do: Callable[[], Any]) -> Any:
        """What ``do`` returns in the first process, in all; an error there is raised in all of them."""
        try:
            found = (do(), None) if self.first else None
        except Exception as error:
            found = (None, error)
        value, error = self.from_first(found)
        if error is not None:
            raise error
        return value

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, in every process."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wrap(self, module: torch.nn.Module, device: str, unused: bool) -> torch.nn.Module:
        """The module whose gradients are averaged over the processes. unused: some parameters have no gradient."""
        if self.size == 1:
            return module
        where = [torch.device(device)] if device.startswith("cuda") else None
        return torch.nn.parallel.DistributedDataParallel(module, where, find_unused_parameters=unused)

    def device(self, wanted: str) -> str:
        """Each process of a host takes a GPU of its own."""
        own = wanted in ("auto", "cuda") and self.size > 1 and torch.cuda.is_available()
        return f"cuda:{self.local_rank}" if own else wanted


@contextmanager
def joined() -> Iterator[Group]:
    """The group that torchrun's environment describes, left at the end; a group of one without it."""
    size, rank, local = (int(os.environ.get(k, d)) for k, d in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0)))
    if dist.is_available() and dist.is_initialized():  # by the program that called us
        yield Group(dist.get_rank(), dist.get_world_size(), local)
        return
    if size == 1:
        yield Group()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield Group(rank, size, local)
    finally:
        dist.destroy_process_group()
