"""Segmenters: any semantic or universal segmentation network of transformers, its labels matched to a palette."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import ModelError, PaletteError
from segkit.maps.codec import Labels
from segkit.models import attention, config, hub, outputs, processors
from segkit.models.device import Device, weight_bytes
from segkit.palette import UNLABELLED, Palette

if TYPE_CHECKING:
    from torch import Tensor

ROLE = "segmenter"
_NO_CLASS = {"unlabeled", "unlabelled", "background", "void", "ignore", "no label"}
"""Labels of networks that denote no class; their pixels become unlabelled."""
_LONGEST = 4
"""Longest side of a scaled photo in shorter sides: panoramas are scaled less, as in mmsegmentation (2560 to 640)."""


@dataclass(frozen=True)
class Segmentation:
    """The segmentation of one photo.

    Attributes:
        labels: (H, W) uint8 palette indices at exactly the photo's size; 255 = unlabelled.
        confidence: (H, W) float32 in [0, 1]. For mask classifiers (OneFormer, Mask2Former): the winning class's score,
            the sum over queries of class probability times mask probability, clamped to 1. For per-pixel classifiers:
            the winning class's probability, interpolated as a log probability.
    """

    labels: Labels
    confidence: NDArray[np.float32]


Segmenter = Callable[[Sequence[Image.Image]], list[Segmentation]]
"""Maps RGB photos of one size to their segmentations. Any function will do, in tests for example."""


class NeuralSegmenter:
    """A network with its processor, loaded from files; a Segmenter.

    Args:
        name: a folder, a short name (hub.SHORT_NAMES) or a hub id.
        palette: the classes; the network's labels are matched to them by name and synonym.
        device: the device to run on, and the precision.
        side: the shorter side to which the processor scales photos, by its own filter; networks of fixed proportions
            see squares of this side. 0: what the processor is configured for.

    Raises:
        ModelError: the model is missing, damaged or not a segmenter, its labels do not fit the palette, or it accepts
            no photos of that side.
    """

    def __init__(self, name: str, palette: Palette, device: Device, side: int = 0) -> None:
        self.source = hub.locate(name, ROLE)
        self._device = device
        self._model = load_model(self.source).to(device.name)
        attention.accelerate(self._model)
        self._processor = load_processor(self.source, self._model.config)
        self._indices = match_labels(self._model.config.id2label, palette, self.source.name)
        self._classes = len(palette)
        self._scaling: dict[str, Any] = {}
        if side:
            self._scaling = self._scaling_to(side)
            self._require_scalable(side)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(weight.numel() for weight in self._model.parameters())

    @property
    def bytes(self) -> int:
        """Size of the weights."""
        return weight_bytes(self._model)

    def park(self) -> None:
        """Move the network to the CPU's memory, until `unpark`; it cannot be called meanwhile."""
        self._model.to("cpu")

    def unpark(self) -> None:
        """Move the network back to its device."""
        self._model.to(self._device.name)

    def __call__(self, photos: Sequence[Image.Image]) -> list[Segmentation]:
        """Segment RGB photos of one size.

        Sizes are never mixed: OneFormer ignores the padding mask, so padding changes its predictions, and its
        post-processing stretches the padded masks over the photo.

        Raises:
            ValueError: the photos differ in size.
            ModelError: the network returned NaN.
        """
        import torch

        sizes = {photo.size for photo in photos}
        if len(sizes) > 1:
            raise ValueError(f"photos of {len(sizes)} sizes in one batch; expected a single size")
        if not photos:
            return []
        ((width, height),) = sizes
        with torch.inference_mode():
            predictions = self._run(photos)
            labelled = outputs.label(predictions, self._model.config.model_type, (height, width))
            if labelled is None:
                if self._scaling:
                    raise ModelError("its outputs are read by its processor, for the configured size")
                labelled = outputs.label_by_processor(
                    self._image_processor, predictions, [(height, width)] * len(photos)
                )
        return [self._segmentation(classes, confidence) for classes, confidence in labelled]

    def probabilities(self, photos: Sequence[Image.Image]) -> "Tensor":
        """Return the probability of each class, at the network's own resolution.

        Args:
            photos: RGB photos of one size.

        Returns:
            (B, N + 1, h, w) float32, the sum over classes 1: the N classes of the palette, and the share of labels
            that denote no class.

        Raises:
            ModelError: the network returned NaN, or only its own processor can read its outputs.
        """
        import torch

        self.require_probabilities()
        with torch.inference_mode():
            scores = outputs.probabilities(self._run(photos), self._model.config.model_type)
            classes = torch.from_numpy(np.minimum(self._indices, self._classes).astype(np.int64)).to(scores.device)
            shares = scores.new_zeros(len(scores), self._classes + 1, *scores.shape[2:])
            return shares.index_add_(1, classes, scores)

    def require_probabilities(self) -> None:
        """Refuse networks without `probabilities`.

        Raises:
            ModelError: only the network's own processor can read its outputs.
        """
        outputs.require_scores(self._model.config, self.source.name, "to average")

    @property
    def input_side(self) -> int:
        """Shorter side of photos as the network sees them, in pixels; 0: it sees every photo at its own size."""
        processor = self._image_processor
        size = dict(self._scaling.get("size") or processor.size or {})
        sides = [size[name] for name in ("shortest_edge", "height", "width") if size.get(name)]
        return min(sides) if sides and processor.do_resize else 0

    def _run(self, photos: Sequence[Image.Image]) -> Any:
        inputs = self._inputs(photos).to(self._device.name)
        with self._device.autocast():
            return self._model(**inputs)

    def _inputs(self, photos: Sequence[Image.Image]) -> Any:
        extra: dict[str, Any] = {}
        if self._model.config.model_type == "oneformer":
            extra["task_inputs"] = ["semantic"] * len(photos)
        elif getattr(self._image_processor, "do_center_crop", False):
            extra["do_center_crop"] = False  # MobileViT's default: a map of the centre, stretched over the whole photo
        return self._processor(images=list(photos), return_tensors="pt", **extra, **self._scaling)

    def _scaling_to(self, side: int) -> dict[str, Any]:
        """Return the processor's arguments for photos of another shorter side than it is configured for."""
        edges = {"shortest_edge": side, "longest_edge": _LONGEST * side}
        square = {"height": side, "width": side}
        return {"do_resize": True, "size": square if "height" in dict(self._image_processor.size) else edges}

    def _require_scalable(self, side: int) -> None:
        """Refuse a side that the network does not accept, by a trial.

        Raises:
            ModelError: it raises an error, such as one with position embeddings for one size only; or its processor
                reads the outputs, which depends on the configured size.
        """
        try:
            self([Image.new("RGB", (side, side))])
        except Exception as error:  # networks raise many types for sizes that they do not accept
            raise ModelError(
                f"{ROLE} {self.source.name}: photos cannot be scaled to a side of {side} ({hub.reason(error)}). Choose "
                "another side, or keep the one it is configured for."
            ) from None

    @property
    def _image_processor(self) -> Any:
        return getattr(self._processor, "image_processor", self._processor)

    def _segmentation(self, classes: "Tensor", confidence: "Tensor") -> Segmentation:
        labels = self._indices[classes.cpu().numpy()]
        return Segmentation(labels, confidence.clamp(0, 1).cpu().numpy())


