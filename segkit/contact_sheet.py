"""Some triples of a dataset as one picture: photo, control map and prompt beside one another."""

import textwrap
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.Image import Resampling

from segkit import storage
from segkit.dataset import Dataset
from segkit.triple import Triple

CELL = 200
"""Pixels of a photo's longer side."""

_GAP, _LINES, _SIZE = 8, 3, 13
_LETTERS = 2 * CELL // 7
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def write(dataset: Dataset, path: Path) -> None:
    """Write the sheet as a PNG. See draw for the picture and its errors.

    Raises:
        StorageError: the disk is full.
    """
    buffer = BytesIO()
    draw(dataset).save(buffer, "PNG")
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
    columns = max(1, min(columns, len(shown)))
    width, height = 2 * CELL + 3 * _GAP, CELL + 2 * _GAP + _LINES * (_SIZE + 4)
    sheet = Image.new("RGB", (columns * width, max(1, -(-len(shown) // columns)) * height), _PAPER)
    for place, triple in enumerate(shown):
        row, column = divmod(place, columns)
        _cell(sheet, dataset, triple, (column * width + _GAP, row * height + _GAP))
    return sheet


def _cell(sheet: Image.Image, dataset: Dataset, triple: Triple, corner: tuple[int, int]) -> None:
    x, y = corner
    names = (triple.file_name, Resampling.LANCZOS), (triple.conditioning_image_file_name, Resampling.NEAREST)
    for place, (name, filtering) in enumerate(names):
        with Image.open(dataset.folder / name) as image:
            small = ImageOps.contain(image.convert("RGB"), (CELL, CELL), filtering)
        left, top = x + place * (CELL + _GAP) + (CELL - small.width) // 2, y + (CELL - small.height) // 2
        sheet.paste(small, (left, top))
    words = textwrap.wrap(triple.text or "(no prompt)", _LETTERS, max_lines=_LINES, placeholder=" ...")
    ImageDraw.Draw(sheet).text(
        (x, y + CELL + _GAP), "\n".join(words), fill=_INK, font=ImageFont.load_default(_SIZE), spacing=4
    )
