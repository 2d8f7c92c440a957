"""What the network draws while it learns: map, photo, and pictures of equal noise from the start and from now."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from segkit.maps import codec
from segkit.reports import contact_sheet
from trainer.data import crops
from trainer.data.batches import Batches, Pick, unaugmented
from trainer.data.examples import Examples
from trainer.data.latents import Decoder
from trainer.data.paint import PalettePainter
from trainer.sample import sampler
from trainer.settings import TrainSettings
from trainer.step.learner import Learner

if TYPE_CHECKING:
    from segkit.palette import Palette

SHOWN = 4
"""Photos whose maps are drawn from."""

FOLDER = "previews"


@dataclass(frozen=True)
class Model:
    """What is needed to draw beside the networks that learn.

    Attributes:
        decoder: makes pictures of latents.
        words: returns what the text encoder makes of a prompt.
        paint: paints the maps.
        prediction: what the UNet predicts.
        factor: pixels of a side that make one latent.
        channels: of a latent.
    """

    decoder: Decoder
    words: Callable[[str], Tensor]
    paint: PalettePainter
    prediction: str
    factor: int
    channels: int


class Previews:
    """Pictures drawn at some steps, kept in a run's folder.

    Args:
        found: the examples; held-out ones are drawn, or else trained ones.
        settings: of the training.
        model: what draws.
        run: the run's folder.
        device: where.
    """

    def __init__(self, found: Examples, settings: TrainSettings, model: Model, run: Path, device: torch.device) -> None:
        examples = (found.val or found.train)[:SHOWN]
        batches = Batches(examples, found.palette, unaugmented(settings))
        self._picks = [batches.picks(number)[0] for number in range(len(examples))]
        self._guidance, self._model, self._device = settings.preview_guidance, model, device
        self._table, self._folder = found.palette, run / FOLDER

    def draw(self, learner: Learner) -> list[Image.Image] | None:
        """Draw, with the same noise each time; all processes call it. None if the device's memory is too small."""
        try:
            with learner.shown() as steered:
                latents = [
                    sampler.sample(steered, self._asked(place, pick), self._model.prediction, self._guidance)
                    for place, pick in enumerate(self._picks)
                ]
            return [self._model.decoder.picture(each) for each in latents]
        except torch.OutOfMemoryError:
            return None
        finally:
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _asked(self, place: int, pick: Pick) -> sampler.SampleRequest:
        labels = torch.from_numpy(crops.control_map(pick.example, pick.view, self._table).copy())
        painted = self._model.paint(labels[None].to(self._device))
        self._model.paint.require_exact(self._model.paint.count_off_palette(painted))
        across, down = (side // self._model.factor for side in pick.view.size)
        noise = torch.randn(self._model.channels, down, across, generator=torch.Generator().manual_seed(place))
        words, silence = (self._model.words(text).to(self._device) for text in (pick.text, ""))
        return sampler.SampleRequest(noise.to(self._device), words, silence, painted[0])

    def write(self, drawn: list[Image.Image], step: int) -> Image.Image:
        """Keep the pictures of a step, and a sheet of them beside those of the first step that drew any.

        Raises:
            StorageError: the disk is full.
        """
        own = self._folder / f"step-{step:08}"
        for place, picture in enumerate(drawn):
            contact_sheet.save(picture, own / f"{place}.png")
        first = min(self._folder.glob("step-????????/"), key=lambda folder: folder.name)
        before = [_opened(first / f"{place}.png", picture) for place, picture in enumerate(drawn)]
        strips = [
            contact_sheet.strip([*shown(pick, self._table), *pictures], pick.text)
            for pick, *pictures in zip(self._picks, before, drawn, strict=True)
        ]
        titles = ("control map", "photo", f"drawn at step {int(first.name[5:]):,}", f"drawn at step {step:,}")
        sheet = contact_sheet.sheet(strips, titles=titles)
        contact_sheet.save(sheet, own.with_suffix(".png"))
        return sheet


def shown(pick: Pick, table: "Palette | None") -> tuple[Image.Image, Image.Image]:
    """Return the control map and the photo of a pick as a network sees them."""
    pixels = ((crops.photo(pick.example, pick.view) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    labels = np.ascontiguousarray(crops.control_map(pick.example, pick.view, table))
    control_map = Image.fromarray(labels) if table is None else codec.paint(labels, table)
    return control_map, Image.fromarray(pixels)


def _opened(path: Path, otherwise: Image.Image) -> Image.Image:
    """Return a picture; another one if a stop kept it from being written."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.convert("RGB")
    except OSError:
        return otherwise
