"""Everything a picture depends on, stored in its PNG: an equal recipe means that it need not be drawn again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segkit import storage
from segkit.palette import Palette
from trainer.sample.requests import DrawRequest
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

    def recipe(self, request: DrawRequest, seed: int, size: Sequence[int]) -> dict[str, Any]:
        """Return the recipe of a picture, as JSON values; it leaves out the device."""
        settings = self.settings
        return {
            "prompt": request.prompt, "negative": settings.negative, "seed": seed, "size": list(size),
            "steps": settings.steps, "guidance": settings.guidance, "strength": settings.strength,
            "precision": self.precision, "map_sha256": storage.sha256(request.control_map.read_bytes()),
            "palette_hash": self.palette.hash if self.palette else "none", "weights": self.weights,
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
