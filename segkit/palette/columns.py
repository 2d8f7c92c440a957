"""Which column of a palette table holds what: by its heading, or by its cells if the table has no heading row."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise, takewhile

from segkit.errors import PaletteError
from segkit.palette.color import channel, parse

Records = list[tuple[int, list[str]]]
"""Line number in the file, or row number in the sheet, from 1, and the cells of the row."""

_SPELLINGS = {
    "index": ("index", "idx", "id", "classid", "classindex"),
    "name": ("name", "classname", "class", "label"),
    "synonyms": ("synonyms", "aliases"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
    "rgb": ("rgb", "(r,g,b)", "colorcode(r,g,b)", "color", "colour"),
    "hex": ("hex", "colorcode(hex)", "hexcode"),
}
"""Accepted headings of each column, in order of precedence: a widely copied ADE20K sheet has a column
Color_Code (R,G,B) beside an empty one called Color."""

MAX_TITLE_ROWS = 4
"""Rows allowed above the heading row, for titles."""

_EXAMINED = 300
"""Rows that suffice to recognise columns by their cells; a palette has at most 255."""

_MANY = 5
"""Steps from which on counting is not by chance."""

_NUMBER = re.compile(r"[-+]?[0-9]+([.,][0-9]+)?(e[-+]?[0-9]+)?\s*%?", re.ASCII | re.IGNORECASE)


def heading_row(records: Records) -> int | None:
    """Return the position of the first row that names the columns; None if none of the first rows does."""
    for position, (_, cells) in enumerate(records[: MAX_TITLE_ROWS + 1]):
        try:
            by_heading(cells, "")
        except PaletteError:
            continue
        return position
    return None


def by_heading(cells: Sequence[str], source: str) -> dict[str, int]:
    """Return the position of each recognised column.

    Args:
        cells: the heading row.
        source: display name of the table in messages.

    Raises:
        PaletteError: a required column is missing, or two have the same heading.
    """
    headings = [re.sub(r"[\s_]", "", cell).lower() for cell in cells]
    columns = {}
    for column, spellings in _SPELLINGS.items():
        spelling = next((spelling for spelling in spellings if spelling in headings), None)
        if spelling:
            columns[column] = headings.index(spelling)
            if (number := headings.count(spelling)) > 1:
                raise PaletteError(f"{source}: {number} columns called {cells[columns[column]].strip()}; expected one.")
    missing = [] if "name" in columns else ["name"]
    if not ({"r", "g", "b"} <= columns.keys() or "rgb" in columns or "hex" in columns):
        missing.append("r, g and b (or rgb, or hex)")
    if missing:
        shown = ", ".join(" ".join(cell.split()) for cell in cells)[:80]
        raise PaletteError(
            f"{source}: no column {' and no column '.join(missing)}; the header is: {shown}. "
            "Begin the table with a row such as index,name,r,g,b."
        )
    return columns


def by_cells(records: Records) -> list[str] | None:
    """Return headings for a table without a heading row, "" for columns to ignore.

    Columns are recognised by what most of their cells hold: three channels or one colour, the name, and optionally the
    index, which counts, and synonyms.

    Returns:
        The headings; None if the first row is not a class, or if the columns can be understood in several ways.
    """
    examined = [[cell.strip() for cell in cells] for _, cells in without_titles(records)[:_EXAMINED]]
    if not examined:
        return None
    width = Counter(map(len, examined)).most_common(1)[0][0]
    columns = [[cells[place] if place < len(cells) else "" for cells in examined] for place in range(width)]
    headings = _assigned(columns)
    if not headings:
        return None
    # Otherwise it may be a heading row in other words, which could put blue first.
    first_is_a_class = any(
        _is_number(cells[0]) or _is_color(cells[0])
        for heading, cells in zip(headings, columns, strict=True)
        if heading not in ("", "name", "synonyms")
    )
    return headings if first_is_a_class else None


def without_titles(records: Records) -> Records:
    """Return the rows without those above the first that has several cells."""
    titles = takewhile(lambda record: sum(map(bool, map(str.strip, record[1]))) < 2, records[:MAX_TITLE_ROWS])
    return records[len(list(titles)) :]


def letters(number: int) -> str:
    """Return the letters of a sheet's column, numbered from 1: A to Z, AA, AB ..."""
    text = ""
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def _assigned(columns: list[list[str]]) -> list[str] | None:
    kinds = [_kind(cells) for cells in columns]
    texts, colors, numbers = (
        [place for place, kind in enumerate(kinds) if kind == wanted] for wanted in ("text", "color", "number")
    )
    index = [place for place in numbers if _counts(columns[place])][:1] if colors or len(numbers) == 4 else []
    channels = [place for place in numbers if place not in index]
    if len(texts) == 2 and not any("|" in cell or not cell for cell in columns[texts[1]]):
        return None  # two names for each class, perhaps in two languages
    if not 1 <= len(texts) <= 2 or len(colors) > 2 or not (colors or len(channels) == 3):
        return None
    places = dict(zip(index, ["index"], strict=False))
    places |= dict(zip(texts, ["name", "synonyms"], strict=False))
    places |= dict(zip(colors, ["rgb", "hex"], strict=False))  # both are parsed alike
    if len(channels) == 3:
        places |= dict(zip(channels, "rgb", strict=True))
    return [places.get(place, "") for place in range(len(columns))]


def _kind(cells: list[str]) -> str:
    """Return what most of the cells hold: "color", "number" (a channel or an index), "text" or "other"."""
    filled = [cell for cell in cells if cell]

    def most(is_kind: Callable[[str], bool]) -> bool:
        return 2 * sum(map(is_kind, filled)) > len(filled)

    if not filled or most(_is_number):
        return "number" if filled else "other"
    # Digits alone may be counts, such as the number of pictures with a class.
    if most(_is_color) and not all(cell.isdigit() for cell in filled):
        return "color"
    return "other" if most(lambda cell: bool(_NUMBER.fullmatch(cell))) else "text"


def _is_number(cell: str) -> bool:
    return _parses(channel, cell)


def _is_color(cell: str) -> bool:
    return _parses(parse, cell)


def _parses(parser: Callable[[str], object], cell: str) -> bool:
    try:
        parser(cell)
    except ValueError:
        return False
    return True


def _counts(cells: list[str]) -> bool:
    """Report whether the cells count up by 1 with few exceptions, or hold 0 to n-1 or 1 to n in any order."""
    values = [channel(cell) for cell in cells if _is_number(cell)]
    steps = [later - earlier for earlier, later in pairwise(values)]
    # A few channels may count by chance.
    in_order = 2 * steps.count(1) > len(steps) and (values[0] in (0, 1) or len(steps) >= _MANY)
    return in_order or sorted(values) in (list(range(len(values))), list(range(1, len(values) + 1)))
