"""Weight updates: AdamW, learning-rate schedules and the exponential moving average (EMA) of the weights."""

import math
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from segkit.errors import UsageError
from trainer.checkpoints.store import Checkpoint
from trainer.settings import TrainSettings

STATE_BYTES = {"adamw": 8, "adamw8bit": 2}
"""Bytes of optimizer state per weight: two moments of four bytes or of one."""


def lr_factor(step: int, settings: TrainSettings) -> float:
    """Return the factor on the learning rate at a step counted from 0: warm-up, then the schedule."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    progress = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 + 0.5 * math.cos(math.pi * progress)}[
        settings.schedule
    ]


def optimizer_class(settings: TrainSettings) -> Any:
    """Return the optimizer's constructor: called with parameter groups, lr and weight_decay.

    Raises:
        UsageError: its package is not installed.
    """
    if settings.optimizer == "adamw":
        return partial(AdamW, fused=True)
    if find_spec("bitsandbytes") is None:
        raise UsageError("optimizer=adamw8bit: bitsandbytes is not installed. Run: pip install bitsandbytes")
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit


class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW, correct and fast for channels-last weights on a CPU.

    The fused CPU kernel walks the memory of a weight, its gradient and its moments linearly and ignores strides. If
    the layouts differ, it silently pairs the wrong elements; if the gradient is not contiguous, it copies it for
    nothing. This class keeps the moments in the weight's layout and passes contiguous views to the kernel.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_load_state_dict_post_hook(_match_moment_layout)

    def _init_group(self, group: Any, weights: Any, gradients: Any, *moments: Any) -> Any:
        has_complex = super()._init_group(group, weights, gradients, *moments)  # type: ignore[no-untyped-call]
        for place, weight in enumerate(weights):
            if not weight.is_cpu:
                continue
            if not weight.is_contiguous():  # channels-last: contiguous once permuted to (O, H, W, I)
                for tensors in (weights, gradients, *moments[:2]):
                    tensors[place] = tensors[place].permute(0, 2, 3, 1)
            gradients[place] = gradients[place].contiguous()
        return has_complex


def _match_moment_layout(optimizer: torch.optim.Optimizer) -> None:
    """Copy loaded moments into the layout of their weights, which may have changed since they were saved."""
    for weight, state in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].stride() != weight.stride():
                state[name] = torch.empty_like(weight).copy_(state[name])


# Not diffusers' EMAModel: it updates with sub instead of lerp, which rounds differently and breaks existing runs.
class EMA:
    """Exponential moving average of the weights, in fp32.

    The effective decay after n updates is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage, so that early averages forget the initial weights quickly.

    Args:
        weights: the trained weights.
        decay: 0 to 1 (exclusive), such as 0.9999.
        start: checkpoint of a resumed run; None for a new run, whose average starts at the weights.
    """

    def __init__(self, weights: Sequence[torch.Tensor], decay: float, start: Checkpoint | None) -> None:
        self._decay = decay
        saved = start.tensors("ema") if start else {}
        self._updates = int(saved["steps"]) if saved else 0
        self._averages = [
            (saved[str(place)].to(weight.device) if saved else weight.detach().clone())
            for place, weight in enumerate(weights)
        ]

    def update(self, weights: Sequence[torch.Tensor]) -> None:
        """Include the weights after an optimizer step."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, list(weights), 1 - decay)

    def copy_to(self, weights: Sequence[torch.Tensor]) -> None:
        """Overwrite the weights with their averages."""
        with torch.no_grad():
            torch._foreach_copy_(list(weights), self._averages)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the averages by position, and the number of updates as "steps"."""
        return {str(place): average for place, average in enumerate(self._averages)} | {
            "steps": torch.tensor(self._updates)
        }
