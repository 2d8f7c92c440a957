"""Class scores of a segmenter with gradients: what a training compares with control maps.

NeuralSegmenter starts from 8-bit photos and ends with an argmax, and neither has a gradient. Here the processor's
steps, resizing and normalising, are repeated in torch, and the result is the logarithm of each class's probability.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import ModelError
from segkit.models import hub, outputs, segment
from segkit.models.device import Device, weight_bytes
from segkit.palette import UNLABELLED, Palette

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""Target of pixels that have no class for the segmenter; the default ignore_index of torch's cross entropy."""

TOLERANCE = 1e-5
"""Largest difference, absolute or relative, between the processor's output and that of the steps repeated here."""

_FILTERS = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


class Scorer:
    """A segmenter whose class scores can be differentiated by the pixels; its weights are frozen.

    Args:
        name: a folder, a short name (hub.SHORT_NAMES), a hub id, "toy" or "toy-judge".
        palette: the classes of the maps; the network's labels are matched to them by name and synonym.
        device: the device to run on, and the precision.

    Raises:
        ModelError: the model is missing, damaged or not a segmenter; its labels do not fit the palette; its processor
            does more than resize and normalise; or it returns neither class logits of pixels nor those of queries with
            masks.
    """

    def __init__(self, name: str, palette: Palette, device: Device) -> None:
        import torch

        self.source = hub.locate(name, segment.ROLE)
        self._device = device
        self._model = segment.load_model(self.source).to(device.name).requires_grad_(False)
        outputs.require_scores(self._model.config, self.source.name, "to train against")
        processor = segment.load_processor(self.source, self._model.config)
        self._preprocessing = Preprocessing(getattr(processor, "image_processor", processor), self.source.name)
        self._extra = _task(processor) if self._model.config.model_type == "oneformer" else {}
        self._targets = _targets(segment.match_labels(self._model.config.id2label, palette, self.source.name))
        with torch.no_grad():
            self.log_probabilities(torch.zeros(1, 3, 96, 80, device=device.name))  # refuses now what it cannot do

    @property
    def bytes(self) -> int:
        """Size of the weights."""
        return weight_bytes(self._model)

    def targets(self, labels: "Tensor") -> "Tensor":
        """Return the network's class for each pixel of label maps: (B, H, W) uint8 to int64.

        Unlabelled pixels and classes that the network does not know become IGNORED.
        """
        return self._targets.to(labels.device)[labels.long()]

    def log_probabilities(self, pixels: "Tensor") -> "Tensor":
        """Return the logarithm of the probability of each class, at the pictures' size.

        The scores are scaled bilinearly before they are normalised, as NeuralSegmenter scales them before its argmax.

        Args:
            pixels: (B, 3, H, W) float, 0 to 1.

        Returns:
            (B, classes, H, W) float32.

        Raises:
            ModelError: the processor does more than resize and normalise pictures of this size.
        """
        from torch.nn import functional

        with self._device.autocast():
            inputs = self._preprocessing(pixels)
            extra = {name: value.to(inputs.device).expand(len(pixels), -1) for name, value in self._extra.items()}
            predictions = self._model(pixel_values=inputs, **extra)
        if self._model.config.model_type not in outputs.MASK_SIZES:
            return functional.log_softmax(_scaled(predictions.logits.float(), pixels), 1)
        scores = outputs.query_scores(predictions, outputs.MASK_SIZES[self._model.config.model_type])
        scores = _scaled(scores, pixels) + outputs.FLOOR
        return scores.log() - scores.sum(1, keepdim=True).log()


