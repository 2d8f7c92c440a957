"""Palette tables as people keep them: strict reading of CSV and TSV, with every oddity named by its line.

Everything is read as text and parsed here: pandas turns a class called "null" into NaN and all-digit hex into floats.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from segkit.errors import PaletteError
from segkit.palette import formats
from segkit.palette.color import RGB, channel, parse, to_hex
from segkit.palette.formats import Records
from segkit.problem import Problem

MAX_CLASSES = 255
"""A map's pixels hold 0 to 254; 255 means unlabelled."""

_MASKED = re.compile(r"^'(?='*[=+@-])")
"""The apostrophe before what a spreadsheet would take for a formula."""

_COLUMNS = {
    "index": ("index", "idx", "id", "classid", "classindex"),
    "name": ("name", "classname", "class", "label"),
    "synonyms": ("synonyms", "aliases"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
    "rgb": ("rgb", "(r,g,b)", "colorcode(r,g,b)", "color", "colour"),
    "hex": ("hex", "colorcode(hex)", "hexcode"),
}
"""How each column may be called. Of several in one header the first counts: the sheet that many copied has a column
Color_Code (R,G,B) and an empty one Color."""


@dataclass(frozen=True)
class Swatch:
    """One class of a palette.

    Attributes:
        index: 0 to 254, what a control map's pixels hold.
        name: the primary name.
        synonyms: other names for the class, the primary not among them.
        rgb: sRGB, 8 bits a channel.
        line: of the file or sheet that it was read from, from 1; 0 elsewhere.
    """

    index: int
    name: str
    synonyms: tuple[str, ...]
    rgb: RGB
    line: int = field(default=0, compare=False, repr=False)

    @property
    def hex(self) -> str:
        """The colour as "#RRGGBB"."""
        return to_hex(self.rgb)


MAX_TITLE_ROWS = 4
"""Lines that may stand above the header."""

_MERGED = " (of merged cells only the first row has the value)"


def read(path: Path) -> tuple[list[Swatch], list[Problem]]:
    """Read a palette table: comma, semicolon or tab, with a header line; a GIMP palette (.gpl), or JSON (.json).

    Columns are told by name: index (or idx, id), name (or class, label), synonyms separated by `|`, and the colour as
    r, g, b, as one column rgb "(r, g, b)", or as hex. Without an index column rows count from 0; an index column that
    counts 1..n is taken for 0..n-1.

    Returns:
        The rows that could be read, in index order, and what is wrong with the table (severity "error"). Without
        problems the indices are 0 to n-1, n at most 255.

    Raises:
        PaletteError: the file as a whole is no table.
    """
    return from_rows(formats.rows(path), str(path))


def from_rows(lines: Records, source: str) -> tuple[list[Swatch], list[Problem]]:
    """Read the rows of a table, the header first; what is asked and returned is told by `read`.

    Args:
        lines: each row's number in its file or sheet, from 1, and its cells.
        source: what messages call the table: a path, or a sheet's title.

    Raises:
        PaletteError: it is no table as a whole.
    """
    lines = lines[header_row(lines) :]
    _require_rows(lines, source)
    header = lines[0][1]
    columns = _header(header, source)
    rows: list[Swatch] = []
    problems: list[Problem] = []
    name = PurePath(source).name
    for position, (line, cells) in enumerate(lines[1:]):
        try:
            rows.append(_swatch(_aligned(cells, header), columns, position, line))
        except ValueError as error:
            place = f"{name}, line {line}"
            problems.append(Problem("unreadable-row", "error", place, f"{place}: {error}.", "Correct the cell."))
    problems += _numbering(rows, len(lines) - 1, name)
    swatches = sorted(_from_zero(rows, len(lines) - 1), key=lambda swatch: swatch.index)
    return swatches, problems + _black_first(swatches, len(lines) - 1, name)


def header_row(lines: Records) -> int:
    """Return which of the first rows names the columns; the first if none does."""
    for place, (_, cells) in enumerate(lines[: MAX_TITLE_ROWS + 1]):
        try:
            _header(cells, "")
        except PaletteError:
            continue
        return place
    return 0


def _require_rows(found: Records, source: str) -> None:
    if len(found) < 2:
        raise PaletteError(f"{source}: no rows. Expected a header such as index,name,r,g,b and one line a class.")
    if (rows := len(found) - 1) > MAX_CLASSES:
        raise PaletteError(
            f"{source}: {rows:,} rows; a palette has at most {MAX_CLASSES} classes, 0 to {MAX_CLASSES - 1}."
        )


def _header(cells: list[str], source: str) -> dict[str, int]:
    written = [re.sub(r"[\s_]", "", cell).lower() for cell in cells]
    columns = {}
    for column, spellings in _COLUMNS.items():
        spelling = next((spelling for spelling in spellings if spelling in written), None)
        if spelling:
            columns[column] = written.index(spelling)
            if (number := written.count(spelling)) > 1:
                raise PaletteError(f"{source}: {number} columns called {cells[columns[column]].strip()}; expected one.")
    missing = [] if "name" in columns else ["name"]
    if not ({"r", "g", "b"} <= columns.keys() or "rgb" in columns or "hex" in columns):
        missing.append("r, g and b (or rgb, or hex)")
    if missing:
        shown = ", ".join(" ".join(cell.split()) for cell in cells)[:80]
        raise PaletteError(f"{source}: no column {' and no column '.join(missing)}; the header is: {shown}.")
    return columns


def _aligned(cells: list[str], header: list[str]) -> list[str]:
    """Bring a row to the header's length; only empty cells may be missing or too many."""
    if any(cell.strip() for cell in cells[len(header) :]):
        raise ValueError(f"{len(cells)} cells, the header has {len(header)}; quote a cell that holds the separator")
    return cells + [""] * (len(header) - len(cells))


def _swatch(cells: list[str], columns: dict[str, int], position: int, line: int) -> Swatch:
    texts = {column: _MASKED.sub("", " ".join(cells[place].split())) for column, place in columns.items()}

    def cell(column: str) -> str:
        return texts.get(column, "")

    name = cell("name")
    if not name:
        raise ValueError(f"the class has no name{_MERGED}")
    if not name.isprintable():
        raise ValueError(f"the name {name!r} holds invisible characters")
    index = _index(cell("index")) if "index" in columns else position
    words = (word.strip() for word in cell("synonyms").split("|"))
    synonyms = tuple(dict.fromkeys(word for word in words if word not in ("", name)))
    return Swatch(index, name, synonyms, _color(cell), line)


def escape_formula(cell: str) -> str:
    """Return a cell as one that no spreadsheet takes for a formula; read gives the same text back."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) or _MASKED.match(cell) else cell


def _index(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > MAX_CLASSES:
        hint = "" if text else _MERGED
        raise ValueError(f"{text[:40]!r} is no class index; expected a whole number from 0 to {MAX_CLASSES - 1}{hint}")
    return int(text)


def _color(cell: Callable[[str], str]) -> RGB:
    """Read the colour of a row; one that is written in several columns must be the same in all."""
    found: dict[str, RGB] = {}
    if any(map(cell, "rgb")):
        found["r, g, b"] = channel(cell("r")), channel(cell("g")), channel(cell("b"))
    for column in ("rgb", "hex"):
        if text := cell(column):
            found[column] = parse(text)
    if not found:
        raise ValueError(f"the class has no colour{_MERGED}")
    if len(set(found.values())) > 1:
        raise ValueError("its colours disagree: " + ", ".join(f"{k} says {to_hex(v)}" for k, v in found.items()))
    return next(iter(found.values()))


def _counts_from_one(rows: list[Swatch], total: int) -> bool:
    indices = [swatch.index for swatch in rows]
    return bool(indices) and min(indices) == 1 and total in (len(indices), max(indices))  # else row 0 is unreadable


def _from_zero(rows: list[Swatch], total: int) -> list[Swatch]:
    if not _counts_from_one(rows, total):
        return rows
    return [replace(swatch, index=swatch.index - 1) for swatch in rows]


def _numbering(rows: list[Swatch], total: int, name: str) -> list[Problem]:
    """Report indices, as the file writes them, that stand twice or are missing."""
    first = int(_counts_from_one(rows, total))
    found: list[tuple[str, str, str]] = []
    lines: dict[int, int] = {}
    for swatch in rows:
        if (before := lines.setdefault(swatch.index, swatch.line)) != swatch.line:
            place = f"{name}, line {swatch.line}"
            found.append(("repeated-index", place, f"{place}: index {swatch.index} stands in line {before} already."))
    highest = max(lines, default=0)
    missing = [str(index) for index in range(first, highest) if index not in lines]
    if missing and len(rows) == total:  # else the unreadable row is the reason
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        message = f"{name}: no class has index {shown}; expected {first} to {highest} without gaps."
        found.append(("index-gap", name, message))
    cure = "Number the classes from 0 without gaps."
    return [Problem(rule, "error", place, message, cure) for rule, place, message in found]


def _black_first(swatches: list[Swatch], rows: int, name: str) -> list[Problem]:
    if rows != 151 or not swatches or swatches[0].rgb != (0, 0, 0):
        return []
    message = (
        f"{name}: 151 rows with black first. That list counts 'unlabelled' as class 0 and shifts every class by one; "
        "painting 0-based labels with it makes walls black and buildings wall-coloured."
    )
    cure = "Delete the black row and number the classes from 0 (wall)."
    return [Problem("black-first", "error", f"{name}, first row", message, cure)]
