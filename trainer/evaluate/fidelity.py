"""Layout obedience: how much of a map is seen in the picture drawn from it, with a ControlNet and without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit import maps
from segkit.maps import codec, metrics
from segkit.maps.metrics import MapQuality
from segkit.models import device, hub
from segkit.models.segment import NeuralSegmenter, Segmenter
from segkit.palette import Palette
from segkit.progress import Progress
from segkit.reports import contact_sheet
from trainer.data import examples
from trainer.data.examples import Example
from trainer.sample import generate
from trainer.sample.requests import DrawRequest
from trainer.settings import GenerateSettings

SHOWN = 6
"""Maps on the sheet."""

_BATCH = 8


@dataclass(frozen=True)
class Fidelity:
    """What a segmenter sees in pictures, beside the maps that they were drawn from.

    Attributes:
        steered: in pictures that were drawn with the ControlNet.
        alone: in those of the base alone, from the same prompts and noise.
        photos: in the photos themselves: the ceiling.
        sheet: some of them as a picture.
    """

    steered: MapQuality
    alone: MapQuality
    photos: MapQuality
    sheet: Path


def of_run(run: Path, dataset: Path, given: GenerateSettings, output: Path, progress: Progress) -> Fidelity:
    """Measure a run on the held-out triples of a dataset, or on all if none are held out. See measure.

    The dataset's own segmenter looks: the toy one.
    """
    found = examples.find(dataset)
    table = found.palette or Palette.load("ade20k")
    segment = NeuralSegmenter(hub.TOY, table, device.choose(given.device, "fp32"))
    return measure(found.val or found.train, table, replace(given, controlnet=str(run)), output, segment, progress)


def measure(
    held_out: Sequence[Example], table: Palette, given: GenerateSettings, output: Path, segment: Segmenter,
    progress: Progress,
) -> Fidelity:  # fmt: skip
    """Draw each map with the ControlNet and without, and look at the pictures.

    Args:
        held_out: what is drawn.
        table: of their maps and of the segmenter.
        given: what draws, and how; one picture a map.
        output: folder of the pictures: steered/, alone/ and before-after.png.
        segment: looks.
        progress: see segkit.progress.

    Raises:
        SegkitError: see generate.generate.
    """
    scenes = [DrawRequest(each.control_map.stem, each.control_map, each.text) for each in held_out]
    drawn: list[list[Image.Image]] = []
    for place, (name, strength) in enumerate((("steered", given.strength), ("alone", 0.0))):
        part = _Part(progress, place * len(scenes), 2 * len(scenes))
        how = replace(given, strength=strength)
        pictures = generate.generate(scenes, output / name, how, part, overwrite=True)
        drawn.append([_opened(picture.path) for picture in pictures])
    sizes = [picture.size for picture in drawn[0]]
    photos = [_opened(each.photo).resize(size, Resampling.LANCZOS) for each, size in zip(held_out, sizes, strict=True)]
    labels = [_labels(each.control_map, table, size) for each, size in zip(held_out, sizes, strict=True)]
    steered, alone, ceiling = (_seen(segment, pictures, labels, table) for pictures in (*drawn, photos))
    strips = [
        contact_sheet.strip([codec.paint(truth, table), photo, without, with_it], each.text)
        for truth, photo, with_it, without, each in zip(labels, photos, *drawn, held_out, strict=True)
    ][:SHOWN]
    sheet = output / "before-after.png"
    titles = ("control map", "photo", "before: the base alone", "after: with its ControlNet")
    contact_sheet.save(contact_sheet.sheet(strips, columns=2, titles=titles * 2), sheet)
    return Fidelity(steered, alone, ceiling, sheet)


@dataclass(frozen=True)
class _Part:
    """Progress of a part of the work, reported as progress of the whole."""

    progress: Progress
    before: int
    whole: int

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.progress(stage, self.before + done, self.whole, note)


def _seen(
    segment: Segmenter, pictures: Sequence[Image.Image], labels: Sequence[codec.Labels], table: Palette
) -> MapQuality:
    counts = metrics.empty_confusion()
    for first in range(0, len(pictures), _BATCH):
        batch = slice(first, first + _BATCH)
        for truth, found in zip(labels[batch], segment(pictures[batch]), strict=True):
            counts += metrics.confusion(truth, found.labels)
    return metrics.map_quality(counts, len(pictures), table)


def _labels(path: Path, table: Palette, size: tuple[int, int]) -> codec.Labels:
    labels, _ = codec.read(maps.read(path), table)
    return np.asarray(Image.fromarray(labels).resize(size, Resampling.NEAREST))


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
