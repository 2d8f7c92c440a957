"""Model configurations that single-file checkpoints lack, inferred from tensor shapes.

SD1.x and SD2.x differ in little but the widths, which the weights reveal. What shapes do not reveal (attention heads,
activations, the prediction type) is taken from the family: SD2 projects attention with linear layers, SD1 with 1x1
convolutions.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
_OPEN_CLIP_HF = rf"^{re.escape(_OPEN_CLIP)}transformer\."
_TEXT_NAMES = {
    r"^cond_stage_model\.transformer\.(?=embeddings\.|encoder\.|final_layer_norm\.)": _CLIP,
    rf"{_OPEN_CLIP_HF}encoder\.layers\.": f"{_OPEN_CLIP}transformer.resblocks.",
    rf"{_OPEN_CLIP_HF}embeddings\.token_embedding\.": f"{_OPEN_CLIP}token_embedding.",
    rf"{_OPEN_CLIP_HF}embeddings\.position_embedding\.weight$": f"{_OPEN_CLIP}positional_embedding",
    rf"{_OPEN_CLIP_HF}final_layer_norm\.": f"{_OPEN_CLIP}ln_final.",
}
"""Names of text encoders that lack "text_model.", and what released files call them."""
_TEXT_LAYERS = {768: 12, 1024: 23}
"""Layers that Stable Diffusion 1 and 2 use of their text encoders, by width."""

SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "steps_offset": 1,
}
"""Noise schedule of both families (scheduler_config.json of the released models), without prediction_type."""

HINT_CHANNELS = [16, 32, 96, 256]
"""Channels of the control map's embedding (the hint encoder) in every released ControlNet."""

