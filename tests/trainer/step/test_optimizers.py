"""AdamW takes the same steps in every memory format."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from trainer.step import optimizers

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def _train(make: Callable[..., Any], layouts: tuple[Any, Any], saved: Any = None) -> torch.Tensor:
    """Return a weight after four steps; after two, the optimizer is saved and loaded with moments in another format."""
    generator = torch.Generator().manual_seed(0)
    initial, gradient = (torch.randn(8, 16, 3, 3, generator=generator) for _ in range(2))
    weight = nn.Parameter(initial.contiguous(memory_format=layouts[0]))
    optimizer = make([weight], lr=1e-2)
    for step in range(4):
        if step == 2 and saved:
            state = optimizer.state_dict()
            for name in ("exp_avg", "exp_avg_sq"):
                state["state"][0][name] = state["state"][0][name].contiguous(memory_format=saved)
            optimizer = make([weight], lr=1e-2)
            optimizer.load_state_dict(state)
        weight.grad = (gradient * (step + 1)).contiguous(memory_format=layouts[1])
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("saved", [None, *LAYOUTS])
@pytest.mark.parametrize("layouts", list(product(LAYOUTS, LAYOUTS)))
def test_steps_do_not_depend_on_the_memory_format(layouts: tuple[Any, Any], saved: Any) -> None:
    """Weight, gradient and saved moments may differ in memory format: the steps are those of AdamW's loop."""
    expected = _train(lambda weights, lr: torch.optim.AdamW(weights, lr=lr, foreach=False), LAYOUTS)

    actual = _train(lambda weights, lr: optimizers.AdamW(weights, lr=lr, fused=True), layouts, saved)

    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
