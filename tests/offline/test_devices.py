"""What is done on a GPU, as far as a CPU can tell: kernels that fail are done without, bfloat16 teaches what float32 does."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch

from offline.devices import compiled, reproducible
from offline.model import KINDS, DeviceBatch, Draw, Sampler, SessionModel, build
from tests.offline.planted import ITEMS, ring_log, rows_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BY_GRADIENT = [kind for kind in KINDS if kind != "ials"]


def lesson(kind: str) -> tuple[SessionModel, tuple[DeviceBatch, Draw, SessionModel, float]]:
    """A model, and what its loss is asked for: a batch with exemplars, and a teacher."""
    made = rows_of(ring_log(steps=(1, 3)))[0]
    model, teacher = build(kind, ITEMS, {"dims": 16}), build(kind, ITEMS, {"dims": 16}, seed=5).eval()
    model.prepare(made, 1)
    batch = model.epoch(made, 256, np.random.default_rng(0), np.arange(len(made)) % 2 == 0)[0]
    draw = Sampler(made, ITEMS, 32, 0.5, CPU).draw(batch.events, np.random.default_rng(0))
    return model.eval(), (DeviceBatch.of(batch, CPU), draw, teacher, 0.5)


def gradient(model: SessionModel, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return torch.cat([p.grad.ravel() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", BY_GRADIENT)
def test_bfloat16_teaches_what_float32_does(kind: str) -> None:
    model, arguments = lesson(kind)
    plain = model.loss(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.loss(*arguments)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, plain, rtol=1e-3, atol=0)
    exact, near = gradient(model, plain), gradient(model, low)
    assert torch.nn.functional.cosine_similarity(exact, near, dim=0) > 0.999
    torch.testing.assert_close(near.norm(), exact.norm(), rtol=0.01, atol=0)


def test_a_gru_is_left_in_float32() -> None:
    """Autocast takes cuDNN's to float16 when bfloat16 is asked for, and without a scaled loss its gradients vanish there."""
    model, (batch, *_) = lesson("gru4rec")
    with torch.autocast("cpu", torch.bfloat16):
        low = model(batch.items)
    assert torch.equal(low, model(batch.items))


def test_least_squares_are_solved_in_float32() -> None:
    (exact, arguments), (low, _) = lesson("ials"), lesson("ials")
    error = exact.loss(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(low.loss(*arguments), error)
    assert torch.equal(low.items.weight, exact.items.weight)
    assert torch.equal(low.get_buffer("gram"), exact.get_buffer("gram"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*grad attribute of a Tensor:UserWarning")  # torch's own, about its own
@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_can_be_compiled(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model, arguments = lesson(kind)
    (again, _) = lesson(kind)
    fast = compiled(model.loss, CUDA, backend="eager")
    torch.testing.assert_close(fast(*arguments), again.loss(*arguments))
    assert "without compiled kernels" not in caplog.text


def test_on_a_cpu_nothing_is_compiled() -> None:
    model, _ = lesson("bprmf")
    assert compiled(model.loss, CPU) == model.loss


def test_where_there_is_no_compiler_training_goes_on_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    def missing(graph: object, inputs: object) -> Callable[..., object]:
        raise OSError("no C compiler")

    with caplog.at_level(logging.WARNING, "headrace"):
        loss = compiled(lambda x: (x * 2).sum(), CUDA, backend=missing)
        assert [loss(torch.ones(3)).item(), loss(torch.ones(4)).item()] == [6, 8]
    [line] = [r.getMessage() for r in caplog.records if "without compiled kernels" in r.getMessage()]
    assert "no C compiler" in line


@pytest.mark.parametrize("error", [ZeroDivisionError("a slip"), torch.OutOfMemoryError("2 GiB")])
def test_what_is_wrong_with_the_loss_itself_is_not_swallowed(error: Exception) -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(type(error)):
        compiled(wrong, CUDA, backend="eager")(torch.ones(3))


def test_the_same_bits_are_asked_for_on_a_cpu_only() -> None:
    """On CUDA torch would warn of each product whose order is not fixed, and be slower."""
    for device, asked in ((CPU, True), (CUDA, False)):
        with reproducible(1, device):
            assert torch.are_deterministic_algorithms_enabled() == asked
        assert not torch.are_deterministic_algorithms_enabled()
