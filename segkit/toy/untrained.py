"""Real architectures with random weights, in transformers' own folder format.

They load through the code that loads released models, so the mechanics are real; what they say is noise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.palette import Palette


@dataclass(frozen=True)
class Scale:
    """How large the networks are.

    Attributes:
        swin: embedding width, depths, heads and window of OneFormer's backbone.
        width: OneFormer's hidden width.
        queries: number of its queries.
        layers: its pixel encoder and query decoder layers.
        contrast: what OneFormer's last class and mask layers are multiplied by.
        shortest_edge: what its processor scales the short side to, in pixels.
        blip_width, blip_layers: of BLIP's text and vision part.
        blip_image, blip_patch: BLIP's picture and patch side, in pixels.
        vocabulary: BLIP's number of words.
    """

    swin: tuple[int, tuple[int, ...], tuple[int, ...], int]
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


SMALL = Scale((16, (1, 1, 1, 1), (2, 2, 2, 2), 4), 32, 20, (1, 2), (50, 200), 96, 32, 2, 64, 16, 40)
FULL = Scale((96, (2, 2, 6, 2), (3, 6, 12, 24), 7), 256, 150, (6, 10), (50, 10), 640, 768, 12, 384, 16, 30524)
"""The sizes of shi-labs/oneformer_ade20k_swin_tiny and Salesforce/blip-image-captioning-base."""

_WORDS = "a the room street with and of house tree sky wall bed chair table window door lamp car road grass".split()


def write_oneformer(folder: Path, palette: Palette, scale: Scale = SMALL, seed: int = 0) -> Path:
    """Write a OneFormer with random weights, a class for each of the palette's, and its processor.

    Returns:
        The folder.
    """
    import torch
    from transformers import OneFormerConfig, OneFormerForUniversalSegmentation, OneFormerProcessor, SwinConfig
    from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil

    tokenizer = _clip_tokenizer()
    image_processor = OneFormerImageProcessorPil(
        repo_path=None,
        class_info_file=None,  # for training only, and an absolute path would differ from folder to folder
        num_text=scale.queries - 16,
        num_labels=len(palette),
        size={"shortest_edge": scale.shortest_edge, "longest_edge": 4 * scale.shortest_edge},
    )
    embed, depths, heads, window = scale.swin
    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = SwinConfig(embed_dim=embed, depths=depths, num_heads=heads, window_size=window, out_features=stages)
    labels = {swatch.index: swatch.name for swatch in palette}
    torch.manual_seed(seed)
    model = OneFormerForUniversalSegmentation(
        OneFormerConfig(
            backbone_config=swin,
            num_queries=scale.queries,
            **dict.fromkeys(("hidden_dim", "mask_dim", "conv_dim", "text_encoder_width"), scale.width),
            **dict.fromkeys(("encoder_feedforward_dim", "dim_feedforward"), 4 * scale.width),
            encoder_layers=scale.layers[0],
            decoder_layers=scale.layers[1],
            num_attention_heads=8,
            text_encoder_num_layers=1,
            text_encoder_vocab_size=len(tokenizer),
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
    model.save_pretrained(folder)
    OneFormerProcessor(image_processor=image_processor, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def write_blip(folder: Path, scale: Scale = SMALL, seed: int = 0) -> Path:
    """Write a BLIP captioner with random weights and its processor.

    Returns:
        The folder.
    """
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
    fillers = [f"word{number}" for number in range(scale.vocabulary - len(special) - len(_WORDS))]
    vocabulary = {word: place for place, word in enumerate([*special, *_WORDS, *fillers])}
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
    config = BlipConfig(text_config={**sides, **text}, vision_config={**sides, **vision})
    BlipForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": scale.blip_image, "width": scale.blip_image}
    BlipProcessor(image_processor=BlipImageProcessorPil(size=size), tokenizer=tokenizer).save_pretrained(folder)
    return folder


def write_clip_tokenizer(folder: Path) -> Path:
    """Write a byte-level CLIP tokenizer without merges: every letter is a token. For tests of counting."""
    folder.mkdir(parents=True, exist_ok=True)
    _clip_tokenizer().save_pretrained(folder)
    return folder


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: place for place, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
