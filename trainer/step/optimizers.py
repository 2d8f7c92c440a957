"""How weights follow their gradients: AdamW, the schedule of its rate, and the running mean of the weights."""

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
"""Bytes of state that an optimizer keeps of each weight: two numbers, of four bytes or of one."""


def rate(step: int, settings: TrainSettings) -> float:
    """Return the share of the learning rate that a step, counted from 0, is taken with."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    way = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return {"constant": 1.0, "linear": 1 - way, "cosine": 0.5 + 0.5 * math.cos(math.pi * way)}[settings.schedule]


def optimizer(settings: TrainSettings) -> Any:
    """Return what makes the optimizer of its groups of weights, lr and weight_decay.

    Raises:
        UsageError: it is not installed.
    """
    if settings.optimizer == "adamw":
        return partial(AdamW, fused=True)
    if find_spec("bitsandbytes") is None:
        raise UsageError("--optimizer adamw8bit: bitsandbytes is not installed. Type: pip install bitsandbytes")
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit


class AdamW(torch.optim.AdamW):
    """PyTorch's, right and fast for weights that lie channels-last on a CPU.

    Its fused kernel for CPUs goes through the memory of a weight, its gradient and its moments as each of them lies,
    whatever their strides: where these differ, it learns nonsense without a word; where the gradient is not contiguous,
    it copies it in vain. Here the moments lie as their weight does, and the kernel is given contiguous views.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_load_state_dict_post_hook(_lay_moments)

    def _init_group(self, group: Any, weights: Any, gradients: Any, *moments: Any) -> Any:
        found = super()._init_group(group, weights, gradients, *moments)  # type: ignore[no-untyped-call]
        for place, weight in enumerate(weights):
            if not weight.is_cpu:
                continue
            if not weight.is_contiguous():
                for tensors in (weights, gradients, *moments[:2]):
                    tensors[place] = tensors[place].permute(0, 2, 3, 1)
            gradients[place] = gradients[place].contiguous()
        return found


def _lay_moments(optimizer: torch.optim.Optimizer) -> None:
    """Lay loaded moments as their weights lie, which may have lain otherwise when they were saved."""
    for weight, state in optimizer.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if state[name].stride() != weight.stride():
                state[name] = torch.empty_like(weight).copy_(state[name])


class EMA:
    """The running mean of weights, in fp32.

    Args:
        weights: what is trained.
        decay: what a step keeps of the mean; less at first, (1 + n) / (10 + n) after n steps.
        start: where an earlier run was.
    """

    def __init__(self, weights: Sequence[torch.Tensor], decay: float, start: Checkpoint | None) -> None:
        self._decay = decay
        kept = start.tensors("ema") if start else {}
        self._steps = int(kept["steps"]) if kept else 0
        self._means = [
            (kept[str(place)].to(weight.device) if kept else weight.detach().clone())
            for place, weight in enumerate(weights)
        ]

    def follow(self, weights: Sequence[torch.Tensor]) -> None:
        """Take a step's weights into the mean."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._means, list(weights), 1 - decay)

    def put_into(self, weights: Sequence[torch.Tensor]) -> None:
        """Set weights to their mean."""
        with torch.no_grad():
            torch._foreach_copy_(list(weights), self._means)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint keeps."""
        return {str(place): mean for place, mean in enumerate(self._means)} | {"steps": torch.tensor(self._steps)}
