"""Layout fidelity: how much of a control map a segmenter finds in the picture drawn from it, with and without it.

"Without it" is the base alone. The segmenter's mIoU on the photos themselves is the upper bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit.maps import codec, metrics
from segkit.maps.metrics import MapQuality
from segkit.models import device, hub
from segkit.models.segment import NeuralSegmenter, Segmenter
from segkit.palette import Palette
from segkit.progress import Progress
from segkit.reports import contact_sheet
from trainer.data import examples, members
from trainer.data.examples import Example
from trainer.data.members import Source
from trainer.sample import generate
from trainer.sample.requests import DrawRequest
from trainer.settings import GenerateSettings

SHOWN = 6
"""Maps on the contact sheet."""

_BATCH = 8


@dataclass(frozen=True)
class Fidelity:
    """A segmenter's findings in pictures, compared with the control maps.

    Attributes:
        steered: in pictures drawn with the ControlNet.
        alone: in pictures of the base alone, with the same prompts and noise.
        photos: in the photos: the upper bound.
        sheet: file of the contact sheet.
    """

    steered: MapQuality
    alone: MapQuality
    photos: MapQuality
    sheet: Path


def of_run(run: Path, dataset: Path, settings: GenerateSettings, output: Path, progress: Progress) -> Fidelity:
    """Evaluate a run on a dataset's held-out triples, or on all if none are held out, with the toy segmenter.

    See `measure` for the arguments and errors.
    """
    triples = examples.find(dataset)
    palette = triples.palette or Palette.load("ade20k")
    segmenter = NeuralSegmenter(hub.TOY, palette, device.resolve(settings.device, "fp32"))
    settings = replace(settings, controlnet=str(run))
    return measure(triples.val or triples.train, palette, settings, output, segmenter, progress)


def measure(
    held_out: Sequence[Example], palette: Palette, settings: GenerateSettings, output: Path, segmenter: Segmenter,
    progress: Progress,
) -> Fidelity:  # fmt: skip
    """Draw each map with the ControlNet and without, and segment the pictures and the photos.

    Args:
        held_out: triples that the ControlNet was not trained on.
        palette: of their maps and of the segmenter.
        settings: networks and sampling; one picture is drawn per map.
        output: folder for the pictures: steered/, alone/ and before-after.png.
        segmenter: called with batches of pictures.
        progress: called with ("pictures", done, total).

    Raises:
        SegkitError: see generate.generate.
    """
    requests = [DrawRequest(example.control_map.stem, example.control_map, example.text) for example in held_out]
    drawn: list[list[Image.Image]] = []
    for place, (name, strength) in enumerate((("steered", settings.strength), ("alone", 0.0))):
        part = _PartialProgress(progress, place * len(requests), 2 * len(requests))
        variant = replace(settings, strength=strength)
        pictures = generate.generate(requests, output / name, variant, part, overwrite=True)
        drawn.append([picture.image for picture in pictures])
    sizes = [picture.size for picture in drawn[0]]
    photos = [
        _open(example.photo).resize(size, Resampling.LANCZOS) for example, size in zip(held_out, sizes, strict=True)
    ]
    labels = [_labels(example.control_map, palette, size) for example, size in zip(held_out, sizes, strict=True)]
    steered, alone, ceiling = (_quality(segmenter, pictures, labels, palette) for pictures in (*drawn, photos))
    strips = [
        contact_sheet.strip([codec.paint(truth, palette), photo, without, with_controlnet], example.text)
        for truth, photo, with_controlnet, without, example in zip(labels, photos, *drawn, held_out, strict=True)
    ][:SHOWN]
    sheet = output / "before-after.png"
    titles = ("control map", "photo", "before: the base alone", "after: with its ControlNet")
    contact_sheet.save(contact_sheet.sheet(strips, columns=2, titles=titles * 2), sheet)
    return Fidelity(steered, alone, ceiling, sheet)


@dataclass(frozen=True)
class _PartialProgress:
    """Reports the progress of a part as progress of the whole."""

    progress: Progress
    offset: int
    whole: int

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.progress(stage, self.offset + done, self.whole, note)


def _quality(
    segmenter: Segmenter, pictures: Sequence[Image.Image], labels: Sequence[codec.Labels], palette: Palette
) -> MapQuality:
    confusion = metrics.empty_confusion()
    for first in range(0, len(pictures), _BATCH):
        batch = slice(first, first + _BATCH)
        for truth, prediction in zip(labels[batch], segmenter(pictures[batch]), strict=True):
            confusion += metrics.confusion(truth, prediction.labels)
    return metrics.map_quality(confusion, len(pictures), palette)


def _labels(source: Source, palette: Palette, size: tuple[int, int]) -> codec.Labels:
    labels, _ = codec.read(members.open_map(source), palette)
    return np.asarray(Image.fromarray(labels).resize(size, Resampling.NEAREST))


def _open(source: Source) -> Image.Image:
    with Image.open(BytesIO(members.read_photo(source))) as image:
        return image.convert("RGB")