_SD15: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,  # diffusers' historical name for the number of heads
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "use_linear_projection": False,
}
_SD21 = _SD15 | {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
_RELEASED = {"sd15": _SD15, "sd21": _SD21}
_CONTROLNET_KEYS = (
    "block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim", "num_attention_heads",
    "down_block_types", "use_linear_projection", "norm_num_groups", "in_channels", "flip_sin_to_cos", "freq_shift",
    "norm_eps", "only_cross_attention", "downsample_padding", "act_fn", "upcast_attention", "addition_embed_type",
    "addition_time_embed_dim", "projection_class_embeddings_input_dim", "transformer_layers_per_block",
)  # fmt: skip


_PURPOSES = {5: "depth-to-image", 7: "upscaling", 8: "InstructPix2Pix", 9: "inpainting"}
"""What a UNet with so many input channels was made for; text-to-image has 4."""

PURPOSE_ADVICE = "segkit needs a text-to-image base, with 4 input channels: use the one that it was made from."


def purpose(in_channels: int, has_classes: bool = False) -> str:
    """Return what a UNet was made for other than text-to-image, such as "inpainting (9 input channels)".

    Args:
        in_channels: channels of its input.
        has_classes: whether it is also conditioned on an embedding of classes or images.

    Returns:
        "" for text-to-image.
    """
    if in_channels != 4:
        return f"{_PURPOSES.get(in_channels, 'another task')} ({in_channels} input channels)"
    return "unCLIP, which is conditioned on pictures" if has_classes else ""


def released(family: str) -> dict[str, Any]:
    """Return the configuration of the released ControlNets of a family, "sd15" or "sd21"."""
    return _RELEASED[family] | {"conditioning_embedding_out_channels": HINT_CHANNELS}


def controlnet(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a ControlNet that fits a base.

    Args:
        unet: configuration of the base's UNet.
        vae: configuration of the base's VAE.
    """
    shared = {name: unet[name] for name in _CONTROLNET_KEYS if name in unet}
    return shared | {"conditioning_embedding_out_channels": hint_channels(vae)}


def hint_channels(vae: Mapping[str, Any]) -> list[int]:
    """Return the channels of the hint encoder, which must downsample control maps as much as the VAE does photos."""
    return HINT_CHANNELS[: len(vae["block_out_channels"])]


def vae_scale_factor(vae: Mapping[str, Any]) -> int:
    """Return the VAE's downsampling factor per side: 8 for every released Stable Diffusion."""
    return 1 << (len(vae["block_out_channels"]) - 1)


def require_heads(config: Mapping[str, Any], source: str) -> None:
    """Refuse a configuration of a released size with a wrong number of attention heads.

    The number of heads changes no weight's shape, so such a network loads without an error and computes nonsense.

    Args:
        config: configuration of a UNet or ControlNet.
        source: where it was read, for the error message.

    Raises:
        ModelError: the number of heads differs from the family's.
    """
    for family in _RELEASED.values():
        channels, width = family["block_out_channels"], family["cross_attention_dim"]
        same = list(config.get("block_out_channels", ())) == channels and config.get("cross_attention_dim") == width
        if same and heads(config) != heads(family):
            raise ModelError(
                f"{source}: attention_head_dim is {config.get('attention_head_dim')} in config.json; expected "
                f"{family['attention_head_dim']}, the number of heads of every network of this size."
            )


def heads(config: Mapping[str, Any]) -> list[int]:
    """Return the number of attention heads at each level, which diffusers calls attention_head_dim."""
    number = config.get("num_attention_heads") or config.get("attention_head_dim", 8)
    return [number] * len(config["block_out_channels"]) if isinstance(number, int) else list(number)


def unet(state: Mapping[str, "Tensor"]) -> dict[str, Any]:
    """Return the configuration of a single file's UNet.

    Raises:
        ModelError: a weight that Stable Diffusion 1 and 2 have is missing.
    """
    base = f"{_UNET}input_blocks."
    channels = [_rows(state, f"{base}{block}.0.out_layers.3.weight") for block in (1, 4, 7, 10)]
    width = _columns(state, f"{base}1.1.transformer_blocks.0.attn2.to_k.weight")
    linear = _get(state, f"{base}1.1.proj_in.weight").ndim == 2
    return {
        **(_SD21 if linear else _SD15),
        "block_out_channels": channels,
        "cross_attention_dim": width,
        "attention_head_dim": [max(1, number // 64) for number in channels] if linear else 8,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "in_channels": _columns(state, f"{base}0.0.weight"),
        "out_channels": _rows(state, f"{_UNET}out.2.weight"),
        "sample_size": 64,
    }


def vae(state: Mapping[str, "Tensor"]) -> dict[str, Any]:
    """Return the configuration of a single file's VAE.

    Raises:
        ModelError: a weight that Stable Diffusion 1 and 2 have is missing.
    """
    channels = [_rows(state, f"{_VAE}encoder.down.{level}.block.0.conv2.weight") for level in range(4)]
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": _rows(state, f"{_VAE}post_quant_conv.weight"),
        "layers_per_block": 2,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    }


def text_weights(state: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Return the weights of a single file's text encoder, with the names of released files.

    NovelAI's files, and those that diffusers' script writes with transformers 5, lack parts of the names.
    """
    weights = {name: weight for name, weight in state.items() if name.startswith("cond_stage_model.")}
    for pattern, replacement in _TEXT_NAMES.items():
        weights = {re.sub(pattern, replacement, name): weight for name, weight in weights.items()}
    return weights


def text_encoder(state: Mapping[str, "Tensor"]) -> dict[str, Any]:
    """Return the configuration of a single file's text encoder: CLIP's (SD1) or OpenCLIP's (SD2).

    Args:
        state: the file's weights, or those of `text_weights`.

    Raises:
        ModelError: the file has neither, or one with another number of layers than the released ones of its width.
    """
    state = text_weights(state)
    is_clip = f"{_CLIP}embeddings.token_embedding.weight" in state
    tokens = f"{_CLIP}embeddings.token_embedding.weight" if is_clip else f"{_OPEN_CLIP}token_embedding.weight"
    positions = f"{_CLIP}embeddings.position_embedding.weight" if is_clip else f"{_OPEN_CLIP}positional_embedding"
    layer = f"{_CLIP}encoder.layers" if is_clip else f"{_OPEN_CLIP}transformer.resblocks"
    first_mlp = f"{layer}.0.mlp.{'fc1' if is_clip else 'c_fc'}.weight"
    width = _columns(state, tokens)
    entries = _rows(state, tokens)
    layers = len({name.removeprefix(f"{layer}.").split(".")[0] for name in state if name.startswith(f"{layer}.")})
    return {
        "vocab_size": entries,
        "bos_token_id": entries - 2,
        "eos_token_id": entries - 1,
        "hidden_size": width,
        "intermediate_size": _rows(state, first_mlp),
        "num_hidden_layers": _text_layers(layers, width, is_clip),
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": _rows(state, positions),
        "hidden_act": "quick_gelu" if is_clip and width != 1024 else "gelu",
        "projection_dim": width,
    }


def _text_layers(layers: int, width: int, is_clip: bool) -> int:
    """Return how many of a file's layers are used.

    SD2 does not use the last of OpenCLIP's 24 layers. Stability's files hold it, those that diffusers wrote do not.

    Raises:
        ModelError: the number differs from that of the released text encoders.
    """
    if width not in _TEXT_LAYERS:
        if width >= min(_TEXT_LAYERS):
            raise ModelError(
                f"its text encoder has width {width}; expected 768 (Stable Diffusion 1) or 1024 (Stable Diffusion 2)"
            )
        return layers - (0 if is_clip else 1)  # a small model: in the layout of a released file
    used = _TEXT_LAYERS[width]
    accepted = (used, used + 1) if width == 1024 else (used,)
    if layers not in accepted:
        numbers = " or ".join(map(str, accepted))
        raise ModelError(f"its text encoder of width {width} has {layers} layers; expected {numbers}")
    return used


def _get(state: Mapping[str, "Tensor"], name: str) -> "Tensor":
    if name not in state:
        raise ModelError(f"not a Stable Diffusion 1 or 2 checkpoint: it lacks {name}")
    return state[name]


def _rows(state: Mapping[str, "Tensor"], name: str) -> int:
    return int(_get(state, name).shape[0])


def _columns(state: Mapping[str, "Tensor"], name: str) -> int:
    return int(_get(state, name).shape[1])
