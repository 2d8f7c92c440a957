"""Palette tables as people keep them: strict reading of CSV and TSV, with every oddity named by its line.

Everything is read as text and parsed here: pandas turns a class called "null" into NaN and all-digit hex into floats.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from segkit.color import RGB, channel, parse, to_hex
from segkit.errors import PaletteError
from segkit.problem import Problem

LARGEST = 4 << 20
"""Bytes. A table of 255 classes has some tens of kilobytes; more is a wrong file."""

_COLUMNS = {
    "index": ("index", "idx", "id"),
    "name": ("name", "class", "label", "classname"),
    "synonyms": ("synonyms", "aliases"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
    "rgb": ("rgb", "color", "colour", "colorcode(r,g,b)", "(r,g,b)"),
    "hex": ("hex", "colorcode(hex)", "hexcode"),
}


@dataclass(frozen=True)
class Swatch:
    """One class of a palette.

    Attributes:
        index: 0 to 254, what a control map's pixels hold.
        name: the primary name.
        synonyms: other names for the class, the primary not among them.
        rgb: sRGB, 8 bits a channel.
    """

    index: int
    name: str
    synonyms: tuple[str, ...]
    rgb: RGB

    @property
    def hex(self) -> str:
        """The colour as "#RRGGBB"."""
        return to_hex(self.rgb)


def read(path: Path) -> tuple[list[Swatch], list[Problem]]:
    """Read a palette table: comma, semicolon or tab, with a header line.

    Columns are told by name: index (or idx, id), name (or class, label), synonyms separated by `|`, and the colour as
    r, g, b, as one column rgb "(r, g, b)", or as hex. Without an index column rows count from 0; an index column that
    counts 1..n is taken for 0..n-1.

    Returns:
        The rows that could be read, in index order, and what is wrong with the others (severity "error").

    Raises:
        PaletteError: the file as a whole is no table.
    """
    lines = _records(_text(path), path)
    columns = _header(lines[0][1], path)
    swatches: list[Swatch] = []
    problems: list[Problem] = []
    for number, cells in lines[1:]:
        place = f"{path.name}, line {number}"
        try:
            swatches.append(_swatch(cells, columns, len(swatches) + len(problems)))
        except ValueError as error:
            problems.append(Problem("unreadable-row", "error", place, f"{place}: {error}.", "Correct the cell."))
    swatches, numbering = _from_zero(swatches, path.name)
    return swatches, problems + numbering + _black_first(swatches, len(lines) - 1, path.name)


def _text(path: Path) -> str:
    if not path.is_file():
        raise PaletteError(f"{path}: no such file. Expected a palette table such as ade20k.csv.")
    if (size := path.stat().st_size) > LARGEST:
        raise PaletteError(f"{path}: {size:,} bytes is no palette table; expected at most {LARGEST:,}.")
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise PaletteError(f"{path}: the text is UTF-16. Save it as CSV UTF-8 and try again.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PaletteError(f"{path}, line {line}: not UTF-8 text. Save it as CSV UTF-8 and try again.") from None


def _records(text: str, path: Path) -> list[tuple[int, list[str]]]:
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    try:
        found = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise PaletteError(f"{path}: not a table: {error}.") from None
    if len(found) < 2:
        raise PaletteError(f"{path}: no rows. Expected a header such as index,name,r,g,b and one line a class.")
    return found


def _header(cells: list[str], path: Path) -> dict[str, int]:
    written = [re.sub(r"[\s_]", "", cell).lower() for cell in cells]
    columns = {}
    for column, spellings in _COLUMNS.items():
        places = [place for place, cell in enumerate(written) if cell in spellings]
        if len(places) > 1:
            raise PaletteError(f"{path}: {len(places)} columns called {column}; expected one.")
        if places:
            columns[column] = places[0]
    missing = [] if "name" in columns else ["name"]
    if not ({"r", "g", "b"} <= columns.keys() or "rgb" in columns or "hex" in columns):
        missing.append("r, g and b (or rgb, or hex)")
    if missing:
        shown = ", ".join(cells)[:80]
        raise PaletteError(f"{path}: no column {' and no column '.join(missing)}; the header is: {shown}.")
    return columns


def _swatch(cells: list[str], columns: dict[str, int], position: int) -> Swatch:
    def cell(column: str) -> str:
        place = columns[column]
        return cells[place].strip() if place < len(cells) else ""

    name = cell("name")
    if not name:
        raise ValueError("the class has no name")
    index = position
    if "index" in columns:
        index = _index(cell("index"))
    synonyms = cell("synonyms").split("|") if "synonyms" in columns else []
    others = dict.fromkeys(word.strip() for word in synonyms if word.strip() and word.strip() != name)
    return Swatch(index, name, tuple(others), _colour(columns, cell))


def _index(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > 255:
        raise ValueError(f"{text!r} is no class index; expected a whole number from 0 to 254")
    return int(text)


def _colour(columns: dict[str, int], cell: object) -> RGB:
    assert callable(cell)
    found: dict[str, RGB] = {}
    if {"r", "g", "b"} <= columns.keys():
        found["r, g, b"] = channel(cell("r")), channel(cell("g")), channel(cell("b"))
    for column in ("rgb", "hex"):
        if column in columns and (cell(column) or not found):
            found[column] = parse(cell(column))
    if len(set(found.values())) > 1:
        raise ValueError("its colours disagree: " + ", ".join(f"{k} says {to_hex(v)}" for k, v in found.items()))
    return next(iter(found.values()))


def _from_zero(swatches: list[Swatch], name: str) -> tuple[list[Swatch], list[Problem]]:
    ordered = sorted(swatches, key=lambda swatch: swatch.index)
    indices = [swatch.index for swatch in ordered]
    if indices == list(range(1, len(indices) + 1)):
        return [Swatch(s.index - 1, s.name, s.synonyms, s.rgb) for s in ordered], []
    twice = sorted({index for index in indices if indices.count(index) > 1})
    return ordered, [
        Problem("repeated-index", "error", name, f"{name}: index {index} stands twice.", "Number the classes from 0.")
        for index in twice
    ]


def _black_first(swatches: list[Swatch], rows: int, name: str) -> list[Problem]:
    if rows != 151 or not swatches or swatches[0].rgb != (0, 0, 0):
        return []
    message = (
        f"{name}: 151 rows with black first. That list counts 'unlabelled' as class 0 and shifts every class by one; "
        "painting 0-based labels with it makes walls black and buildings wall-coloured."
    )
    cure = "Delete the black row and number the classes from 0 (wall)."
    return [Problem("black-first", "error", f"{name}, first row", message, cure)]
