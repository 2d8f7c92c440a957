"""Several views of a photo, and several networks, blended into one map: probabilities are averaged, never labels.

A photo that is larger than a network's input is scaled down, and small things vanish. Tiles show them at full size, but
not what a large thing is as a whole. So both are averaged.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from segkit.models import argmax, batches, tiles
from segkit.models.segment import NeuralSegmenter, Segmentation
from segkit.palette import UNLABELLED

if TYPE_CHECKING:
    from torch import Tensor


class BlendedSegmenter:
    """A Segmenter that averages class probabilities.

    Args:
        segmenters: the networks, matched to one palette. Tiles are chosen for the first one's input, and networks are
            averaged in the resolution of its outputs.
        tile_count: segment overlapping tiles as well, so many along a photo's shorter side; see tiles.Tiling. 0: none.
        flipped: whether to segment the mirror image of each photo or tile as well.
        batch: photos or tiles per call of a network, to begin with; see batches.run.

    Raises:
        ModelError: only a network's own processor can read its outputs.
    """

    def __init__(self, segmenters: Sequence[NeuralSegmenter], tile_count: int, flipped: bool, batch: int = 1) -> None:
        for segmenter in segmenters:
            segmenter.require_probabilities()
        self._segmenters = segmenters
        self._tile_count = tile_count
        self._flips = (False, True) if flipped else (False,)
        self._batch = batch

    def __call__(self, photos: Sequence[Image.Image]) -> list[Segmentation]:
        """Segment RGB photos of any sizes. The confidence is the winning class's mean probability.

        Raises:
            ModelError: a network returned NaN, or a single photo does not fit into the GPU's memory.
        """
        import torch

        with torch.inference_mode():
            return [self._segment(photo) for photo in photos]

    def _segment(self, photo: Image.Image) -> Segmentation:
        (whole,) = self._probabilities([photo])
        tiling = None
        if self._tile_count:
            tiling = tiles.Tiling.of(min(photo.size), self._tile_count, self._segmenters[0].input_side)
        if tiling:
            classes, confidence = tiles.label(photo, tiling, whole, self._probabilities)
        else:
            classes, confidence = argmax.label(whole, photo.size[::-1])
        labels = classes.cpu().numpy()
        labels = np.where(labels == len(whole) - 1, UNLABELLED, labels).astype(np.uint8)
        return Segmentation(labels, confidence.clamp(0, 1).cpu().numpy())

    def _probabilities(self, views: Sequence[Image.Image]) -> "list[Tensor]":
        """Return the mean over the networks, and the mirror image, of NeuralSegmenter.probabilities for each view."""
        return batches.run(self._mean, views, self._batch)

    def _mean(self, views: Sequence[Image.Image]) -> "list[Tensor]":
        total: list[Tensor] = []
        for segmenter in self._segmenters:
            for flipped in self._flips:
                pictures = [ImageOps.mirror(view) for view in views] if flipped else views
                scores = segmenter.probabilities(pictures)
                scores = scores.flip(-1) if flipped else scores
                if not total:
                    total = list(scores)
                    continue
                for mean, picture in zip(total, scores, strict=True):
                    mean += tiles.resized(picture, (mean.shape[1], mean.shape[2]))
        return [mean.div_(len(self._segmenters) * len(self._flips)) for mean in total]
