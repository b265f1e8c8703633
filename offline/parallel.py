"""Several processes on one training, each with a GPU of its own: every one learns its share of the batches, gradients are averaged.

Started by ``torchrun --standalone --nproc-per-node N -m -- infra.cli train …``. Without that all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from online_models.errors import ServiceError

T = TypeVar("T")


@contextmanager
def group(device: torch.device) -> Iterator[torch.device]:
    """Join the other processes, if there are any; the device that is this one's. Raises ServiceError where there is none left."""
    if not dist.is_torchelastic_launched():
        yield device
        return
    if device.type == "cuda":
        number, there = dist.get_node_local_rank(), torch.cuda.device_count()
        if number >= there:
            raise ServiceError(f"a GPU for process {number}", f"{there} of them", f"start {there} (--nproc-per-node)")
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    if dist.is_initialized():
        yield device
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(batches: Sequence[T]) -> list[T]:
    """This process's batches: as many for each. What does not divide is learned twice.

    >>> share([1, 2, 3])
    [1, 2, 3]
    """
    n, mine = size(), rank()
    return [batches[at % len(batches)] for at in range(mine, -(-len(batches) // n) * n, n)]


def same(model: nn.Module) -> None:
    """Begin with the weights of process 0."""
    if size() > 1:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)


def averaged(model: nn.Module) -> None:
    """Replace each gradient by its mean over the processes."""
    if size() > 1:
        for parameter in model.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= size()


def agreed(value: float, device: torch.device) -> float:
    """What process 0 says, so that all decide alike."""
    if size() == 1:
        return value
    told = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(told, 0)
    return float(told)


def wait() -> None:
    """Until all have come here."""
    if size() > 1:
        dist.barrier()
