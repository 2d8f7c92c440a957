"""Pictures beside one another with words beneath: some triples of a dataset, or what a training draws, on one sheet."""

import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.Image import Resampling

from segkit import storage
from segkit.dataset import Dataset
from segkit.dataset.triple import Triple

CELL = 200
"""Pixels of a picture's longer side."""

_GAP, _LINES, _SIZE = 8, 3, 13
_LETTER = 7  # pixels that a letter takes, with room to spare
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def write(dataset: Dataset, path: Path) -> None:
    """Write the sheet of a dataset as a PNG. See draw for the picture and its errors.

    Raises:
        StorageError: the disk is full.
    """
    save(draw(dataset), path)


def save(sheet: Image.Image, path: Path) -> None:
    """Write a sheet as a PNG.

    Raises:
        StorageError: the disk is full.
    """
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    storage.write(path, buffer.getvalue())


def draw(dataset: Dataset, triples: int = 12, columns: int = 3) -> Image.Image:
    """Draw triples evenly spread over a dataset.

    Args:
        dataset: it is read only.
        triples: how many, at most.
        columns: triples in a row.

    Returns:
        RGB; of no triples, an empty page. Maps are scaled by nearest neighbour, so that their colours are exact.

    Raises:
        OSError: a photo or map does not open.
    """
    every = list(dataset.triples())
    shown = [every[place * len(every) // triples] for place in range(triples)] if len(every) > triples else every
    return sheet([strip(_pictures(dataset, triple), triple.text) for triple in shown], columns)


def _pictures(dataset: Dataset, triple: Triple) -> list[Image.Image]:
    found = []
    for name in (triple.file_name, triple.conditioning_image_file_name):
        with Image.open(dataset.folder / name) as image:
            found.append(image.copy())
    return found


def strip(pictures: Sequence[Image.Image], text: str) -> Image.Image:
    """Draw pictures in a row with words beneath.

    Args:
        pictures: indexed ones (mode P) are maps, and are scaled by nearest neighbour.
        text: at most three lines of it.

    Returns:
        RGB, of a size that depends on the number of pictures alone.
    """
    width = len(pictures) * (CELL + _GAP) + _GAP
    drawn = Image.new("RGB", (width, CELL + 2 * _GAP + _LINES * (_SIZE + 4)), _PAPER)
    for place, picture in enumerate(pictures):
        filtering = Resampling.NEAREST if picture.mode == "P" else Resampling.LANCZOS
        small = ImageOps.contain(picture, (CELL, CELL), filtering).convert("RGB")
        left = _GAP + place * (CELL + _GAP) + (CELL - small.width) // 2
        drawn.paste(small, (left, _GAP + (CELL - small.height) // 2))
    words = textwrap.wrap(text or "(no prompt)", (width - 2 * _GAP) // _LETTER, max_lines=_LINES, placeholder=" ...")
    _write(drawn, (_GAP, CELL + 2 * _GAP), "\n".join(words))
    return drawn


def sheet(strips: Sequence[Image.Image], columns: int = 1, titles: Sequence[str] = ()) -> Image.Image:
    """Draw strips of one size below and beside one another.

    Args:
        strips: of one size.
        columns: strips in a row, at most.
        titles: above the pictures of a row, one after another.
    """
    columns, head = max(1, min(columns, len(strips))), _SIZE + 2 * _GAP if titles else 0
    width, height = strips[0].size if strips else (2 * CELL, CELL)
    page = Image.new("RGB", (columns * width, head + max(1, -(-len(strips) // columns)) * height), _PAPER)
    for place, title in enumerate(titles):
        column, within = divmod(place, max(1, len(titles) // columns))
        _write(page, (column * width + _GAP + within * (CELL + _GAP), _GAP), title)
    for place, each in enumerate(strips):
        row, column = divmod(place, columns)
        page.paste(each, (column * width, head + row * height))
    return page


def _write(page: Image.Image, corner: tuple[int, int], text: str) -> None:
    ImageDraw.Draw(page).text(corner, text, fill=_INK, font=ImageFont.load_default(_SIZE), spacing=4)