def match_labels(id2label: dict[int, str], palette: Palette, name: str) -> NDArray[np.uint8]:
    """Match a network's classes to a palette by name and synonym, never by index: label sets differ in order.

    A label may list several names ("earth, ground"). The whole label is looked up first, then its names from the left.

    Args:
        id2label: the network's labels by index.
        palette: the classes to match.
        name: the network's name, for messages.

    Returns:
        (max(id2label) + 1,) uint8: the palette index for each of the network's classes; 255 for "background" and the
        like.

    Raises:
        ModelError: labels that match no class, or two labels that match the same one. The message lists them.
    """
    indices = np.full(max(id2label) + 1, UNLABELLED, np.uint8)
    unmatched: list[str] = []
    matched: dict[int, str] = {}  # palette index to the network's label
    for class_id, label in sorted(id2label.items()):
        if label.strip().lower() in _NO_CLASS:
            continue
        index = _find(label, palette)
        if index is None:
            unmatched.append(label.strip())
        elif index in matched:
            unmatched.append(f"{label.strip()} (the same class as {matched[index]})")
        else:
            indices[class_id], matched[index] = index, label.strip()
    if unmatched:
        listing = ", ".join(unmatched[:8]) + (f" and {len(unmatched) - 8} more" if len(unmatched) > 8 else "")
        raise ModelError(
            f"{ROLE} {name}: {len(unmatched)} of {len(id2label)} labels do not match a class of the palette "
            f"{palette.name}: {listing}. Use a model trained on these classes (for COCO models: protocol=coco)."
        )
    return indices


def _find(label: str, palette: Palette) -> int | None:
    for name in (label, *label.replace(";", ",").split(",")):
        try:
            return palette.find(name).index
        except PaletteError:
            continue
    return None


def load_model(source: hub.Source) -> Any:
    """Load a segmentation network in fp32 and eval mode.

    Raises:
        ModelError: it is damaged or not a segmenter.
    """
    import transformers

    configuration = config.load(source.folder, ROLE)
    for auto_class in (transformers.AutoModelForUniversalSegmentation, transformers.AutoModelForSemanticSegmentation):
        if type(configuration) in auto_class._model_mapping:
            return hub.load_checked(auto_class, source, ROLE, config=configuration)
    raise ModelError(
        f"{ROLE} {source.folder}: a model of type {configuration.model_type} does not segment. "
        "Expected a semantic or universal segmentation model, such as OneFormer, Mask2Former or SegFormer."
    )


def load_processor(source: hub.Source, configuration: Any) -> Any:
    """Load a segmenter's processor; OneFormer's includes a tokenizer.

    Args:
        source: the model.
        configuration: of the network.

    Raises:
        ModelError: a file is missing or damaged.
    """
    from transformers import AutoTokenizer, OneFormerProcessor

    folder = str(source.folder)
    is_oneformer = configuration.model_type == "oneformer"
    # By default, OneFormer's processor looks up its class-info file on the hub, which inference does not need.
    extra = {"class_info_file": None} if is_oneformer else {}
    expected = ", and the tokenizer's files" if is_oneformer else ""
    image_processor = processors.load(source.folder, ROLE, expected, **extra)
    if not is_oneformer:
        return image_processor
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # missing or broken files raise OSError, ValueError, KeyError, TypeError
        raise processors.unusable(source.folder, ROLE, expected, error) from None
    hub.check_tokenizer(tokenizer, source.folder, ROLE)
    return OneFormerProcessor(
        image_processor=image_processor, tokenizer=tokenizer, task_seq_length=configuration.task_seq_len
    )
