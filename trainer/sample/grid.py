"""The contact sheet of pictures drawn at several strengths: a row for each map and seed, a column for each strength."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from segkit import storage
from segkit.maps import codec
from segkit.palette import Palette
from segkit.reports import contact_sheet
from trainer.sample import controls, recipes
from trainer.sample.requests import DrawRequest

if TYPE_CHECKING:
    from trainer.sample.generate import Picture

NAME = "strengths.png"
"""File of the sheet, beside the pictures; their names end in a seed or a strength, so it is not one of them."""

ROWS = 100
"""Rows of a sheet; further maps are left out of it."""


def label(strength: float) -> str:
    """Return a strength as the shortest number that denotes it: 1 rather than 1.0."""
    return repr(strength).removesuffix(".0")


def write(pictures: "Sequence[Picture]", palette: Palette | None, folder: Path) -> Path:
    """Write the contact sheet of pictures, whose sizes may differ, and return its file.

    Args:
        pictures: at least one, with all strengths of each map and seed.
        palette: of the maps; None for control images that are not maps.
        folder: of the pictures.

    Raises:
        StorageError: the sheet cannot be written, for example because the disk is full.
    """
    rows: dict[tuple[DrawRequest, int], dict[float, Picture]] = {}
    for picture in pictures:
        rows.setdefault((picture.request, picture.seed), {})[picture.strength] = picture
    shown = list(rows.values())[:ROWS]
    titles = ["control map", *(f"strength {label(strength)}" for strength in shown[0])]
    sheet = contact_sheet.sheet([_strip(row, palette) for row in shown], titles=titles)
    path = folder / NAME
    names = [picture.path.relative_to(folder).as_posix() for row in shown for picture in row.values()]
    storage.write(path, recipes.encode(sheet, {"contact_sheet": names}))
    return path


def _strip(row: "Mapping[float, Picture]", palette: Palette | None) -> Image.Image:
    first = next(iter(row.values()))
    images = [picture.image for picture in row.values()]
    pixels = controls.pixels(first.request, palette, images[0].size)
    control = Image.fromarray(pixels) if palette is None else codec.paint(np.ascontiguousarray(pixels), palette)
    return contact_sheet.strip([control, *images], f"{first.request.name}, seed {first.seed}: {first.request.prompt}")
