"""Everything a picture depends on, stored in its PNG: an equal recipe means that it need not be drawn again."""

import json
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segkit import storage
from segkit.palette import Palette
from trainer.checkpoints import lora
from trainer.sample.requests import Subject
from trainer.settings import GenerateSettings

_CHUNK = "segkit"
"""Key of the PNG text chunk that holds the recipe as JSON."""


@dataclass(frozen=True)
class Recipes:
    """Builds recipes for pictures of the same networks and settings.

    Attributes:
        settings: of the generation.
        palette: of the maps; None for control images that are not maps.
        precision: of the arithmetic, resolved.
        weights: hashes of UNet, VAE, text encoder and ControlNet: see trainer.checkpoints.digest.
    """

    settings: GenerateSettings
    palette: Palette | None
    precision: str
    weights: list[str]

    @cached_property
    def _loras(self) -> dict[str, Any]:
        return lora.record(self.settings.loras)

    def recipe(self, subject: Subject) -> dict[str, Any]:
        """Return the recipe of a picture, as JSON values; it leaves out the device and the batch."""
        settings, request = self.settings, subject.request
        return {
            "prompt": request.prompt, "negative": settings.negative, "seed": subject.seed, "size": list(subject.size),
            "scheduler": settings.scheduler, "steps": settings.steps, "guidance": settings.guidance,
            "guidance_end": settings.guidance_end, "strength": subject.strength,
            "control_start": settings.control_start, "control_end": settings.control_end,
            "precision": self.precision, "map_sha256": storage.sha256(request.control_map.read_bytes()),
            "palette_hash": self.palette.hash if self.palette else "none", "weights": self.weights, **self._loras,
        }  # fmt: skip


def encode(picture: Image.Image, recipe: dict[str, Any]) -> bytes:
    """Return a picture as a PNG that holds its recipe."""
    chunks = PngInfo()
    chunks.add_itxt(_CHUNK, json.dumps(recipe))
    buffer = BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def read(path: Path) -> Any:
    """Return the recipe in a PNG; None if the file is missing, is not a PNG or has no recipe."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return json.loads(str(image.info[_CHUNK]))
    except Exception:  # Pillow raises many types on foreign or damaged files; none of them is a picture of ours
        return None
