"""Union ControlNets, which serve several kinds of control images, used as the ControlNet of one kind: segmentation.

xinsir's union ControlNets of SDXL add an embedding of the kind to the control image's features, and one of all kinds in
use to the timestep's. Everything else is shared by the kinds, and is what a training changes; both embeddings stay as
they are, so that the other kinds still have theirs. See diffusers' ControlNetUnionModel.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

CLASS = "ControlNetUnionModel"
"""Name of the class in diffusers, as config.json says it."""

SEGMENTATION = 5
"""Place of segmentation maps among the kinds: openpose, depth, soft edges, hard edges, normals, segmentation."""

_HEADS = 8
"""Attention heads over the conditions in released networks; no weight's shape tells."""

_FROZEN = ("task_embedding", "control_add_embedding")


def config(tensors: "Mapping[str, Tensor]", fitting: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the configuration of a union ControlNet.

    Args:
        tensors: its weights, in diffusers' layout.
        fitting: configuration of a ControlNet that fits the base.
        prefix: prefix of the weights' names.

    Raises:
        ModelError: segmentation maps are none of its kinds.
    """
    kinds, channels = tensors[f"{prefix}task_embedding"].shape
    if kinds <= SEGMENTATION:
        raise ModelError(
            f"A union ControlNet with {kinds} kinds of control images; expected at least {SEGMENTATION + 1}, of which "
            f"segmentation maps have number {SEGMENTATION}. Use another ControlNet."
        )
    layers = [name for name in tensors if name.startswith(f"{prefix}transformer_layes.") and ".ln_1.w" in name]
    return {
        **{name: value for name, value in fitting.items() if name != "mid_block_type"},  # always one with attention
        "_class_name": CLASS,
        "num_control_type": kinds,
        "num_trans_channel": channels,
        "num_trans_head": fitting.get("num_trans_head", _HEADS),
        "num_trans_layer": len(layers),
        "num_proj_channel": tensors[f"{prefix}spatial_ch_projs.weight"].shape[0],
    }


@cache
def model_class() -> Any:
    """Return diffusers' class, called like a ControlNetModel; it has the same name, which config.json records."""
    import diffusers

    def forward(
        self: Any, sample: "Tensor", timestep: "Tensor", encoder_hidden_states: "Tensor", controlnet_cond: "Tensor",
        **options: Any,
    ) -> Any:  # fmt: skip
        """Return the residuals for segmentation maps, (B, 3, H, W) in 0 to 1. See ControlNetModel.forward."""
        control_type = sample.new_zeros(len(sample), self.config.num_control_type)
        control_type[:, SEGMENTATION] = 1
        return diffusers.ControlNetUnionModel.forward(
            self, sample, timestep, encoder_hidden_states, [controlnet_cond], control_type, [SEGMENTATION], **options
        )

    return type(CLASS, (diffusers.ControlNetUnionModel,), {"forward": forward})


def freeze_others(model: Any) -> None:
    """Leave what tells the kinds apart out of the training: see the module's docstring."""
    for name, weight in model.named_parameters():
        if name.startswith(_FROZEN):
            weight.requires_grad_(False)
