"""Convert a Stable Diffusion to the single-file layout: ldm's names for all components."""

import re
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoints import ldm


def state(base: Any, family: str = "SD1") -> dict[str, Tensor]:
    """Return the weights of a base under the names of its family's single files."""
    unet = {f"model.diffusion_model.{_unet(name)}": weight for name, weight in base.unet.state_dict().items()}
    vae = dict(_vae(name, weight) for name, weight in base.vae.state_dict().items())
    text_encoder = _clip(base.text_encoders[0]) if family == "SD1" else _open_clip(base.text_encoders[0])
    others = {"betas": torch.ones(1000), "model_ema.decay": torch.tensor(0.9)}
    return {name: weight.clone().contiguous() for name, weight in (unet | vae | text_encoder | others).items()}


def _unet(name: str) -> str:
    if match := re.fullmatch(r"up_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.+)", name):
        level, kind, index, rest = match.groups()
        block = 3 * int(level) + int(index)
        inner = ldm.to_ldm(f"down_blocks.0.{kind}.0.{rest}").removeprefix("input_blocks.1.")
        return f"output_blocks.{block}.{inner}"
    if match := re.fullmatch(r"up_blocks\.(\d)\.upsamplers\.0\.(.+)", name):
        level = int(match[1])
        return f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.{match[2]}"
    for prefix, target in (("conv_norm_out", "out.0"), ("conv_out", "out.2")):
        if name.startswith(prefix):
            return name.replace(prefix, target)
    return ldm.to_ldm(name)


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


def _vae(name: str, weight: Tensor) -> tuple[str, Tensor]:
    if match := re.match(r"decoder\.up_blocks\.(\d)\.(resnets\.(\d)|upsamplers\.0)", name):
        part = f"block.{match[3]}" if match[3] else "upsample"
        name = f"decoder.up.{3 - int(match[1])}.{part}{name[match.end() :]}"
    for pattern, target in _VAE:
        name = re.sub(pattern, target, name)
    is_attention = ".attn_1." in name and weight.ndim == 2  # a 1x1 convolution in ldm
    return f"first_stage_model.{name}", weight[..., None, None] if is_attention else weight


def _clip(encoder: Any) -> dict[str, Tensor]:
    prefix = "cond_stage_model.transformer.text_model."
    state = {prefix + name: weight for name, weight in encoder.state_dict().items()}
    return state | {f"{prefix}embeddings.position_ids": torch.arange(77)[None]}


def _open_clip(encoder: Any) -> dict[str, Tensor]:
    weights, prefix = encoder.state_dict(), "cond_stage_model.model."
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
    }
    state = {prefix + target: weights[name] for name, target in names.items()}
    layers = encoder.config.num_hidden_layers
    for layer in range(layers + 1):  # the file has one more layer, which SD2 does not use
        start, end = f"encoder.layers.{min(layer, layers - 1)}.", f"{prefix}transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            projections = [weights[f"{start}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            state[f"{end}attn.in_proj_{kind}"] = torch.cat(projections)
            pairs = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                     "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}  # fmt: skip
            for source, target in pairs.items():
                state[f"{end}{target}.{kind}"] = weights[f"{start}{source}.{kind}"]
    return state
