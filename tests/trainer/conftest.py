"""Small networks of the real architectures, with random weights."""

from typing import Any

import pytest
import torch

SMALL: dict[str, Any] = {
    "block_out_channels": [16, 32, 32, 32],
    "layers_per_block": 2,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "conditioning_embedding_out_channels": [4, 8, 8, 16],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
}
"""A ControlNet of SD1.5's architecture, 0.1 % of its size; cross-attention over words of 24 numbers."""


@pytest.fixture
def controlnet() -> Any:
    """A small ControlNet, no weight of which is zero."""
    return randomised(SMALL)


def randomised(config: dict[str, Any], seed: int = 0) -> Any:
    """Return a ControlNet whose weights are all random, the zero convolutions too."""
    from diffusers import ControlNetModel

    model = ControlNetModel(**config)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draw) * 0.1)
    return model.eval()
