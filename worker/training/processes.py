"""Several processes that train one network together, as torchrun starts them; without it there is one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from worker.errors import Code, SetupRefused
from worker.inference.devices import choose_device


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a training.

    Attributes:
        rank: which one this is, from 0; the first alone writes.
        size: how many there are.
        device: this one's.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """This is the process that writes."""
        return self.rank == 0

    def wrapped(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are the mean of all processes'."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module, device_ids=None if self.device.type == "cpu" else [self.device.index])

    def summed(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, the same in each."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def as_the_first(self, module: nn.Module) -> None:
        """Take the first one's BatchNorm statistics: they are the ones that are kept."""
        if self.size > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)


def processes() -> int:
    """Return how many processes torchrun started, this one among them; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this is the first process, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def team(device: str, batch: int) -> Iterator[Team]:
    """Join the processes that torchrun started, or be the only one.

    Args:
        device: as `choose_device` takes it; with torchrun, ``cuda`` or ``auto`` is the process's own GPU.
        batch: lesions a step, which the processes share.

    Raises:
        SetupRefused: ``setting_invalid``: no such device; ``config_invalid``: the batch cannot be shared out.
    """
    if processes() == 1:
        yield Team(0, 1, choose_device(device))
        return
    rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if batch % size:
        raise SetupRefused(Code.CONFIG_INVALID, f"batch: {batch} lesions cannot be divided among {size} processes")
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = choose_device(f"cuda:{local}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Team(rank, size, chosen)
    finally:
        distributed.destroy_process_group()