@dataclass(frozen=True)
class Preprocessing:
    """The steps of an image processor in torch, with gradients.

    Attributes:
        processor: transformers' image processor.
        name: of the segmenter, for messages.
    """

    processor: Any
    name: str
    _sizes: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def __call__(self, pixels: "Tensor") -> "Tensor":
        """Resize and normalise pictures.

        Equal to the processor's result within TOLERANCE where it does not resize. Where it does, the processor rounds
        to 8 bits in between, which differs by up to half a level.

        Args:
            pixels: (B, 3, H, W) float, 0 to 1.

        Returns:
            (B, 3, h, w) float32.

        Raises:
            ModelError: the processor does something else as well, such as padding.
        """
        height, width = pixels.shape[-2:]
        if (height, width) not in self._sizes:
            self._sizes[height, width] = self._size_for(height, width)
        return self._repeat(pixels.float(), self._sizes[height, width])

    def _repeat(self, pixels: "Tensor", size: tuple[int, int]) -> "Tensor":
        import torch
        from torch.nn import functional

        processor = self.processor
        if size != tuple(pixels.shape[-2:]):
            mode = _FILTERS[processor.resample]
            pixels = functional.interpolate(pixels, size, mode=mode, antialias=True, align_corners=False)
            pixels = pixels.clamp(0, 1)  # bicubic filters overshoot, which 8 bits cannot hold
        if processor.do_rescale:
            pixels = pixels * (255 * processor.rescale_factor)
        if not processor.do_normalize:
            return pixels
        mean, std = (torch.tensor(values, device=pixels.device)[:, None, None] for values in self._statistics())
        return (pixels - mean) / std

    def _statistics(self) -> tuple[Any, Any]:
        return self.processor.image_mean, self.processor.image_std

    def _size_for(self, height: int, width: int) -> tuple[int, int]:
        """Return the size to which the processor scales, once its steps are known to be those of _repeat."""
        import torch

        random = np.random.default_rng(0)

        def run(picture: NDArray[np.uint8]) -> tuple[Any, Any]:
            extra = {"do_center_crop": False} if getattr(self.processor, "do_center_crop", False) else {}
            inputs = self.processor(images=[Image.fromarray(picture)], return_tensors="pt", **extra)
            return torch.from_numpy(picture).permute(2, 0, 1)[None] / 255, inputs

        # Noise would show the processor's 8-bit rounding and clipping between its two passes, which tell nothing.
        smooth = Image.fromarray(random.integers(0, 256, (3, 3, 3), np.uint8)).resize((width, height))
        pixels, inputs = run(np.array(smooth))
        size: tuple[int, int] = tuple(inputs["pixel_values"].shape[-2:])
        known = size == (height, width) or self.processor.resample in _FILTERS
        rough = known and self._is_near(pixels, inputs, size, 0.05)  # 8-bit rounding, divided by a standard deviation
        pixels, inputs = run(random.integers(0, 256, (*size, 3), np.uint8))
        if not (rough and self._is_near(pixels, inputs, size, TOLERANCE)):
            raise ModelError(
                f"{segment.ROLE} {self.name}: its processor does more than resize and normalise, or resizes by another "
                "filter than bilinear or bicubic. Choose another segmenter."
            )
        return size

    def _is_near(self, pixels: "Tensor", inputs: Any, size: tuple[int, int], tolerance: float) -> bool:
        """Return whether the processor's output is that of _repeat, and nothing is padded."""
        import torch

        values = inputs["pixel_values"]
        whole = "pixel_mask" not in inputs or bool(inputs["pixel_mask"].all())
        same_size = values.shape[0] == 1 and tuple(values.shape[-2:]) == size
        return whole and same_size and torch.allclose(self._repeat(pixels, size), values, tolerance, tolerance)


def _task(processor: Any) -> dict[str, "Tensor"]:
    """Return the tokens of OneFormer's task, semantic segmentation, (1, N)."""
    inputs = processor(images=[Image.new("RGB", (32, 32))], task_inputs=["semantic"], return_tensors="pt")
    return {"task_inputs": inputs["task_inputs"]}


def _targets(indices: NDArray[np.uint8]) -> "Tensor":
    """Return the network's class by palette index, (256,) int64, from the palette index by the network's class."""
    import torch

    targets = torch.full((256,), IGNORED)
    for class_id, index in enumerate(indices):
        if index != UNLABELLED:
            targets[int(index)] = class_id
    return targets


def _scaled(scores: "Tensor", pixels: "Tensor") -> "Tensor":
    from torch.nn import functional

    return functional.interpolate(scores, pixels.shape[-2:], mode="bilinear", align_corners=False)
