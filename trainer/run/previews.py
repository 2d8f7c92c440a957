"""Previews during training: control map, photo, and pictures of equal noise at the first previewed step and now."""

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
from trainer.settings import SampleSettings, TrainSettings
from trainer.step.learner import Learner

if TYPE_CHECKING:
    from segkit.palette import Palette

SHOWN = 4
"""Number of control maps drawn."""

FOLDER = "previews"


@dataclass(frozen=True)
class PreviewModel:
    """What drawing needs besides the networks in training.

    Attributes:
        decoder: turns latents into pictures.
        encode_prompt: returns a prompt's encoder_hidden_states, (77, D).
        paint: paints class indices with the palette.
        prediction: "epsilon" or "v_prediction".
        factor: the VAE's downsampling factor.
        channels: of the latents.
    """

    decoder: Decoder
    encode_prompt: Callable[[str], Tensor]
    paint: PalettePainter
    prediction: str
    factor: int
    channels: int


class Previews:
    """Draws pictures at some steps, and keeps them in the run folder.

    Args:
        examples: held-out examples are drawn, or training examples if none are held out.
        settings: of the training.
        model: for drawing.
        run: the run folder.
        device: where to draw.
    """

    def __init__(
        self, examples: Examples, settings: TrainSettings, model: PreviewModel, run: Path, device: torch.device
    ) -> None:
        shown = (examples.val or examples.train)[:SHOWN]
        batches = Batches(shown, examples.palette, unaugmented(settings))
        self._picks = [batches.picks(number)[0] for number in range(len(shown))]
        self._sampling = SampleSettings(steps=sampler.STEPS, guidance=settings.preview_guidance)
        self._model, self._device = model, device
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
                    sampler.sample(
                        model, [self._request(place, pick)], self._sampling, self._model.prediction, before_step
                    )[0]
                    for place, pick in enumerate(self._picks)
                ]
            pictures = []
            for tensor in latents:
                before_step()
                pictures.append(self._model.decoder.picture(tensor))
            return pictures
        except torch.OutOfMemoryError:
            return None
        finally:
            if self._device.type == "cuda":
                torch.cuda.empty_cache()  # shapes differ from training's: the cached blocks would only fragment memory

    def _request(self, place: int, pick: Pick) -> sampler.SampleRequest:
        labels = torch.from_numpy(crops.control_map(pick.example, pick.view, self._palette).copy())
        control = self._model.paint(labels[None].to(self._device))  # (1, 3, H, W)
        self._model.paint.require_exact(self._model.paint.count_off_palette(control))
        width, height = (side // self._model.factor for side in pick.view.size)
        noise = torch.randn(self._model.channels, height, width, generator=torch.Generator().manual_seed(place))
        encoder_hidden_states, unconditional = (
            self._model.encode_prompt(text).to(self._device) for text in (pick.text, "")
        )
        return sampler.SampleRequest(noise.to(self._device), encoder_hidden_states, unconditional, control[0])

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
