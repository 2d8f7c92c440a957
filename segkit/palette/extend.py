"""New classes for a palette, in colours that nothing can be confused with."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice

from segkit.errors import PaletteError
from segkit.palette import tables
from segkit.palette.color import BLACK, RGB, WHITE
from segkit.palette.free_colors import FreeColor, farthest
from segkit.palette.palette import SHIPPED, UNLABELLED, Palette
from segkit.palette.tables import Swatch


def suggest(table: Iterable[Swatch], number: int) -> list[FreeColor]:
    """Return colours for new classes, each exactly farthest from all that are taken and those before it.

    Args:
        table: classes whose colours are taken, beside those of ADE20K and COCO, which control_v11p_sd15_seg knows,
            black, which means unlabelled, and white, with which tools draw outlines.
        number: how many colours.
    """
    taken: list[RGB] = [BLACK, WHITE, *(swatch.rgb for swatch in table)]
    taken += [swatch.rgb for name in SHIPPED for swatch in Palette.load(name)]
    return list(islice(farthest(taken), number))


def extended(table: Palette, names: Sequence[str], name: str) -> Palette:
    """Return a palette with new classes after its own.

    Args:
        table: the palette.
        names: of the new classes.
        name: of the new palette.

    Raises:
        PaletteError: a name that is empty, begins like a formula or is known, or more classes than an index can count.
    """
    known = dict.fromkeys(names)
    if len(known) < len(names):
        raise PaletteError(f"--add: a class is named twice in {', '.join(names)}; give each a name of its own.")
    if len(table) + len(names) > UNLABELLED:
        room = UNLABELLED - len(table)
        raise PaletteError(f"{len(names)} classes do not fit: {table.name} has {len(table)}, so room for {room}.")
    for each in names:
        _check(each, table)
    places = range(len(table), len(table) + len(names))
    colors = suggest(table, len(names))
    new = [Swatch(index, each, (), free.rgb) for index, each, free in zip(places, names, colors, strict=True)]
    return Palette(name, (*table, *new))


def _check(name: str, table: Palette) -> None:
    if not name.strip() or not name.isprintable() or name != " ".join(name.split()):
        raise PaletteError(f"{name!r} is no class name; expected printable words.")
    if tables.escape_formula(name) != name:
        raise PaletteError(f"{name!r} is no class name: spreadsheets take it for a formula. Begin it with a letter.")
    try:
        found = table.find(name)
    except PaletteError as error:
        if "means several classes" in str(error):
            raise
        return
    raise PaletteError(f"{name!r} is class {found.index} of {table.name} already ({found.name}). Leave it out.")


def encode(table: Palette) -> bytes:
    """Return a palette as the bytes of a CSV table that tables.read reads back.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front, which tables.read takes off again.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "name", "synonyms", "r", "g", "b"])
    writer.writerows(
        [each.index, tables.escape_formula(each.name), tables.escape_formula("|".join(each.synonyms)), *each.rgb]
        for each in table
    )
    return text.getvalue().encode()
