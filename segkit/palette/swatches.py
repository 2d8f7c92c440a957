"""Palettes as swatch files for image editors: GIMP (.gpl), Photoshop (.aco), and a legend to look at (.png)."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from segkit.palette.palette import Palette
from segkit.palette.tables import Swatch

_ROWS, _WIDTH, _HEIGHT, _SWATCH, _FONT_SIZE = 50, 330, 22, 60, 13
"""Rows of a column of the legend; width and height of a row, width of a swatch and size of letters in pixels."""


def gimp(palette: Palette) -> bytes:
    """Encode a palette for GIMP, Inkscape and Krita, with the names of the classes; tables.read reads it back."""
    lines = ["GIMP Palette", f"Name: {palette.name}", "Columns: 10", *(f"# {note}" for note in shared(palette)), "#"]
    lines += [f"{red:3} {green:3} {blue:3}\t{swatch.name}" for swatch in palette for red, green, blue in [swatch.rgb]]
    return ("\n".join(lines) + "\n").encode()


def photoshop(palette: Palette) -> bytes:
    """Encode a palette as Photoshop's color swatches: version 1 without names, then version 2 with them.

    Source: Adobe Photoshop File Formats Specification, "Color swatches". Numbers are big-endian; a colour is its space
    (0: RGB) and four words, of which red, green and blue run to 65535; a name is UTF-16 with its length and a NUL.
    """
    colors = [struct.pack(">5H", 0, *(channel * 257 for channel in swatch.rgb), 0) for swatch in palette]
    named = [color + _name(swatch) for color, swatch in zip(colors, palette, strict=True)]
    return b"".join((struct.pack(">2H", 1, len(colors)), *colors, struct.pack(">2H", 2, len(colors)), *named))


def _name(swatch: Swatch) -> bytes:
    text = f"{swatch.name}\0".encode("utf-16-be")
    return struct.pack(">I", len(text) // 2) + text


def legend(palette: Palette) -> bytes:
    """Draw a legend as PNG: colour, index, name and hex of every class, and which classes share a colour."""
    from PIL import Image, ImageDraw, ImageFont

    columns = -(-len(palette) // _ROWS)
    notes = shared(palette)
    rows = min(len(palette), _ROWS) + len(notes)
    page = Image.new("RGB", (columns * _WIDTH, (rows + 1) * _HEIGHT), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    for swatch in palette:
        left, top = _place(swatch.index)
        pen.rectangle((left, top, left + _SWATCH - 1, top + _HEIGHT - 3), swatch.rgb)
        pen.text((left + _SWATCH + 8, top + 2), f"{swatch.index}  {swatch.name}  {swatch.hex}", "black", font)
    for number, note in enumerate(notes):
        pen.text((10, (rows - len(notes) + number) * _HEIGHT + 12), note, "black", font)
    buffer = BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


def _place(index: int) -> tuple[int, int]:
    """Return the left and top of a class's swatch in the legend, in pixels."""
    return index // _ROWS * _WIDTH + 10, index % _ROWS * _HEIGHT + 10


def shared(palette: Palette) -> list[str]:
    """Return one sentence for each class whose colour an earlier class has: painted with it, a pixel is the earlier."""
    return [
        f"{swatch.name} ({swatch.index}) has the colour of {first.name} ({first.index}): painted with it, a pixel is "
        f"{first.name}."
        for swatch in palette
        if (first := palette[palette.by_color[swatch.rgb]]) != swatch
    ]


FORMATS: dict[str, Callable[[Palette], bytes]] = {".gpl": gimp, ".aco": photoshop, ".png": legend}
"""How to encode a palette, by the ending of the file."""


def encode(palette: Palette, path: Path) -> bytes:
    """Encode a palette in the format of a file's ending, which must be one of FORMATS."""
    return FORMATS[path.suffix.lower()](palette)
