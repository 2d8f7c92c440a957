"""Networks of real architectures with random weights: toy.learn.train trains them, tests and benchmarks use them as is.

They are saved in the folder formats of transformers and diffusers, so the code for released models loads them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segkit.palette import Palette

STAGES = ("stage1", "stage2", "stage3", "stage4")
"""Stages of a backbone; OneFormer uses the feature maps of all four."""


@dataclass(frozen=True)
class Swin:
    """A Swin backbone of OneFormer: embedding width, depths, attention heads, window size."""

    embed: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int

    def config(self) -> Any:
        """Return the transformers config."""
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
    """A ResNet backbone of OneFormer made of basic blocks: widths, depths."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]

    def config(self) -> Any:
        """Return the transformers config."""
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
    """Sizes of OneFormer and BLIP.

    Attributes:
        backbone: OneFormer's backbone.
        width: OneFormer's hidden width.
        queries: number of object queries.
        layers: number of pixel encoder and query decoder layers.
        contrast: factors for the weights of OneFormer's last class and mask layers.
        shortest_edge: short side to which OneFormer's processor scales photos, in pixels.
        blip_width, blip_layers: hidden width and number of layers of BLIP's text and vision models.
        blip_image, blip_patch: side of BLIP's input and of its patches, in pixels.
        vocabulary: minimum size of BLIP's vocabulary; filler words make up the difference.
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
"""FULL with the OneFormer of shi-labs/oneformer_ade20k_swin_large."""

TOY = Scale(ResNet((32, 64, 96, 128), (2, 2, 2, 2)), 64, 24, (2, 3), (1, 1), 192, 128, 4, 96, 8, 0)
"""The sizes of the shipped networks. BLIP's vocabulary is exactly the words of the toy world."""

_WORDS = "a the room street with and of house tree sky wall bed chair table window door lamp car road grass".split()
_MAX_VOCABULARY = 2000
"""Upper limit for the entries of a trained CLIP vocabulary."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")


def oneformer(palette: Palette, scale: Scale = SMALL, seed: int = 0) -> tuple[Any, Any]:
    """Return a OneFormer with random weights and the classes of a palette, and its processor."""
    import torch
    from transformers import OneFormerConfig, OneFormerForUniversalSegmentation, OneFormerProcessor
    from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil

    tokenizer = clip_tokenizer()
    image_processor = OneFormerImageProcessorPil(
        repo_path=None,
        class_info_file=None,  # used in training only; its absolute path would differ between folders
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
            contrastive_weight=0.0,  # disables the text branch, which only multi-task training needs
            id2label=labels,
            label2id={name: index for index, name in labels.items()},
        )
    )
    # transformers initialises these with std 0.02, which makes all queries answer alike; the original uses N(0, 1).
    torch.nn.init.normal_(model.model.transformer_module.queries_embedder.weight)
    with torch.no_grad():  # larger logits give even random weights several classes per picture
        decoder = model.model.transformer_module.decoder
        decoder.class_embed.weight.mul_(scale.contrast[0])
        dict(decoder.mask_embed.named_parameters())["layers.2.0.weight"].mul_(scale.contrast[1])
    return model, OneFormerProcessor(image_processor=image_processor, tokenizer=tokenizer)


def segformer(classes: Sequence[str], seed: int = 0) -> tuple[Any, Any]:
    """Return a SegFormer with random weights and 1.1 million parameters, and its processor.

    Its first layer halves the resolution, where released SegFormers divide it by four: its scores are sharper.
    """
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation
    from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

    torch.manual_seed(seed)
    config = SegformerConfig(
        hidden_sizes=[24, 48, 96, 128], strides=[2, 2, 2, 2], patch_sizes=[5, 3, 3, 3], sr_ratios=[4, 4, 2, 1],
        num_attention_heads=[1, 2, 4, 4], decoder_hidden_size=64, drop_path_rate=0.0, classifier_dropout_prob=0.0,
        id2label=dict(enumerate(classes)), label2id={name: index for index, name in enumerate(classes)},
    )  # fmt: skip
    return SegformerForSemanticSegmentation(config), SegformerImageProcessorPil(size={"height": 80, "width": 80})


def blip(words: Sequence[str] = _WORDS, scale: Scale = SMALL, seed: int = 0) -> tuple[Any, Any]:
    """Return a BLIP captioner with random weights and the given vocabulary, and its processor."""
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    fillers = [f"word{number}" for number in range(scale.vocabulary - len(_SPECIAL) - len(words))]
    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, *words, *fillers])}
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


def write(folder: Path, network: Sequence[Any]) -> Path:
    """Save a model and its processor, or a pipeline, in their library's folder format. Return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in network:
        part.save_pretrained(folder)
    return folder


def halve(network: Any) -> None:
    """Convert a network, or all networks of a pipeline, in place to fp16 on the CPU in contiguous layout."""
    import torch

    for part in _parts(network):
        part.cpu().half().to(memory_format=torch.contiguous_format)


def parameters(network: Any) -> int:
    """Return the number of parameters of a network, or of all networks of a pipeline."""
    return sum(weight.numel() for part in _parts(network) for weight in part.parameters())


def _parts(network: Any) -> list[Any]:
    members = network.components.values() if hasattr(network, "components") else [network]
    return [part for part in members if hasattr(part, "parameters")]


def write_clip_tokenizer(folder: Path) -> Path:
    """Save a byte-level CLIP tokenizer without merges, in which every letter is a token; tests count with it."""
    folder.mkdir(parents=True, exist_ok=True)
    clip_tokenizer().save_pretrained(folder)
    return folder


def clip_tokenizer(words: Sequence[str] = ()) -> Any:
    """Return a byte-level CLIP tokenizer that encodes each given word as one token."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    ends = [letter + "</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    if words:
        trained = json.loads(
            clip_tokenizer().train_new_from_iterator([words], _MAX_VOCABULARY).backend_tokenizer.to_str()
        )["model"]
        merges = [(left, right) for left, right in trained["merges"]]
    merged = [left + right for left, right in merges]
    entries = [*letters, *ends, *merged, "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
