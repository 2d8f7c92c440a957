"""Contact sheets: rows of pictures with captions, for a dataset's triples or for the samples of a run."""

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
"""Longer side of a picture in pixels."""

_GAP, _LINES, _FONT_SIZE = 8, 3, 13
_LETTER = 7  # estimated width of a letter in pixels, with a margin
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def write(dataset: Dataset, path: Path) -> None:
    """Write a contact sheet of a dataset as PNG. See `draw`.

    Raises:
        OSError: a photo or map cannot be opened.
        StorageError: the sheet cannot be written, for example because the disk is full.
    """
    save(draw(dataset), path)


def save(sheet: Image.Image, path: Path) -> None:
    """Write a picture as PNG, atomically.

    Raises:
        StorageError: the picture cannot be written, for example because the disk is full.
    """
    buffer = BytesIO()
    sheet.save(buffer, "PNG")
    storage.write(path, buffer.getvalue())


def draw(dataset: Dataset, triples: int = 12, columns: int = 3) -> Image.Image:
    """Draw a sample of triples, evenly spread over a dataset.

    Args:
        dataset: the dataset.
        triples: maximum number of triples.
        columns: triples per row.

    Returns:
        An RGB picture; an empty page if there are no triples. Maps are scaled by nearest neighbour, so their colours
        stay exact.

    Raises:
        OSError: a photo or map cannot be opened.
    """
    sample = list(dataset.triples())
    if len(sample) > triples:
        sample = [sample[index * len(sample) // triples] for index in range(triples)]
    return sheet([strip(_pictures(dataset, triple), triple.text) for triple in sample], columns)


def _pictures(dataset: Dataset, triple: Triple) -> list[Image.Image]:
    pictures = []
    for name in (triple.file_name, triple.conditioning_image_file_name):
        with Image.open(dataset.folder / name) as image:
            pictures.append(image.copy())
    return pictures


def strip(pictures: Sequence[Image.Image], text: str) -> Image.Image:
    """Draw pictures side by side with a caption below.

    Args:
        pictures: photos or maps. Indexed pictures (mode P) are maps and are scaled by nearest neighbour.
        text: the caption, shortened to three lines.

    Returns:
        An RGB picture whose size depends only on the number of pictures.
    """
    width = len(pictures) * (CELL + _GAP) + _GAP
    row = Image.new("RGB", (width, CELL + 2 * _GAP + _LINES * (_FONT_SIZE + 4)), _PAPER)
    for column, picture in enumerate(pictures):
        filtering = Resampling.NEAREST if picture.mode == "P" else Resampling.LANCZOS
        thumbnail = ImageOps.contain(picture, (CELL, CELL), filtering).convert("RGB")
        left = _GAP + column * (CELL + _GAP) + (CELL - thumbnail.width) // 2
        row.paste(thumbnail, (left, _GAP + (CELL - thumbnail.height) // 2))
    lines = textwrap.wrap(text or "(no prompt)", (width - 2 * _GAP) // _LETTER, max_lines=_LINES, placeholder=" ...")
    _write(row, (_GAP, CELL + 2 * _GAP), "\n".join(lines))
    return row


def sheet(strips: Sequence[Image.Image], columns: int = 1, titles: Sequence[str] = ()) -> Image.Image:
    """Arrange strips in a grid.

    Args:
        strips: pictures of one size (see `strip`).
        columns: maximum number of strips per row.
        titles: headings above the pictures of the first row, from left to right over all columns.
    """
    columns, header = max(1, min(columns, len(strips))), _FONT_SIZE + 2 * _GAP if titles else 0
    width, height = strips[0].size if strips else (2 * CELL, CELL)
    page = Image.new("RGB", (columns * width, header + max(1, -(-len(strips) // columns)) * height), _PAPER)
    for index, title in enumerate(titles):
        column, picture = divmod(index, max(1, len(titles) // columns))
        _write(page, (column * width + _GAP + picture * (CELL + _GAP), _GAP), title)
    for index, row_of_pictures in enumerate(strips):
        row, column = divmod(index, columns)
        page.paste(row_of_pictures, (column * width, header + row * height))
    return page


def _write(page: Image.Image, corner: tuple[int, int], text: str) -> None:
    ImageDraw.Draw(page).text(corner, text, fill=_INK, font=ImageFont.load_default(_FONT_SIZE), spacing=4)
