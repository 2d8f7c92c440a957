"""Accuracy of maps, captions and generated pictures, measured on scenes with known ground truth."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import metrics
from segkit.maps.metrics import MapQuality
from segkit.models.caption import Captioner
from segkit.models.segment import Segmenter
from segkit.palette import Palette
from segkit.toy import world
from segkit.toy.learn import diffusion
from segkit.toy.world import Scene, grammar

BATCH = 8
"""Photos per forward pass."""


@dataclass(frozen=True)
class CaptionQuality:
    """Accuracy of captions. All shares are 0 to 1.

    Attributes:
        scenes: number of scenes.
        precision: share of the classes named by captions that the picture contains.
        recall: share of the classes named by the true sentences that the captions name too.
        truthful: share of the captions that name nothing that is missing from the picture.
    """

    scenes: int
    precision: float
    recall: float
    truthful: float


@dataclass(frozen=True)
class DrawingQuality:
    """Quality of a Stable Diffusion's pictures, as measured by the toy segmenter.

    Attributes:
        scenes: number of scenes.
        photos: mIoU of the photos themselves at the size of the pictures; the upper bound.
        kept: mIoU of the photos after a round trip through the VAE.
        error: mean absolute difference between photos and their VAE reconstructions, 0 to 255.
        named: share of the classes named by prompts that are found in the pictures generated from them.
    """

    scenes: int
    photos: float
    kept: float
    error: float
    named: float


STEPS, GUIDANCE = 20, 3.0
"""Steps and guidance scale of the sampler, DPM-Solver++ 2M."""

MIN_SHARE = 0.005
"""A class counts as drawn from this share of the pixels on."""


def segmenter(segment: Segmenter, seeds: Iterable[int], size: tuple[int, int], palette: Palette) -> MapQuality:
    """Compare a segmenter's label maps of scenes with the ground truth."""
    confusion, number = metrics.empty_confusion(), 0
    for scenes in _batches(seeds, size):
        for scene, segmentation in zip(scenes, segment([scene.photo for scene in scenes]), strict=True):
            confusion += metrics.confusion(scene.labels, segmentation.labels)
            number += 1
    return metrics.map_quality(confusion, number, palette)


def captioner(caption: Captioner, seeds: Iterable[int], size: tuple[int, int]) -> CaptionQuality:
    """Compare a captioner's captions of scenes with the ground truth."""
    truths: list[Scene] = []
    captions: list[str] = []
    for scenes in _batches(seeds, size):
        truths += scenes
        captions += caption([scene.photo for scene in scenes])
    return caption_quality(truths, captions)


def caption_quality(scenes: Sequence[Scene], captions: Sequence[str]) -> CaptionQuality:
    """Compare captions with the contents of their scenes."""
    named = correct = expected = recalled = truthful = 0
    for scene, caption in zip(scenes, captions, strict=True):
        mentioned, present = grammar.mentioned(caption), {thing.name for thing in scene.things}
        true_classes = grammar.mentioned(scene.sentence)
        named, correct = named + len(mentioned), correct + len(mentioned & present)
        expected, recalled = expected + len(true_classes), recalled + len(mentioned & true_classes)
        truthful += mentioned <= present
    precision, recall = correct / max(1, named), recalled / max(1, expected)
    return CaptionQuality(len(captions), precision, recall, truthful / len(captions))


def drawings(folder: Path, segment: Segmenter, seeds: Iterable[int], palette: Palette) -> DrawingQuality:
    """Measure the pictures that a Stable Diffusion draws from the true sentences of scenes, and its VAE's round trip.

    Args:
        folder: the pipeline in diffusers format.
        segment: the segmenter that judges the pictures.
        seeds: seeds of the scenes. The noise has seeds of its own, from 0.
        palette: the segmenter's palette.
    """
    import torch
    from diffusers import DPMSolverMultistepScheduler
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipeline = diffusion.load(folder)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.vae.config.sample_size
    confusions = {name: metrics.empty_confusion() for name in ("photos", "kept")}
    error, expected, drawn, number = 0.0, 0, 0, 0
    for scenes in _batches(seeds, (2 * side, 2 * side)):
        photos = [scene.photo.resize((side, side), Resampling.LANCZOS) for scene in scenes]
        reconstructed = _reconstruct(pipeline, photos)
        prompts = [scene.sentence for scene in scenes]
        generators = [torch.Generator().manual_seed(number + i) for i in range(len(scenes))]
        pictures = pipeline(prompts, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators).images
        maps = zip(segment(photos), segment(reconstructed), segment(pictures), strict=True)
        for scene, (of_photo, of_reconstruction, of_picture) in zip(scenes, maps, strict=True):
            truth = np.asarray(Image.fromarray(scene.labels).resize((side, side), Resampling.NEAREST))
            confusions["photos"] += metrics.confusion(truth, of_photo.labels)
            confusions["kept"] += metrics.confusion(truth, of_reconstruction.labels)
            shares = np.bincount(of_picture.labels.ravel(), minlength=256) / truth.size
            named = grammar.mentioned(scene.sentence)
            expected += len(named)
            drawn += sum(shares[palette.find(name).index] > MIN_SHARE for name in named)
        error += sum(map(_difference, photos, reconstructed))
        number += len(scenes)
    miou = {name: metrics.map_quality(confusion, number, palette).miou for name, confusion in confusions.items()}
    return DrawingQuality(number, **miou, error=error / number, named=float(drawn / max(1, expected)))


def _difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


def _reconstruct(pipeline: Any, photos: Sequence[Image.Image]) -> list[Image.Image]:
    """Return photos after a round trip through the VAE."""
    import torch

    with torch.no_grad():
        latents = pipeline.vae.encode(pipeline.image_processor.preprocess(list(photos))).latent_dist.mean
        images: list[Image.Image] = pipeline.image_processor.postprocess(pipeline.vae.decode(latents).sample)
    return images


def _batches(seeds: Iterable[int], size: tuple[int, int]) -> Iterator[list[Scene]]:
    batch = []
    for seed in seeds:
        batch.append(world.scene(seed, size))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
