"""The networks in a Stable Diffusion's single file (ldm's layout), configured from the shapes of its weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.checkpoints import configs
from trainer.checkpoints.components import fill

if TYPE_CHECKING:
    from torch import Tensor

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_UNUSED_TEXT = ("text_projection.weight", "logit_scale", "embeddings.position_ids")  # in old and in merged files


def unet(state: "Mapping[str, Tensor]") -> Any:
    """Return the UNet of a single file.

    Raises:
        ModelError: the UNet is incomplete, or not one of Stable Diffusion 1 or 2.
    """
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = configs.unet(state)
    return fill(UNet2DConditionModel.from_config, config, convert_ldm_unet_checkpoint(_part(state, _UNET), config))


def vae(state: "Mapping[str, Tensor]") -> Any:
    """Return the VAE of a single file.

    Raises:
        ModelError: the VAE is incomplete, or not one of Stable Diffusion 1 or 2.
    """
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config = configs.vae(state)
    return fill(AutoencoderKL.from_config, config, convert_ldm_vae_checkpoint(_part(state, _VAE), config))


def text_encoder(state: "Mapping[str, Tensor]") -> Any:
    """Return the text encoder of a single file: CLIP's (SD1) or OpenCLIP's (SD2).

    Raises:
        ModelError: the text encoder is incomplete, or has another number of layers than the released ones.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    weights = configs.text_weights(state)
    config = CLIPTextConfig(**configs.text_encoder(weights))
    weights = {name: weight for name, weight in weights.items() if not _is_unused_layer(name, config.num_hidden_layers)}
    if any(name.startswith("cond_stage_model.transformer.") for name in weights):
        state_dict = convert_ldm_clip_checkpoint(weights)
    else:
        state_dict = convert_open_clip_checkpoint(CLIPTextModel(config), weights)
    state_dict = {name.removeprefix("text_model."): weight for name, weight in state_dict.items()}
    return fill(CLIPTextModel, config, {name: state_dict[name] for name in state_dict if name not in _UNUSED_TEXT})


def _part(state: "Mapping[str, Tensor]", prefix: str) -> "dict[str, Tensor]":
    return {name: state[name] for name in state if name.startswith(prefix)}


def _is_unused_layer(name: str, layers: int) -> bool:
    """Return whether a weight belongs to a layer of the text encoder after the last one that is used."""
    for start in ("encoder.layers.", "transformer.resblocks."):
        _, found, rest = name.partition(start)
        if found and (number := rest.partition(".")[0]).isdigit():
            return int(number) >= layers
    return False
