"""Segmenters: any semantic or universal segmentation network of transformers, matched to a palette by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import ModelError, PaletteError
from segkit.maps.codec import Labels
from segkit.models import argmax, hub
from segkit.models.device import Device
from segkit.palette import UNLABELLED, Palette

if TYPE_CHECKING:
    from torch import Tensor

OPTION = "--segmenter"
_NOTHING = {"unlabeled", "unlabelled", "background", "void", "ignore", "no label"}
"""Model classes that stand for no class: their pixels become unlabelled."""


@dataclass(frozen=True)
class Segmentation:
    """What a segmenter says of one photo.

    Attributes:
        labels: (H, W) uint8 palette indices at exactly the photo's size, 255 = unlabelled.
        confidence: (H, W) float32, 0 to 1: for mask classifiers (OneFormer, Mask2Former) the class's score, the sum
            over queries of class probability times mask probability; for per-pixel classifiers its probability,
            interpolated in the logarithm.
    """

    labels: Labels
    confidence: NDArray[np.float32]


Segmenter = Callable[[Sequence[Image.Image]], list[Segmentation]]
"""Takes RGB photos of one size, gives their segmentations. A test passes a function."""


class NeuralSegmenter:
    """A loaded network and its processor. Calling it segments photos of one size.

    Args:
        name: a folder, a short name (hub.SHORT_NAMES) or a hub id.
        palette: the classes; the network's labels are matched to it by name and synonym.
        device: where and how to run.

    Raises:
        ModelError: the model is missing, damaged, or its labels do not fit the palette.
    """

    def __init__(self, name: str, palette: Palette, device: Device) -> None:
        self.source = hub.locate(name, OPTION)
        self._device = device
        self._model = _load(self.source).to(device.name)
        self._processor = _processor(self.source, self._model.config)
        self._indices = match_labels(self._model.config.id2label, palette, self.source.name)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self._model.parameters())

    def __call__(self, photos: Sequence[Image.Image]) -> list[Segmentation]:
        """Segment photos of one size.

        Padding changes what OneFormer sees and stretches its maps, so sizes are never mixed.

        Raises:
            ValueError: the photos differ in size.
            ModelError: the network returned NaN.
        """
        import torch

        sizes = {photo.size for photo in photos}
        if len(sizes) > 1:
            raise ValueError(f"photos of {len(sizes)} sizes in one batch; expected one")
        if not photos:
            return []
        ((width, height),) = sizes
        with torch.inference_mode():
            inputs = self._inputs(photos).to(self._device.name)
            with self._device.autocast():
                outputs = self._model(**inputs)
            found = self._label(outputs, (height, width), len(photos))
        return [self._segmentation(*winners) for winners in found]

    def _inputs(self, photos: Sequence[Image.Image]) -> Any:
        extra: dict[str, Any] = {}
        if self._model.config.model_type == "oneformer":
            extra["task_inputs"] = ["semantic"] * len(photos)
        elif getattr(self._image_processor, "do_center_crop", False):
            extra["do_center_crop"] = False  # MobileViT's default would segment the middle and stretch it over all
        return self._processor(images=list(photos), return_tensors="pt", **extra)

    @property
    def _image_processor(self) -> Any:
        return getattr(self._processor, "image_processor", self._processor)

    def _label(self, outputs: Any, size: tuple[int, int], count: int) -> list[tuple["Tensor", "Tensor"]]:
        """Return classes and confidence of each picture, both (H, W)."""
        family = self._model.config.model_type
        if family in _MASK_SIZES:
            scores = query_scores(outputs, _MASK_SIZES[family])
            _require_finite(scores)
            return [argmax.label(picture, size) for picture in scores]
        if "logits" in outputs and outputs.logits.ndim == 4:
            return [_label_logits(picture, size) for picture in outputs.logits.float()]
        return _label_by_processor(self._image_processor, outputs, [size] * count)

    def _segmentation(self, winners: "Tensor", confidence: "Tensor") -> Segmentation:
        labels = self._indices[winners.cpu().numpy()]
        return Segmentation(labels, confidence.clamp(0, 1).cpu().numpy())


_MASK_SIZES: dict[str, tuple[int, int] | None] = {"oneformer": None, "maskformer": None, "mask2former": (384, 384)}
"""To what size a family scales its masks before they vote, as its post_process_semantic_segmentation does."""


def query_scores(outputs: Any, mask_size: tuple[int, int] | None = None) -> "Tensor":
    """Return the class scores of a mask classifier: sum over queries of class probability times mask probability.

    Args:
        outputs: with class_queries_logits (B, Q, C + 1), the last class being "no object", and masks_queries_logits
            (B, Q, h, w).
        mask_size: scale the masks to this first.

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
    normaliser = logits.logsumexp(0)[None, None]
    normaliser = functional.interpolate(normaliser, size=size, mode="bilinear", align_corners=False)[0, 0]
    return winners, (best - normaliser).exp()


