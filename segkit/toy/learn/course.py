"""Optimisation of the toy networks: AdamW with a one-cycle learning rate."""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MAX_GRAD_NORM = 5.0
"""Gradients with a larger norm are clipped to it."""

Report = Callable[[float], None]
"""Called with the loss after every step."""


@dataclass(frozen=True)
class Course:
    """One stage of training.

    Attributes:
        steps: optimizer steps.
        batch: samples per step.
        rate: peak learning rate of the one-cycle schedule.
        seed: seed for weights and batches.
        cycle: steps of the learning-rate cycle; larger than `steps` if the next course lets the rate fall; 0: `steps`.
    """

    steps: int
    batch: int
    rate: float
    seed: int
    cycle: int = 0


def autocast(device: str) -> AbstractContextManager[object]:
    """Return a bf16 autocast context if the device has bf16 matrix hardware, otherwise a null context."""
    import torch

    if device.startswith("cuda"):
        fast = torch.cuda.is_bf16_supported()
    else:  # bf16 is slower than fp32 on CPUs without AMX, or if oneDNN is barred from using it
        allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
        amx = allowed in ("ALL", "DEFAULT") or "AMX" in allowed
        fast = amx and getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.autocast(device.split(":")[0], torch.bfloat16) if fast else nullcontext()


def optimize(course: Course, parameters: Iterable["Tensor"], loss: Callable[[], "Tensor"], report: Report) -> None:
    """Train parameters in place.

    Args:
        course: number of steps and peak learning rate.
        parameters: the trainable tensors.
        loss: draws the next batch and returns its loss.
        report: called with the loss after every step.
    """
    import torch

    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, course.rate, weight_decay=0.02, fused=True)
    cycle = course.cycle or course.steps
    lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, course.rate, total_steps=cycle, pct_start=0.1)
    for _ in range(course.steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, MAX_GRAD_NORM)
        optimizer.step()
        lr_scheduler.step()
        report(float(value.detach()))
