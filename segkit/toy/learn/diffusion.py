"""Stable Diffusions of the real architectures in small sizes, with random weights: toy.learn.train trains them."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segkit.toy.learn import networks

NOISE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
}
"""The noise schedule of Stable Diffusion 1 and XL."""

_WIDTHS = [64, 96, 112]
"""Channels of the UNets' three levels."""


def stable_diffusion(words: Sequence[str], seed: int = 0) -> Any:
    """Return a StableDiffusionPipeline with random weights whose tokenizer has a token for each given word.

    It has the classes of Stable Diffusion 1 and 4.8 million parameters. Photos of 64 x 64 pixels become latents of
    16 x 16: the VAE halves the resolution twice. There is no safety checker.
    """
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    tokenizer = networks.clip_tokenizer(words)
    width = 64
    torch.manual_seed(seed)
    text_encoder = CLIPTextModel(_text_config(tokenizer, width, layers=2))
    vae = AutoencoderKL(
        block_out_channels=[24, 48, 64], layers_per_block=1, norm_num_groups=8, latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3, sample_size=64,
    )  # fmt: skip
    _add_identity(vae)
    unet = UNet2DConditionModel(  # no attention at the highest resolution, where it would cost most
        block_out_channels=_WIDTHS, layers_per_block=1, norm_num_groups=16, attention_head_dim=2,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"], sample_size=16,
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=width,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, DDPMScheduler(**NOISE), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl(base: Any, seed: int = 0) -> Any:
    """Return a StableDiffusionXLPipeline that starts from a pipeline of `stable_diffusion`.

    It has the classes and the structure of Stable Diffusion XL: two text encoders of different widths, of which the
    second also pools prompts, and pads them with another token; a UNet of three levels, of which the last two have
    attention, conditioned on the pooled prompt, sizes and crops. It has 5.1 million parameters beside those of the VAE.

    Args:
        base: the pipeline whose VAE and tokenizer it shares, and whose weights it copies wherever they fit; the others
            are random. It is not changed.
        seed: seed of the random weights.
    """
    import torch
    from diffusers import DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    tokenizers = base.tokenizer, copy.deepcopy(base.tokenizer)
    tokenizers[1].pad_token = "!"
    widths, size_width = (base.text_encoder.config.hidden_size, 32), 16
    torch.manual_seed(seed)
    text_encoders = (  # the last layer is one more than the base's: it does not change the hidden states that are used
        CLIPTextModel(_text_config(tokenizers[0], widths[0], layers=3)),
        CLIPTextModelWithProjection(_text_config(tokenizers[1], widths[1], layers=2)),
    )
    unet = UNet2DConditionModel(
        block_out_channels=_WIDTHS, layers_per_block=1, norm_num_groups=16, attention_head_dim=[1, 2, 2],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], sample_size=16,
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=sum(widths),
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=size_width,
        projection_class_embeddings_input_dim=6 * size_width + widths[1],
    )  # fmt: skip
    _copy_fitting(base.unet, unet)
    _copy_fitting(base.text_encoder, text_encoders[0])
    _replace_norm(base, unet)
    return StableDiffusionXLPipeline(base.vae, *text_encoders, *tokenizers, unet, DDPMScheduler(**NOISE))


def load(folder: Path) -> Any:
    """Return the pipeline in a folder in fp32; see `stable_diffusion`."""
    import torch
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.vae.register_to_config(_name_or_path="")  # the folder, which would be saved with it
    return pipeline


def _copy_fitting(source: Any, target: Any) -> None:
    """Copy a network's weights to those of the same name in another: where these are larger, to their leading part.

    Pointwise convolutions become linear layers, which SDXL's UNet has in their place.
    """
    import torch

    weights = dict(source.named_parameters())
    with torch.no_grad():
        for name, weight in target.named_parameters():
            if name in weights:
                copied = weights[name].flatten(1) if weight.dim() == 2 else weights[name]
                weight[tuple(map(slice, copied.shape))].copy_(copied)


def _replace_norm(base: Any, unet: Any) -> None:
    """Scale what a UNet copied of a base's cross-attention as the norm did that the last hidden states went through.

    Stable Diffusion XL takes hidden states without the text encoder's final norm; unscaled, they would be six times as
    large as those that the copied weights know.
    """
    import torch

    tokens = base.tokenizer("", padding="max_length", return_tensors="pt").input_ids
    norm = next(module for name, module in base.text_encoder.named_modules() if name.endswith("final_layer_norm"))
    with torch.no_grad():
        hidden_states = base.text_encoder(tokens, output_hidden_states=True).hidden_states[-1]
        gain = norm.weight / hidden_states.std(-1).mean()
        for name, weight in unet.named_parameters():
            if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
                weight[:, : len(gain)].mul_(gain)


def _text_config(tokenizer: Any, width: int, layers: int) -> Any:
    """Return the configuration of a CLIP text encoder with one attention head for a tokenizer."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=1, projection_dim=width, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip


def _add_identity(vae: Any) -> None:
    """Mix an identity into the VAE's convolutions; otherwise normalisation hides colours for thousands of steps."""
    import torch

    with torch.no_grad():
        for name, layer in vae.named_modules():
            on_main_path = name.endswith(("conv_in", "conv_out", "conv_shortcut", "quant_conv")) or "samplers" in name
            if on_main_path and isinstance(layer, torch.nn.Conv2d):
                layer.weight.mul_(0.5).add_(torch.nn.init.dirac_(torch.empty_like(layer.weight)))
