"""New classes for a palette, in colours as far as possible from all others."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice

from segkit.errors import PaletteError
from segkit.palette import counterparts, tables
from segkit.palette.color import BLACK, RGB, WHITE
from segkit.palette.free_colors import FreeColor, farthest
from segkit.palette.palette import SHIPPED, UNLABELLED, Palette
from segkit.palette.tables import Swatch


def suggest(swatches: Iterable[Swatch], number: int) -> list[FreeColor]:
    """Suggest colours for new classes, each the farthest possible from all used colours and the suggestions before it.

    Colours in use are those of the given classes, of ADE20K and COCO (control_v11p_sd15_seg knows both), black
    (unlabelled) and white (many tools draw outlines in it).

    Args:
        swatches: classes whose colours are in use.
        number: how many colours to suggest.
    """
    taken: list[RGB] = [BLACK, WHITE, *(swatch.rgb for swatch in swatches)]
    taken += [swatch.rgb for name in SHIPPED for swatch in Palette.load(name)]
    return list(islice(farthest(taken), number))


def extended(palette: Palette, names: Sequence[str], name: str) -> Palette:
    """Return a palette with new classes appended.

    Args:
        palette: the palette to extend.
        names: names of the new classes.
        name: name of the new palette.

    Raises:
        PaletteError: a name is empty, repeated, looks like a formula, or is another form of a known one, such as its
            plural; or the palette would exceed 255 classes.
    """
    if len(set(map(counterparts.spelling, names))) < len(names):
        raise PaletteError(f"A new class is named twice in {', '.join(names)}; use each name once.")
    if len(palette) + len(names) > UNLABELLED:
        room = UNLABELLED - len(palette)
        raise PaletteError(
            f"{len(names)} new classes do not fit: {palette.name} has {len(palette)}, which leaves room for {room}."
        )
    for new_name in names:
        _check_name(new_name, palette)
    indices = range(len(palette), len(palette) + len(names))
    colors = suggest(palette, len(names))
    swatches = [
        Swatch(index, new_name, (), free.rgb) for index, new_name, free in zip(indices, names, colors, strict=True)
    ]
    return Palette(name, (*palette, *swatches))


def _check_name(name: str, palette: Palette) -> None:
    if not name.strip() or not name.isprintable() or name != " ".join(name.split()):
        raise PaletteError(f"{name!r} is not a valid class name; expected printable words separated by single spaces.")
    if tables.escape_formula(name) != name:
        raise PaletteError(
            f"{name!r} is not a valid class name: spreadsheets take it for a formula. Begin it with a letter."
        )
    if palette.candidates(name):
        existing = palette.find(name)  # raises if it means several classes
        raise PaletteError(
            f"{name!r} is already class {existing.index} of {palette.name} ({existing.name}). Leave it out."
        )
    if similar := counterparts.resembling(name, palette):
        raise PaletteError(
            f"{name!r} is another form of class {similar.index} of {palette.name} ({similar.name}). Leave it out, or "
            "use a name that says how it differs."
        )


def encode(palette: Palette) -> bytes:
    """Encode a palette as a UTF-8 CSV table that tables.read restores exactly.

    A cell that a spreadsheet would take for a formula is prefixed with an apostrophe, which tables.read removes.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "name", "synonyms", "r", "g", "b"])
    for swatch in palette:
        name, synonyms = tables.escape_formula(swatch.name), tables.escape_formula("|".join(swatch.synonyms))
        writer.writerow([swatch.index, name, synonyms, *swatch.rgb])
    return text.getvalue().encode()
