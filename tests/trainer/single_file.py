"""Convert a Stable Diffusion to the single-file layout: ldm's names for all components.

The names are derived from the networks' modules, in the order in which ldm numbers them, and share no code with segkit.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_SD_TEXT, _SDXL_TEXT = "cond_stage_model.", "conditioner.embedders.{}."


def state(base: Any, family: str = "SD1") -> dict[str, Tensor]:
    """Return the weights of a base of SD1 or SD2 under the names of its family's single files."""
    (network,) = base.text_encoders
    text_encoder = clip(network, _SD_TEXT) if family == "SD1" else open_clip(network, _SD_TEXT, 1)
    others = {"betas": torch.ones(1000), "model_ema.decay": torch.tensor(0.9)}
    return {name: weight.clone().contiguous() for name, weight in (networks(base) | text_encoder | others).items()}


def sdxl_state(unet: Any, vae: Any, text_encoders: tuple[Any, Any]) -> dict[str, Tensor]:
    """Return the weights of an SDXL under the names of Stability's file; text_encoders are CLIP's and OpenCLIP's."""
    first, second = (_SDXL_TEXT.format(number) for number in range(2))
    projection = text_encoders[1].state_dict()["text_projection.weight"]
    return {
        **ldm_unet(unet), **ldm_vae(vae), **clip(text_encoders[0], first), **open_clip(text_encoders[1], second, 0),
        f"{second}model.text_projection": projection.T, f"{second}model.logit_scale": torch.ones((), device="meta"),
    }  # fmt: skip


def networks(base: Any) -> dict[str, Tensor]:
    """Return the weights of a base's UNet and VAE."""
    return ldm_unet(base.unet) | ldm_vae(base.vae)


def ldm_unet(model: Any, prefix: str = "model.diffusion_model.") -> dict[str, Tensor]:
    """Return a UNet's weights, or those of a ControlNet, under ldm's names."""
    weights, places = model.state_dict(), dict(_places(model))
    named = {}
    for name, weight in weights.items():
        place = next(place for place in places if name.startswith(f"{place}."))
        part, _, rest = name.removeprefix(f"{place}.").partition(".")
        if ".resnets." in place:
            part = _RESNET[part]
        named[prefix + ".".join(filter(None, (places[place], part, rest)))] = weight
    assert len(named) == len(weights)
    return named


_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


def _places(model: Any) -> Iterator[tuple[str, str]]:
    """Yield the name of each module and ldm's, in the order of ldm's numbers."""
    yield from (("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2"))
    for number in range(2):
        yield f"time_embedding.linear_{number + 1}", f"time_embed.{2 * number}"
        yield f"add_embedding.linear_{number + 1}", f"label_emb.0.{2 * number}"
    count = 1
    for level, block in enumerate(model.down_blocks):
        for index in range(len(block.resnets)):
            yield f"down_blocks.{level}.resnets.{index}", f"input_blocks.{count}.0"
            yield f"down_blocks.{level}.attentions.{index}", f"input_blocks.{count}.1"
            count += 1
        if block.downsamplers:
            yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{count}.0.op"
            count += 1
    yield "mid_block.resnets.0", "middle_block.0"
    yield "mid_block.attentions.0", "middle_block.1"
    yield "mid_block.resnets.1", "middle_block.2"
    yield from _decoder(getattr(model, "up_blocks", []))
    yield from _control(model)


def _decoder(blocks: Any) -> Iterator[tuple[str, str]]:
    count = 0
    for level, block in enumerate(blocks):
        for index in range(len(block.resnets)):
            yield f"up_blocks.{level}.resnets.{index}", f"output_blocks.{count}.0"
            yield f"up_blocks.{level}.attentions.{index}", f"output_blocks.{count}.1"
            count += 1
        place = 2 if hasattr(block, "attentions") else 1  # the upsampler follows the attention
        yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{count - 1}.{place}.conv"


def _control(model: Any) -> Iterator[tuple[str, str]]:
    if not hasattr(model, "controlnet_cond_embedding"):
        return
    hints = model.controlnet_cond_embedding.blocks
    yield "controlnet_cond_embedding.conv_in", "input_hint_block.0"
    for number in range(len(hints)):
        yield f"controlnet_cond_embedding.blocks.{number}", f"input_hint_block.{2 * number + 2}"
    yield "controlnet_cond_embedding.conv_out", f"input_hint_block.{2 * len(hints) + 2}"
    for number in range(len(model.controlnet_down_blocks)):
        yield f"controlnet_down_blocks.{number}", f"zero_convs.{number}.0"
    yield "controlnet_mid_block", "middle_block_out.0"


_VAE = [
    (r"encoder\.down_blocks\.(\d)\.resnets\.(\d)", r"encoder.down.\1.block.\2"),
    (r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"),
]


def ldm_vae(model: Any) -> dict[str, Tensor]:
    """Return a VAE's weights under ldm's names."""
    return dict(_vae(name, weight) for name, weight in model.state_dict().items())


def _vae(name: str, weight: Tensor) -> tuple[str, Tensor]:
    if match := re.match(r"decoder\.up_blocks\.(\d)\.(resnets\.(\d)|upsamplers\.0)", name):
        part = f"block.{match[3]}" if match[3] else "upsample"
        name = f"decoder.up.{3 - int(match[1])}.{part}{name[match.end() :]}"
    for pattern, target in _VAE:
        name = re.sub(pattern, target, name)
    is_attention = ".attn_1." in name and weight.ndim == 2  # a 1x1 convolution in ldm
    return f"first_stage_model.{name}", weight[..., None, None] if is_attention else weight


def clip(encoder: Any, prefix: str) -> dict[str, Tensor]:
    """Return the weights of CLIP's text encoder under the names of a single file."""
    start = f"{prefix}transformer.text_model."
    state = {start + name: weight for name, weight in encoder.state_dict().items()}
    return state | {f"{start}embeddings.position_ids": torch.arange(77)[None]}


def open_clip(encoder: Any, prefix: str, unused: int) -> dict[str, Tensor]:
    """Return the weights of OpenCLIP's text encoder; its file may have more layers, which are unused."""
    weights = {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}
    start = f"{prefix}model."
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    state = {start + target: weights[name] for name, target in names.items()}
    layers = encoder.config.num_hidden_layers
    for layer in range(layers + unused):
        first, end = f"encoder.layers.{min(layer, layers - 1)}.", f"{start}transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            projections = [weights[f"{first}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            state[f"{end}attn.in_proj_{kind}"] = torch.cat(projections)
            pairs = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                     "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}  # fmt: skip
            for source, target in pairs.items():
                state[f"{end}{target}.{kind}"] = weights[f"{first}{source}.{kind}"]
    return state
