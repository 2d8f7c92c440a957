"""Layers that are zero or constant throughout are told from those that may be."""

from typing import Any

import pytest
import torch

from tests.trainer.conftest import SMALL, randomised
from trainer.checkpoints import layers, ldm, soundness

LAYER = "input_blocks.1.0.in_layers.2.weight"


def state(layout: str = "ldm") -> dict[str, torch.Tensor]:
    """Return the weights of a ControlNet without zero layers."""
    model = randomised(SMALL)
    return ldm.to_state(model) if layout == "ldm" else model.state_dict()


def faults(tensors: dict[str, torch.Tensor]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the layers reported as zero and as constant."""
    report = soundness.faults(tensors, {})
    return report.zero, report.constant


def test_trained_weights_have_no_such_layer() -> None:
    """Random weights are neither."""
    assert faults(state()) == ((), ())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (LAYER, 0.0, "zero"),
        (LAYER, 0.5, "constant"),
        ("time_embed.0.weight", 1.0, "constant"),
        ("input_blocks.1.0.in_layers.0.weight", 0.0, "zero"),  # the scale of a normalisation
        ("input_blocks.1.0.in_layers.0.weight", 1.0, ""),
        ("input_blocks.1.0.in_layers.0.bias", 0.0, ""),
        ("input_hint_block.0.weight", 0.0, "zero"),
        ("input_hint_block.14.weight", 0.0, ""),
        ("zero_convs.5.0.weight", 0.0, "zero"),  # one alone is not left by any training
        ("middle_block_out.0.weight", 0.0, "zero"),
    ],
)
def test_one_layer_is_judged(name: str, value: float, expected: str) -> None:
    """Biases start at zero, scales at one, zero convolutions at zero; every other layer becomes uneven."""
    tensors = state()
    tensors[name] = torch.full_like(tensors[name], value)
    zero, constant = faults(tensors)
    assert (zero, constant) == ((name,) if expected == "zero" else (), (name,) if expected == "constant" else ())


@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
@pytest.mark.parametrize("kept", ["all", "middle"])
def test_a_fresh_controlnet_is_no_fault(layout: str, kept: str) -> None:
    """The zero convolutions of a fresh ControlNet are zero together, or all but the middle one (only_mid_control)."""
    marks = ("zero_convs", "controlnet_down_blocks") + (("middle_block_out", "controlnet_mid") if kept == "all" else ())
    tensors: Any = state(layout)
    for name in tensors:
        if name.startswith(marks):
            tensors[name] = torch.zeros_like(tensors[name])
    assert faults(tensors) == ((), ())
    assert layers.is_fresh(tensors) == (kept == "all")


@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
def test_an_all_zero_controlnet_is_named(layout: str) -> None:
    """A placeholder of zeros has the right names and shapes and is reported all the same."""
    tensors = {name: torch.zeros_like(weight) for name, weight in state(layout).items()}
    zero, constant = faults(tensors)
    assert len(zero) > 100
    assert constant == ()


def test_a_fresh_lora_is_left_alone() -> None:
    """Half of a LoRA's weights start at zero."""
    assert faults({"a.lora_up.weight": torch.zeros(4, 4), "a.lora_B.weight": torch.zeros(4, 4)}) == ((), ())
