"""The configurations of the Stable Diffusion families that single files belong to: values that the files leave out."""

from typing import Any

_SD15: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,  # the number of heads, whatever the name says
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "norm_num_groups": 32,
}
_SD21 = _SD15 | {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
_UNETS = {"sd15": _SD15, "sd21": _SD21}


def unet(family: str) -> dict[str, Any]:
    """Return the configuration of a family's UNet: "sd15" or "sd21"."""
    up = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3
    return _UNETS[family] | {"sample_size": 64, "in_channels": 4, "out_channels": 4, "up_block_types": up}


def controlnet(family: str) -> dict[str, Any]:
    """Return the configuration of a family's ControlNet: "sd15" or "sd21"."""
    return _UNETS[family] | {"conditioning_embedding_out_channels": [16, 32, 96, 256]}
