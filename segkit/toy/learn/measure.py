"""How right maps and captions are, in a world where the truth is known."""

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
from segkit.toy.world import Scene, grammar

BATCH = 8
"""Photos that are given to a network at a time."""


@dataclass(frozen=True)
class CaptionQuality:
    """How right captions are.

    Attributes:
        scenes: how many were looked at.
        precision: share of the classes that captions name which the picture holds.
        recall: share of the classes that the true sentences name which the captions name too.
        truthful: share of the captions that name nothing the picture lacks.
    """

    scenes: int
    precision: float
    recall: float
    truthful: float


@dataclass(frozen=True)
class DrawingQuality:
    """How right the pictures of a Stable Diffusion are, as the toy segmenter sees them.

    Attributes:
        scenes: how many were looked at.
        photos: mIoU of the photos themselves, in the size of the pictures.
        kept: mIoU of the photos after the VAE's encoder and decoder.
        error: mean absolute difference between a photo and what the VAE keeps of it, of 255.
        named: share of the classes that prompts name which are seen in the pictures drawn from them.
    """

    scenes: int
    photos: float
    kept: float
    error: float
    named: float


STEPS, GUIDANCE = 20, 3.0
"""Of the sampler, DPM-Solver++ 2M, for drawings."""

SPECK = 0.005
"""Share of the pixels below which a class is not counted as being drawn."""


def segmenter(segment: Segmenter, seeds: Iterable[int], size: tuple[int, int], palette: Palette) -> MapQuality:
    """Compare a segmenter's maps of scenes with the truth."""
    counts, number = metrics.empty_confusion(), 0
    for scenes in _batches(seeds, size):
        for scene, found in zip(scenes, segment([scene.photo for scene in scenes]), strict=True):
            counts += metrics.confusion(scene.labels, found.labels)
            number += 1
    return metrics.map_quality(counts, number, palette)


def captioner(caption: Captioner, seeds: Iterable[int], size: tuple[int, int]) -> CaptionQuality:
    """Compare a captioner's words about scenes with the truth."""
    truths: list[Scene] = []
    captions: list[str] = []
    for scenes in _batches(seeds, size):
        truths += scenes
        captions += caption([scene.photo for scene in scenes])
    return caption_quality(truths, captions)


def caption_quality(scenes: Sequence[Scene], captions: Sequence[str]) -> CaptionQuality:
    """Compare captions with what the scenes hold."""
    said = true = wanted = met = truthful = 0
    for scene, caption in zip(scenes, captions, strict=True):
        named, there = grammar.mentioned(caption), {each.name for each in scene.seen}
        should = grammar.mentioned(scene.sentence)
        said, true = said + len(named), true + len(named & there)
        wanted, met = wanted + len(should), met + len(named & should)
        truthful += named <= there
    return CaptionQuality(len(captions), true / max(1, said), met / max(1, wanted), truthful / len(captions))


def drawings(folder: Path, segment: Segmenter, seeds: Iterable[int], palette: Palette) -> DrawingQuality:
    """Look at what a Stable Diffusion draws from the true sentences of scenes, and at what its VAE keeps of them.

    Args:
        folder: of the pipeline, in diffusers' format.
        segment: looks.
        seeds: of the scenes, and of the noise.
        palette: of the segmenter.
    """
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.vae.config.sample_size
    confusions = {name: metrics.empty_confusion() for name in ("photos", "kept")}
    missed, wanted, met, number = 0.0, 0, 0, 0
    for scenes in _batches(seeds, (2 * side, 2 * side)):
        photos = [scene.photo.resize((side, side), Resampling.LANCZOS) for scene in scenes]
        kept = _kept(pipeline, photos)
        said = [scene.sentence for scene in scenes]
        draws = [torch.Generator().manual_seed(number + place) for place in range(len(scenes))]
        drawn = pipeline(said, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=draws).images
        for scene, *seen in zip(scenes, segment(photos), segment(kept), segment(drawn), strict=True):
            truth = np.asarray(Image.fromarray(scene.labels).resize((side, side), Resampling.NEAREST))
            for name, found in zip(confusions, seen, strict=False):
                confusions[name] += metrics.confusion(truth, found.labels)
            shares = np.bincount(seen[-1].labels.ravel(), minlength=256) / truth.size
            named = grammar.mentioned(scene.sentence)
            wanted, met = wanted + len(named), met + sum(shares[palette.find(name).index] > SPECK for name in named)
        missed += sum(map(_difference, photos, kept))
        number += len(scenes)
    miou = {name: metrics.map_quality(counts, number, palette).miou for name, counts in confusions.items()}
    return DrawingQuality(number, **miou, error=missed / number, named=float(met / max(1, wanted)))


def _difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


def _kept(pipeline: Any, photos: Sequence[Image.Image]) -> list[Image.Image]:
    """Return what a VAE makes of the latents that it makes of photos."""
    import torch

    with torch.no_grad():
        latents = pipeline.vae.encode(pipeline.image_processor.preprocess(list(photos))).latent_dist.mean
        found: list[Image.Image] = pipeline.image_processor.postprocess(pipeline.vae.decode(latents).sample)
    return found


def _batches(seeds: Iterable[int], size: tuple[int, int]) -> Iterator[list[Scene]]:
    batch = []
    for seed in seeds:
        batch.append(world.scene(seed, size))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
