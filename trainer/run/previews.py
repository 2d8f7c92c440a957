"""Previews during training: control map, photo, and pictures of equal noise at the first previewed step and now."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segkit.maps import codec
from segkit.reports import contact_sheet
from trainer.data import crops
from trainer.data.batches import Batches, Pick, unaugmented
from trainer.data.examples import Examples
from trainer.run.drawing import Drawer
from trainer.settings import TrainSettings
from trainer.step.learner import Learner

if TYPE_CHECKING:
    from segkit.palette import Palette

SHOWN = 4
"""Number of control maps drawn."""

FOLDER = "previews"


class Previews:
    """Draws pictures at some steps, and keeps them in the run folder.

    Args:
        examples: held-out examples are drawn, or training examples if none are held out.
        settings: of the training.
        drawer: draws.
        run: the run folder.
    """

    def __init__(self, examples: Examples, settings: TrainSettings, drawer: Drawer, run: Path) -> None:
        shown = (examples.val or examples.train)[:SHOWN]
        batches = Batches(shown, examples.palette, unaugmented(settings))
        self._picks = [batches.picks(number)[0] for number in range(len(shown))]
        self._drawer = drawer
        self._palette, self._folder = examples.palette, run / FOLDER

    def draw(self, learner: Learner, before_step: Callable[[], None]) -> list[Image.Image] | None:
        """Draw with the current weights and the same noise each time; all processes must call this.

        Args:
            learner: the networks.
            before_step: called before every sampling step and picture; it may raise to abandon all of them.

        Returns:
            The pictures; None if the device has too little memory, which must not end a training.
        """
        try:
            with learner.inference() as model:
                latents = [
                    self._drawer.latents(model, self._labels(pick), pick.text, place, before_step)
                    for place, pick in enumerate(self._picks)
                ]
            pictures = []
            for tensor in latents:
                before_step()
                pictures.append(self._drawer.decoder.picture(tensor))
            return pictures
        except torch.OutOfMemoryError:
            return None
        finally:
            self._drawer.free_cached_memory()

    def _labels(self, pick: Pick) -> NDArray[np.uint8]:
        return crops.control_map(pick.example, pick.view, self._palette)

    def write(self, pictures: list[Image.Image], step: int) -> Image.Image:
        """Save a step's pictures, and a contact sheet of them beside those of the run's first previews, if earlier.

        Returns:
            The contact sheet.

        Raises:
            StorageError: the disk is full.
        """
        folder = self._folder / f"step-{step:08}"
        for place, picture in enumerate(pictures):
            contact_sheet.save(picture, folder / f"{place}.png")
        columns = {step: pictures}
        first = min(self._folder.glob("step-????????/"), key=lambda path: path.name)
        if first != folder:  # else the same pictures would be shown twice
            before = [_open_or(first / f"{place}.png", picture) for place, picture in enumerate(pictures)]
            columns = {int(first.name[5:]): before, **columns}
        strips = [
            contact_sheet.strip([*network_view(pick, self._palette), *drawn], pick.text)
            for pick, *drawn in zip(self._picks, *columns.values(), strict=True)
        ]
        titles = ("control map", "photo", *(f"drawn at step {number:,}" for number in columns))
        sheet = contact_sheet.sheet(strips, titles=titles)
        contact_sheet.save(sheet, folder.with_suffix(".png"))
        return sheet


def network_view(pick: Pick, palette: "Palette | None") -> tuple[Image.Image, Image.Image]:
    """Return control map and photo, cropped and resized as the network sees them."""
    pixels = ((crops.photo(pick.example, pick.view) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    labels = np.ascontiguousarray(crops.control_map(pick.example, pick.view, palette))
    control_map = Image.fromarray(labels) if palette is None else codec.paint(labels, palette)
    return control_map, Image.fromarray(pixels)


def _open_or(path: Path, fallback: Image.Image) -> Image.Image:
    """Return the picture in a file, or the fallback if a kill prevented it from being written."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.convert("RGB")
    except OSError:
        return fallback
