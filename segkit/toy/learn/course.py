"""How the toy networks are optimised: AdamW at a learning rate that rises, falls and ends at nothing."""

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CLIP = 5.0
"""Longest gradient that is followed; a longer one is shortened to it."""

Report = Callable[[float], None]
"""Takes the loss of a step."""


@dataclass(frozen=True)
class Course:
    """How long and how fast a network learns.

    Attributes:
        steps: optimizer steps.
        batch: lessons a step.
        rate: highest learning rate of the one-cycle schedule.
        seed: of weights and batches.
    """

    steps: int
    batch: int
    rate: float
    seed: int


def autocast(where: str) -> AbstractContextManager[object]:
    """Return the context for bf16 arithmetic where the device multiplies it in hardware, else one that does nothing."""
    import torch

    if where.startswith("cuda"):
        fast = torch.cuda.is_bf16_supported()
    else:  # without AMX, or with oneDNN kept from using it, bf16 is slower than fp32
        allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
        amx = allowed in ("ALL", "DEFAULT") or "AMX" in allowed
        fast = amx and getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.autocast(where.split(":")[0], torch.bfloat16) if fast else nullcontext()


def follow(course: Course, weights: Iterable["Tensor"], loss: Callable[[], "Tensor"], report: Report) -> None:
    """Train weights in place.

    Args:
        course: how long and how fast.
        weights: all that is trained.
        loss: draws a batch and returns its loss.
        report: called after every step.
    """
    import torch

    trained = list(weights)
    optimizer = torch.optim.AdamW(trained, course.rate, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, course.rate, total_steps=course.steps, pct_start=0.1)
    for _ in range(course.steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        schedule.step()
        report(float(value.detach()))
