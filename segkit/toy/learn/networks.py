"""Real architectures with fresh random weights: what toy.train trains, and what tests and benchmarks take as it is.

Written in transformers' own folder format, they load through the code that loads released models.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segkit.palette import Palette

STAGES = ("stage1", "stage2", "stage3", "stage4")
"""Of a backbone; OneFormer looks at all of them."""


@dataclass(frozen=True)
class Swin:
    """A Swin transformer as OneFormer's backbone: embedding width, depths, heads, window."""

    embed: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int

    def config(self) -> Any:
        """Return it in transformers' terms."""
        from transformers import SwinConfig

        return SwinConfig(
            embed_dim=self.embed,
            depths=self.depths,
            num_heads=self.heads,
            window_size=self.window,
            out_features=list(STAGES),
        )


@dataclass(frozen=True)
class ResNet:
    """A ResNet of basic blocks as OneFormer's backbone: widths, depths."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]

    def config(self) -> Any:
        """Return it in transformers' terms."""
        from transformers import ResNetConfig

        return ResNetConfig(
            embedding_size=self.widths[0],
            hidden_sizes=self.widths,
            depths=self.depths,
            layer_type="basic",
            out_features=list(STAGES),
        )


@dataclass(frozen=True)
class Scale:
    """How large the networks are.

    Attributes:
        backbone: OneFormer's.
        width: OneFormer's hidden width.
        queries: number of its queries.
        layers: its pixel encoder and query decoder layers.
        contrast: what OneFormer's last class and mask layers are multiplied by.
        shortest_edge: what its processor scales the short side to, in pixels.
        blip_width, blip_layers: of BLIP's text and vision part.
        blip_image, blip_patch: BLIP's picture and patch side, in pixels.
        vocabulary: BLIP's number of words, at least.
    """

    backbone: Swin | ResNet
    width: int
    queries: int
    layers: tuple[int, int]
    contrast: tuple[float, float]
    shortest_edge: int
    blip_width: int
    blip_layers: int
    blip_image: int
    blip_patch: int
    vocabulary: int


SMALL = Scale(Swin(16, (1, 1, 1, 1), (2, 2, 2, 2), 4), 32, 20, (1, 2), (50, 200), 96, 32, 2, 64, 16, 40)
FULL = Scale(Swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7), 256, 150, (6, 10), (50, 10), 640, 768, 12, 384, 16, 30524)
"""The sizes of shi-labs/oneformer_ade20k_swin_tiny and Salesforce/blip-image-captioning-base."""

LARGE = replace(FULL, backbone=Swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 12), queries=250)
"""With the OneFormer of shi-labs/oneformer_ade20k_swin_large."""

TOY = Scale(ResNet((32, 64, 96, 128), (2, 2, 2, 2)), 64, 24, (2, 3), (1, 1), 192, 128, 4, 96, 8, 0)
"""The sizes of the networks that segkit ships. BLIP's vocabulary is just the words of the toy world."""

_WORDS = "a the room street with and of house tree sky wall bed chair table window door lamp car road grass".split()
_MOST = 2000
"""Entries of a vocabulary, at most."""

NOISE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
}
"""The noise schedule of every Stable Diffusion 1."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")


def oneformer(palette: Palette, scale: Scale = SMALL, seed: int = 0) -> tuple[Any, Any]:
    """Return a OneFormer with random weights and a class for each of the palette's, and its processor."""
    import torch
    from transformers import OneFormerConfig, OneFormerForUniversalSegmentation, OneFormerProcessor
    from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil

    tokenizer = _clip_tokenizer()
    image_processor = OneFormerImageProcessorPil(
        repo_path=None,
        class_info_file=None,  # for training only, and an absolute path would differ from folder to folder
        num_text=scale.queries - 16,
        num_labels=len(palette),
        size={"shortest_edge": scale.shortest_edge, "longest_edge": 4 * scale.shortest_edge},
    )
    labels = {swatch.index: swatch.name for swatch in palette}
    torch.manual_seed(seed)
    model = OneFormerForUniversalSegmentation(
        OneFormerConfig(
            backbone_config=scale.backbone.config(),
            num_queries=scale.queries,
            **dict.fromkeys(("hidden_dim", "mask_dim", "conv_dim", "text_encoder_width"), scale.width),
            **dict.fromkeys(("encoder_feedforward_dim", "dim_feedforward"), 4 * scale.width),
            encoder_layers=scale.layers[0],
            decoder_layers=scale.layers[1],
            num_attention_heads=8,
            text_encoder_num_layers=1,
            text_encoder_vocab_size=len(tokenizer),
            dropout=0.0,
            contrastive_weight=0.0,  # of the text branch, which is for training by several tasks at once
            id2label=labels,
            label2id={name: index for index, name in labels.items()},
        )
    )
    # transformers draws these with std 0.02, which makes every query say the same; the original draws N(0, 1).
    torch.nn.init.normal_(model.model.transformer_module.queries_embedder.weight)
    with torch.no_grad():  # larger class and mask logits, so that even noise has several classes a picture
        decoder = model.model.transformer_module.decoder
        decoder.class_embed.weight.mul_(scale.contrast[0])
        dict(decoder.mask_embed.named_parameters())["layers.2.0.weight"].mul_(scale.contrast[1])
    return model, OneFormerProcessor(image_processor=image_processor, tokenizer=tokenizer)


