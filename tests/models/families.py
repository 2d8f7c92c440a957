"""Tiny networks of transformers' segmentation families, with random weights."""

from pathlib import Path
from typing import Any

from segkit.palette import Palette

TWELVE = Palette("twelve", Palette.load("ade20k").swatches[:12])
"""The classes of these networks, in this order, so that the network's class indices equal the palette's."""

NAMES = ("segformer", "upernet", "beit", "dpt", "mask2former", "maskformer", "eomt", "eomt-split")


def write(folder: Path, name: str, labels: list[str] | None = None) -> Path:
    """Write a network and its processor in transformers' format; the labels default to the names of TWELVE."""
    import torch

    torch.manual_seed(0)
    network, processor = build(name, labels)
    with torch.no_grad():  # larger weights, so that the maps contain several classes
        for parameter, weight in network.named_parameters():
            weight.mul_(40 if "class_predictor" in parameter or "mask_embed" in parameter else 1.5)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build(name: str, names: list[str] | None = None) -> tuple[Any, Any]:
    """Return a network and its processor; see `write`."""
    import transformers as t

    id2label = dict(enumerate(names or [swatch.name for swatch in TWELVE]))
    labels = {"id2label": id2label, "label2id": {label: i for i, label in id2label.items()}}
    if name in ("mask2former", "maskformer", "upernet"):
        return _build_on_swin(name, labels)
    vit: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "image_size": 64, "patch_size": 16}
    size = {"height": 64, "width": 64}
    if name == "segformer":
        sides = {"hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16}
        config = t.SegformerConfig(depths=[1] * 4, **sides, **labels)
        return t.SegformerForSemanticSegmentation(config), t.SegformerImageProcessorPil(size=size)
    if name == "beit":
        vit |= {"num_hidden_layers": 4, "intermediate_size": 16, "out_indices": [1, 2, 3, 4], "pool_scales": [1, 2]}
        config = t.BeitConfig(use_relative_position_bias=True, auxiliary_channels=8, **vit, **labels)
        processor = t.BeitImageProcessorPil(size=size, do_center_crop=False)
        return t.BeitForSemanticSegmentation(config), processor
    if name == "dpt":
        vit |= {"num_hidden_layers": 4, "intermediate_size": 16, "backbone_out_indices": [0, 1, 2, 3]}
        config = t.DPTConfig(neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, **vit, **labels)
        return t.DPTForSemanticSegmentation(config), t.DPTImageProcessorPil(size=size)
    # EoMT: "eomt" pads photos to one square, as the panoptic checkpoints do; "eomt-split" splits them into overlapping
    # patches, as the semantic checkpoints do.
    config = t.EomtConfig(num_hidden_layers=3, mlp_ratio=2, num_blocks=1, num_queries=8, **vit, **labels)
    if name == "eomt-split":
        edges = {"shortest_edge": 64, "longest_edge": None}
        return t.EomtForUniversalSegmentation(config), t.EomtImageProcessorPil(size=edges, do_split_image=True)
    edges = {"shortest_edge": 64, "longest_edge": 64}
    return t.EomtForUniversalSegmentation(config), t.EomtImageProcessorPil(size=edges, do_pad=True)


def _build_on_swin(name: str, labels: dict[str, Any]) -> tuple[Any, Any]:
    import transformers as t

    stages = ["stage1", "stage2", "stage3", "stage4"]
    heads = {"depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4}
    swin = t.SwinConfig(embed_dim=8, out_features=stages, **heads)
    if name == "upernet":
        config = t.UperNetConfig(
            backbone_config=swin, hidden_size=16, auxiliary_channels=8, auxiliary_in_channels=32, **labels
        )
        processor = t.SegformerImageProcessorPil(size={"height": 64, "width": 64})
        return t.UperNetForSemanticSegmentation(config), processor
    size = {"shortest_edge": 64, "longest_edge": 256}
    if name == "maskformer":
        feed_forward = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        decoder = t.DetrConfig(d_model=32, num_queries=8, **feed_forward, **heads)
        config = t.MaskFormerConfig(
            backbone_config=swin, decoder_config=decoder, fpn_feature_size=32, mask_feature_size=32, **labels
        )
        return t.MaskFormerForInstanceSegmentation(config), t.MaskFormerImageProcessorPil(size=size)
    widths = dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), 32)
    layers = {"encoder_feedforward_dim": 16, "dim_feedforward": 16, "encoder_layers": 1, "decoder_layers": 2}
    config = t.Mask2FormerConfig(
        backbone_config=swin, num_queries=8, num_attention_heads=2, **widths, **layers, **labels
    )
    return t.Mask2FormerForUniversalSegmentation(config), t.Mask2FormerImageProcessorPil(size=size)
