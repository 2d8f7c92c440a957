"""Model configurations that single-file checkpoints lack, inferred from tensor shapes.

SD1.x and SD2.x differ in little but the widths, which the weights reveal; SDXL has fewer levels with more transformer
blocks, which are counted. What shapes do not reveal (attention heads, activations, the prediction type) is taken from
the family: SD2 and SDXL project attention with linear layers, SD1 with 1x1 convolutions.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from trainer.checkpoints import blocks, families

if TYPE_CHECKING:
    from torch import Tensor

_UNET, _VAE = "model.diffusion_model.", "first_stage_model."
_PROJECTION = "conditioner.embedders.1.model.text_projection"

SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "steps_offset": 1,
}
"""Noise schedule of all families (scheduler_config.json of the released models), without prediction_type."""

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
_SDXL: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_RELEASED = {"sd15": _SD15, "sd21": _SD21, "sdxl": _SDXL}
_CONTROLNET_KEYS = (
    "block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim", "num_attention_heads",
    "down_block_types", "use_linear_projection", "norm_num_groups", "in_channels", "flip_sin_to_cos", "freq_shift",
    "norm_eps", "only_cross_attention", "downsample_padding", "act_fn", "upcast_attention",
    "transformer_layers_per_block", "addition_embed_type", "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
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
    """Return the configuration of the released ControlNets of a family: "sd15", "sd21" or "sdxl"."""
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


def is_sdxl(state: Mapping[str, "Tensor"]) -> bool:
    """Return whether a single file's UNet is SDXL's: conditioned on sizes, and on a pooled prompt."""
    return f"{_UNET}label_emb.0.0.weight" in state


def unet(state: Mapping[str, "Tensor"]) -> dict[str, Any]:
    """Return the configuration of a single file's UNet.

    Raises:
        ModelError: a weight that the family has is missing, or its transformer blocks are those of a pruned SDXL.
    """
    base = f"{_UNET}input_blocks."
    get(state, f"{base}1.0.out_layers.3.weight")
    depths = blocks.unet_depths(state, _UNET)
    channels = [_rows(state, f"{base}{3 * level + 1}.0.out_layers.3.weight") for level in range(len(depths))]
    attending = next(level for level, depth in enumerate(depths) if depth)
    attention = f"{base}{3 * attending + 1}.1."
    width = _columns(state, f"{attention}transformer_blocks.0.attn2.to_k.weight")
    linear = get(state, f"{attention}proj_in.weight").ndim == 2
    config = {
        **(_SDXL if is_sdxl(state) else _SD21 if linear else _SD15),
        "block_out_channels": channels,
        "cross_attention_dim": width,
        "attention_head_dim": [max(1, number // 64) for number in channels] if linear else 8,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "in_channels": _columns(state, f"{base}0.0.weight"),
        "out_channels": _rows(state, f"{_UNET}out.2.weight"),
        "sample_size": 64,
    }
    return config | _sdxl(state, depths) if is_sdxl(state) else config


def _sdxl(state: Mapping[str, "Tensor"], depths: Sequence[int]) -> dict[str, Any]:
    """Return what only SDXL's configuration has."""
    inputs = _columns(state, f"{_UNET}label_emb.0.0.weight")
    linear = f"{_PROJECTION}.weight"  # as diffusers' script writes it: transposed
    pooled = _rows(state, linear) if linear in state else _columns(state, _PROJECTION)
    return {
        "transformer_layers_per_block": [depth or 1 for depth in depths],
        "projection_class_embeddings_input_dim": inputs,
        "addition_time_embed_dim": (inputs - pooled) // families.SIZE_VALUES,
        "sample_size": 128,
    }


def vae(state: Mapping[str, "Tensor"]) -> dict[str, Any]:
    """Return the configuration of a single file's VAE, with the latents' factor of the file's family.

    Raises:
        ModelError: a weight that Stable Diffusion's VAEs have is missing.
    """
    name = "down_blocks.{}.resnets.0" if is_diffusers_vae(state) else "down.{}.block.0"
    channels = [_rows(state, f"{_VAE}encoder.{name.format(level)}.conv2.weight") for level in range(4)]
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "latent_channels": _rows(state, f"{_VAE}post_quant_conv.weight"),
        "layers_per_block": 2,
        "sample_size": 1024 if is_sdxl(state) else 512,
        "scaling_factor": (families.SDXL if is_sdxl(state) else families.SD1).scaling_factor,
    }


def is_diffusers_vae(state: Mapping[str, "Tensor"]) -> bool:
    """Return whether a single file's VAE has diffusers' names instead of ldm's."""
    return f"{_VAE}encoder.down_blocks.0.resnets.0.conv2.weight" in state


def get(state: Mapping[str, "Tensor"], name: str, prefix: str = "") -> "Tensor":
    """Return a weight that every base has.

    Args:
        state: the weights of a file, or a part of them.
        name: the weight's name in there.
        prefix: what its name in the file begins with.

    Raises:
        ModelError: it is missing.
    """
    if name not in state:
        raise ModelError(f"not a complete Stable Diffusion 1, 2 or XL: it lacks {prefix}{name}")
    return state[name]


def _rows(state: Mapping[str, "Tensor"], name: str) -> int:
    return int(get(state, name).shape[0])


def _columns(state: Mapping[str, "Tensor"], name: str) -> int:
    return int(get(state, name).shape[1])
