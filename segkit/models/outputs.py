"""Outputs of segmentation networks: class scores, probabilities and labels."""

from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError
from segkit.models import argmax

if TYPE_CHECKING:
    from torch import Tensor

MASK_SIZES: dict[str, tuple[int, int] | None] = {"oneformer": None, "maskformer": None, "mask2former": (384, 384)}
"""Mask classifiers by model type, with the size to which post_process_semantic_segmentation scales their masks before
it combines them; None: not at all."""
FLOOR = 1e-6
"""Added to the scores of mask classifiers, so that a class which no query claims has a finite logarithm."""


def require_scores(configuration: Any, name: str, purpose: str) -> None:
    """Refuse networks whose outputs only their own processor can read, such as EoMT.

    Args:
        configuration: of the network.
        name: of the network, for the message.
        purpose: what the scores are for, such as "to train against".

    Raises:
        ModelError: the network returns neither class logits of pixels nor those of queries with masks.
    """
    from transformers import AutoModelForSemanticSegmentation

    is_per_pixel = type(configuration) in AutoModelForSemanticSegmentation._model_mapping
    if not is_per_pixel and configuration.model_type not in MASK_SIZES:
        raise ModelError(
            f"segmenter {name}: networks of type {configuration.model_type} give no class scores {purpose}. "
            "Use OneFormer, Mask2Former, MaskFormer or a per-pixel classifier, such as SegFormer."
        )


def label(outputs: Any, model_type: str, size: tuple[int, int]) -> list[tuple["Tensor", "Tensor"]] | None:
    """Return the network's class indices and the confidence for each photo, both (H, W); see segment.Segmentation.

    Args:
        outputs: of the network.
        model_type: of its configuration.
        size: (H, W) of the photos.

    Returns:
        A pair for each photo; None if only the network's processor can read the outputs.

    Raises:
        ModelError: the network returned NaN.
    """
    if model_type in MASK_SIZES:
        scores = query_scores(outputs, MASK_SIZES[model_type])
        _require_finite(scores)
        return [argmax.label(picture, size) for picture in scores]
    if "logits" in outputs and outputs.logits.ndim == 4:
        return [_label_logits(picture, size) for picture in outputs.logits.float()]
    return None


def probabilities(outputs: Any, model_type: str) -> "Tensor":
    """Return the probability of each class of a network that `require_scores` accepts.

    Mask classifiers have no probabilities that add up to 1: their scores are divided by the sum over classes.

    Returns:
        (B, C, h, w) float32.

    Raises:
        ModelError: the network returned NaN.
    """
    if model_type in MASK_SIZES:
        scores = query_scores(outputs, MASK_SIZES[model_type]) + FLOOR
        scores /= scores.sum(1, keepdim=True)
    else:
        scores = outputs.logits.float().softmax(1)
    _require_finite(scores)
    return scores


def query_scores(outputs: Any, mask_size: tuple[int, int] | None = None) -> "Tensor":
    """Return the class scores of a mask classifier: sum over queries of class probability times mask probability.

    Args:
        outputs: the network's outputs, with class_queries_logits (B, Q, C + 1), where the last class is "no object",
            and masks_queries_logits (B, Q, h, w).
        mask_size: (h, w) to scale the mask logits to first; None: keep their size.

    Returns:
        (B, C, h, w) float32.
    """
    import torch
    from torch.nn import functional

    masks = outputs.masks_queries_logits.float()
    if mask_size:
        masks = functional.interpolate(masks, size=mask_size, mode="bilinear", align_corners=False)
    classes = outputs.class_queries_logits.float().softmax(-1)[..., :-1]
    return torch.einsum("bqc, bqhw -> bchw", classes, masks.sigmoid())


def _label_logits(logits: "Tensor", size: tuple[int, int]) -> tuple["Tensor", "Tensor"]:
    from torch.nn import functional

    _require_finite(logits)
    winners, best = argmax.label(logits, size)
    # log softmax = logit - logsumexp. Bilinear interpolation is linear, so both terms are upsampled separately, without
    # a class volume at full size.
    normalizer = logits.logsumexp(0)[None, None]
    normalizer = functional.interpolate(normalizer, size=size, mode="bilinear", align_corners=False)[0, 0]
    return winners, (best - normalizer).exp()


def label_by_processor(processor: Any, outputs: Any, sizes: list[tuple[int, int]]) -> list[tuple["Tensor", "Tensor"]]:
    """Use transformers' own post-processing for all other mask classifiers: slower, and (C, H, W) floats in memory.

    EoMT is one of them: its processor splits photos into overlapping patches, and only it can merge them again.
    """
    for name, value in list(outputs.items()):
        if hasattr(value, "is_floating_point") and value.is_floating_point():
            outputs[name] = value.float()
    maps = processor.post_process_semantic_segmentation(outputs, target_sizes=sizes, return_segmentation_scores=True)
    for picture in maps:
        _require_finite(picture["segmentation_scores"])
    return [(picture["segmentation"], picture["segmentation_scores"].amax(0)) for picture in maps]


def _require_finite(scores: "Tensor") -> None:
    if not bool(scores.isfinite().all()):
        raise ModelError(
            "The segmenter returned NaN or infinite scores. Use precision=fp32, or download its weights again."
        )