def blip(words: Sequence[str] = _WORDS, scale: Scale = SMALL, seed: int = 0) -> tuple[Any, Any]:
    """Return a BLIP captioner with random weights that knows the given words, and its processor."""
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    fillers = [f"word{number}" for number in range(scale.vocabulary - len(_SPECIAL) - len(words))]
    vocabulary = {word: place for place, word in enumerate([*_SPECIAL, *words, *fillers])}
    tokenizer = BertTokenizer(vocab=vocabulary, bos_token="[DEC]", additional_special_tokens=["[ENC]"])
    sides = {"hidden_size": scale.blip_width, "num_hidden_layers": scale.blip_layers, "num_attention_heads": 4}
    sides["intermediate_size"] = 4 * scale.blip_width
    text = {
        "vocab_size": len(vocabulary),
        "encoder_hidden_size": scale.blip_width,
        "bos_token_id": vocabulary["[DEC]"],
        "pad_token_id": 0,
        **dict.fromkeys(("eos_token_id", "sep_token_id"), vocabulary["[SEP]"]),
    }
    vision = {"image_size": scale.blip_image, "patch_size": scale.blip_patch}
    torch.manual_seed(seed)
    model = BlipForConditionalGeneration(BlipConfig(text_config={**sides, **text}, vision_config={**sides, **vision}))
    size = {"height": scale.blip_image, "width": scale.blip_image}
    return model, BlipProcessor(image_processor=BlipImageProcessorPil(size=size), tokenizer=tokenizer)


def stable_diffusion(words: Sequence[str], seed: int = 0) -> Any:
    """Return a Stable Diffusion of SD1's classes with random weights that knows the given words.

    Photos of 64 x 64 become latents of 16 x 16: the VAE halves twice. All in all 4.8 million weights.

    Returns:
        diffusers' StableDiffusionPipeline, without safety checker.
    """
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = _clip_tokenizer(words)
    width, entries = 64, len(tokenizer)
    torch.manual_seed(seed)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=entries, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2,
            num_attention_heads=1, projection_dim=width, bos_token_id=entries - 2, eos_token_id=entries - 1,
        )
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=[24, 48, 64], layers_per_block=1, norm_num_groups=8, latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3, sample_size=64,
    )  # fmt: skip
    _lead_through(vae)
    unet = UNet2DConditionModel(  # attention costs most where latents are largest: none there
        block_out_channels=[64, 96, 112], layers_per_block=1, norm_num_groups=16, attention_head_dim=2,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"], sample_size=16,
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=width,
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, DDPMScheduler(**NOISE), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def _lead_through(vae: Any) -> None:
    """Give colours a straight way through a VAE; else its normalisations hide them for thousands of steps."""
    import torch

    with torch.no_grad():
        for name, layer in vae.named_modules():
            straight = name.endswith(("conv_in", "conv_out", "conv_shortcut", "quant_conv")) or "samplers" in name
            if straight and isinstance(layer, torch.nn.Conv2d):
                layer.weight.mul_(0.5).add_(torch.nn.init.dirac_(torch.empty_like(layer.weight)))


def write(folder: Path, network: Sequence[Any]) -> Path:
    """Write networks and their processors in the folder format of their library.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for each in network:
        each.save_pretrained(folder)
    return folder


def halve(network: Any) -> None:
    """Bring a network, or all networks of a pipeline, to the CPU, to fp16 and to the layout that files have."""
    import torch

    for part in _parts(network):
        part.cpu().half().to(memory_format=torch.contiguous_format)


def parameters(network: Any) -> int:
    """Return the number of weights of a network, or of all networks of a pipeline."""
    return sum(weight.numel() for part in _parts(network) for weight in part.parameters())


def _parts(network: Any) -> list[Any]:
    members = network.components.values() if hasattr(network, "components") else [network]
    return [part for part in members if hasattr(part, "parameters")]


def write_clip_tokenizer(folder: Path) -> Path:
    """Write a byte-level CLIP tokenizer without merges: every letter is a token. For tests of counting."""
    folder.mkdir(parents=True, exist_ok=True)
    _clip_tokenizer().save_pretrained(folder)
    return folder


def _clip_tokenizer(words: Sequence[str] = ()) -> Any:
    """Return a byte-level CLIP tokenizer to which each of the given words is one token."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    ends = [letter + "</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    if words:
        model = json.loads(_clip_tokenizer().train_new_from_iterator([words], _MOST).backend_tokenizer.to_str())[
            "model"
        ]
        merges = [(left, right) for left, right in model["merges"]]
    merged = [left + right for left, right in merges]
    entries = [*letters, *ends, *merged, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: place for place, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