def _label_by_processor(processor: Any, outputs: Any, sizes: list[tuple[int, int]]) -> list[tuple["Tensor", "Tensor"]]:
    """Fall back to transformers' own, slower post-processing for the other mask classifiers.

    EoMT is one: its processor cuts photos into pieces, which only it can put together again.
    """
    for name, value in list(outputs.items()):
        if hasattr(value, "is_floating_point") and value.is_floating_point():
            outputs[name] = value.float()
    found = processor.post_process_semantic_segmentation(outputs, target_sizes=sizes, return_segmentation_scores=True)
    for picture in found:
        _require_finite(picture["segmentation_scores"])
    return [(picture["segmentation"], picture["segmentation_scores"].amax(0)) for picture in found]


def _require_finite(scores: "Tensor") -> None:
    if not bool(scores.isfinite().all()):
        raise ModelError("The segmenter returned NaN. Use --precision fp32, or check its weights.")


def match_labels(id2label: dict[int, str], palette: Palette, name: str) -> NDArray[np.uint8]:
    """Match a network's classes to a palette's by name and synonym, never by place: label sets differ in order.

    A label may list several names ("earth, ground"): the whole is looked up first, then each name from the left.

    Returns:
        (n,) uint8: the palette index of each of the network's classes, 255 for those that stand for nothing.

    Raises:
        ModelError: some labels mean no class, or two labels mean the same one; the text lists them.
    """
    indices = np.full(max(id2label) + 1, UNLABELLED, np.uint8)
    unknown: list[str] = []
    taken: dict[int, str] = {}
    for place, label in sorted(id2label.items()):
        if label.strip().lower() in _NOTHING:
            continue
        index = _find(label, palette)
        if index is None:
            unknown.append(label.strip())
        elif index in taken:
            unknown.append(f"{label.strip()} (the same class as {taken[index]})")
        else:
            indices[place], taken[index] = index, label.strip()
    if unknown:
        shown = ", ".join(unknown[:8]) + (f" and {len(unknown) - 8} more" if len(unknown) > 8 else "")
        raise ModelError(
            f"{OPTION} {name}: {len(unknown)} of its {len(id2label)} labels are no classes of {palette.name}: {shown}. "
            "Expected a model trained on that palette (COCO models: --protocol coco)."
        )
    return indices


def _find(label: str, palette: Palette) -> int | None:
    for name in (label, *label.replace(";", ",").split(",")):
        try:
            return palette.find(name).index
        except PaletteError:
            continue
    return None


def _load(source: hub.Source) -> Any:
    import transformers

    config = _config(source)
    for auto_class in (transformers.AutoModelForUniversalSegmentation, transformers.AutoModelForSemanticSegmentation):
        if type(config) in auto_class._model_mapping:
            return hub.load_checked(auto_class, source, OPTION, config=config)
    raise ModelError(
        f"{OPTION} {source.folder}: a {config.model_type} model does not segment. "
        "Expected a semantic or universal segmentation model, such as OneFormer, Mask2Former or SegFormer."
    )


def _config(source: hub.Source) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(source.folder), local_files_only=True)
    except Exception as error:  # unknown model types, broken JSON
        raise ModelError(f"{OPTION} {source.folder}: config.json cannot be used ({hub.reason(error)}).") from None


def _processor(source: hub.Source, config: Any) -> Any:
    from transformers import AutoTokenizer, OneFormerProcessor

    # Not from transformers itself: 5.17 gives a stand-in there that demands torchvision, even for backend="pil".
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    folder = str(source.folder)
    one_former = config.model_type == "oneformer"
    # OneFormer's class-info file is looked up on the hub, though inference never needs it: do without.
    extra = {"class_info_file": None} if one_former else {}
    try:
        image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True, **extra)
        if not one_former:
            return image_processor
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # missing or broken files raise OSError, ValueError, KeyError, TypeError
        raise ModelError(
            f"{OPTION} {folder}: its processor cannot be loaded ({hub.reason(error)}). "
            "Expected preprocessor_config.json or processor_config.json"
            + (", and the tokenizer's files." if one_former else ".")
        ) from None
    hub.check_tokenizer(tokenizer, source.folder, OPTION)
    return OneFormerProcessor(image_processor=image_processor, tokenizer=tokenizer, task_seq_length=config.task_seq_len)
