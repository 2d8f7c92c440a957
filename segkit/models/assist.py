"""Click to segment: SAM and SAM 2, whose masks follow from points inside and outside of a thing.

The photo's embedding takes seconds on a CPU and is computed once; each mask from points takes little.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit.errors import ModelError
from segkit.models import config, hub
from segkit.models.device import Device

if TYPE_CHECKING:
    from torch import Tensor

ROLE = "assist"
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_STD = np.array((0.229, 0.224, 0.225), np.float32)
"""Mean and standard deviation of ImageNet's colours, with which both networks were trained."""

Point = tuple[float, float, bool]
"""x and y in pixels of the photo, and whether the point is inside of the thing."""


class Assistant:
    """A SAM or SAM 2 network, loaded from files.

    Preparing pictures is done here, because transformers' processor for SAM 2 needs torchvision.

    Args:
        name: a folder, a short name (hub.SHORT_NAMES) or a hub id.
        device: the device to run on, and the precision.

    Raises:
        ModelError: the model is missing, damaged or of another kind.
    """

    def __init__(self, name: str, device: Device) -> None:
        if name == hub.TOY:
            raise ModelError(f"{ROLE} {name}: no such network is shipped. Expected SAM or SAM 2, such as sam2-small.")
        source = hub.locate(name, ROLE)
        self.name, self._device = source.name, device
        self._model = _load(source).to(device.name)
        self._is_square = self._model.config.model_type != "sam"  # SAM 2 stretches the photo; SAM pads it
        vision = self._model.config.vision_config
        size = vision.image_size if not self._is_square else vision.backbone_config.image_size
        self._size = size if isinstance(size, int) else int(size[0])

    def embed(self, photo: Image.Image) -> "list[Tensor]":
        """Return the embedding of an RGB photo, for `mask`."""
        import torch

        width, height = self._inner(photo.size)
        resized = photo.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        pixels = (np.asarray(resized, np.float32) / 255 - _MEAN) / _STD
        padded = np.zeros((self._size, self._size, 3), np.float32)
        padded[:height, :width] = pixels
        with torch.inference_mode(), self._device.autocast():
            batch = torch.from_numpy(padded).permute(2, 0, 1)[None].to(self._device.name)
            embeddings = self._model.get_image_embeddings(batch)
        return list(embeddings) if self._is_square else [embeddings]

    def mask(self, embedding: "list[Tensor]", size: tuple[int, int], points: Sequence[Point]) -> NDArray[np.bool_]:
        """Return the thing that points describe.

        Args:
            embedding: of the photo; see `embed`.
            size: width and height of the photo.
            points: at least one.

        Returns:
            (H, W) bool: the best of the network's three masks for one point, its only mask for several.
        """
        import torch

        width, height = self._inner(size)
        scale = np.array([width / size[0], height / size[1]])
        places = torch.tensor(np.array([point[:2] for point in points]) * scale, dtype=torch.float32)
        labels = torch.tensor([int(point[2]) for point in points])
        with torch.inference_mode(), self._device.autocast():
            outputs = self._model(
                image_embeddings=embedding if self._is_square else embedding[0],
                input_points=places[None, None].to(self._device.name),
                input_labels=labels[None, None].to(self._device.name),
                multimask_output=len(points) == 1,
            )
        best = int(outputs.iou_scores[0, 0].argmax())
        return self._at_full_size(outputs.pred_masks[0, 0, best].float(), size)

    def _inner(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height of the photo within the network's square."""
        if self._is_square:
            return self._size, self._size
        scale = self._size / max(size)
        return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)

    def _at_full_size(self, logits: "Tensor", size: tuple[int, int]) -> NDArray[np.bool_]:
        from torch.nn import functional

        square = logits[None, None]
        if not self._is_square:
            width, height = self._inner(size)
            square = functional.interpolate(square, (self._size, self._size), mode="bilinear", align_corners=False)
            square = square[..., :height, :width]
        full = functional.interpolate(square, (size[1], size[0]), mode="bilinear", align_corners=False)
        mask: NDArray[np.bool_] = (full[0, 0] > 0).cpu().numpy()
        return mask


def _load(source: hub.Source) -> Any:
    import transformers

    kind = config.load(source.folder, ROLE).model_type
    # Released SAM 2 files describe the network for videos, of which the one for photos is a part.
    classes = {"sam": transformers.SamModel, "sam2": transformers.Sam2Model, "sam2_video": transformers.Sam2Model}
    if kind not in classes:
        raise ModelError(f"{ROLE} {source.folder}: a model of type {kind}. Expected SAM or SAM 2, such as sam2-small.")
    return hub.load_checked(classes[kind], source, ROLE)
