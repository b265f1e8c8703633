"""The device that a training runs on, and what is done for it: kernels made for the model on CUDA, the same bits again on a CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from online_models.errors import ServiceError

log = logging.getLogger("headrace")

Loss = Callable[..., Tensor]


def device_of(wanted: str) -> torch.device:
    """The device to train on. Raises ServiceError when CUDA was asked for and is not there."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ServiceError("a CUDA device", "none that torch can use", "use --device cpu, or install torch with CUDA")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def compiled(loss: Loss, device: torch.device, backend: str | Callable[..., object] = "inductor") -> Loss:
    """``loss`` as kernels compiled for it on CUDA, for batches of all shapes; as it is on a CPU.

    Where the compiler cannot be used (it needs Triton and a C compiler) or fails, that is logged once, and ``loss`` itself goes on.
    """
    if device.type != "cuda":
        return loss
    fast: Loss | None = torch.compile(loss, dynamic=True, backend=backend)

    def either(*arguments: object) -> Tensor:
        nonlocal fast
        if fast is not None:
            try:
                return fast(*arguments)
            except torch.OutOfMemoryError:
                raise
            except (
                Exception
            ) as error:  # a compiler fails in as many ways as it has parts; a fault of the loss comes again below
                reason = " ".join(str(error).split())[:200]
                log.warning("training goes on without compiled kernels: %s: %s", type(error).__name__, reason)
                fast = None
        return loss(*arguments)

    return either


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers from ``seed`` on; on a CPU the same bits in every run. On CUDA that would cost more than it is worth."""
    torch.manual_seed(seed)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(device.type == "cpu", warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def enough_memory(tokens: int, negatives: int) -> Iterator[None]:
    """Raises ServiceError, with what to lower, where memory is short for such batches."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ServiceError(
            f"memory for batches of {tokens} places against {negatives} negatives",
            str(error).splitlines()[0],
            "lower tokens or negatives (--set tokens=N), or the model's dims",
        ) from error
