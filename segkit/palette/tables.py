"""Strict reading of palette tables (CSV, TSV, GIMP, JSON): every irregularity is reported with its line.

Cells are read as text and parsed here: pandas would turn a class called "null" into NaN and all-digit hex into floats.
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
"""Pixels of a map hold 0 to 254; 255 means unlabelled."""

_MASKED = re.compile(r"^'(?='*[=+@-])")
"""The apostrophe in front of a cell that a spreadsheet would take for a formula."""

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
"""Accepted headers of each column, in order of precedence: a widely copied ADE20K sheet has a column
Color_Code (R,G,B) beside an empty one called Color."""


@dataclass(frozen=True)
class Swatch:
    """One class of a palette.

    Attributes:
        index: 0 to 254, the pixel value in control maps.
        name: the primary name.
        synonyms: other names of the class, without the primary one.
        rgb: sRGB, 8 bits a channel.
        line: line of the file or sheet that it was read from, counted from 1; 0 for other origins.
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
"""Rows allowed above the header, for titles."""

_MERGED = " (in merged cells only the first row holds the value)"


def read(path: Path) -> tuple[list[Swatch], list[Problem]]:
    """Read a palette table with a header row: CSV with commas, semicolons or tabs, a GIMP palette (.gpl) or .json.

    Columns are recognised by name: index (or idx, id), name (or class, label), synonyms separated by `|`, and the
    colour as r, g, b, as one column rgb "(r, g, b)", or as hex. Without an index column rows are numbered from 0; an
    index column that counts 1 to n is shifted to 0 to n-1.

    Returns:
        The readable rows in index order, and the problems of the table (severity "error"). Without problems the
        indices are 0 to n-1, with n at most 255.

    Raises:
        PaletteError: the file as a whole is not a palette table.
    """
    return from_rows(formats.rows(path), str(path))


def from_rows(records: Records, source: str) -> tuple[list[Swatch], list[Problem]]:
    """Interpret the rows of a palette table; see `read` for columns and return value.

    Args:
        records: line number, from 1, and cells of each row, the header first.
        source: display name of the table in messages: a path, or the title of a sheet.

    Raises:
        PaletteError: the rows as a whole are not a palette table.
    """
    records = records[header_row(records) :]
    _require_rows(records, source)
    header = records[0][1]
    columns = _header(header, source)
    swatches: list[Swatch] = []
    problems: list[Problem] = []
    name = PurePath(source).name
    for position, (line, cells) in enumerate(records[1:]):
        try:
            swatches.append(_swatch(_aligned(cells, header), columns, position, line))
        except ValueError as error:
            place = f"{name}, line {line}"
            problems.append(Problem("unreadable-row", "error", place, f"{place}: {error}.", "Correct the cell."))
    total = len(records) - 1
    problems += _numbering(swatches, total, name)
    swatches = sorted(_from_zero(swatches, total), key=lambda swatch: swatch.index)
    return swatches, problems + _black_first(swatches, total, name)


def header_row(records: Records) -> int:
    """Return the position of the first row that names the columns, or 0 if none of the first rows does."""
    for position, (_, cells) in enumerate(records[: MAX_TITLE_ROWS + 1]):
        try:
            _header(cells, "")
        except PaletteError:
            continue
        return position
    return 0


def _require_rows(records: Records, source: str) -> None:
    if len(records) < 2:
        raise PaletteError(f"{source}: no rows. Expected a header such as index,name,r,g,b and one row per class.")
    if (rows := len(records) - 1) > MAX_CLASSES:
        raise PaletteError(
            f"{source}: {rows:,} rows; a palette has at most {MAX_CLASSES} classes, 0 to {MAX_CLASSES - 1}."
        )


def _header(cells: list[str], source: str) -> dict[str, int]:
    """Return the cell position of each recognised column; raise PaletteError if a required one is missing."""
    headings = [re.sub(r"[\s_]", "", cell).lower() for cell in cells]
    columns = {}
    for column, spellings in _COLUMNS.items():
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
        raise PaletteError(f"{source}: no column {' and no column '.join(missing)}; the header is: {shown}.")
    return columns


def _aligned(cells: list[str], header: list[str]) -> list[str]:
    """Pad a row to the length of the header; surplus cells must be empty."""
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
    """Prefix a cell that a spreadsheet would take for a formula with an apostrophe; `read` removes it again."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) or _MASKED.match(cell) else cell


def _index(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > MAX_CLASSES:
        hint = "" if text else _MERGED
        raise ValueError(
            f"{text[:40]!r} is not a class index; expected a whole number from 0 to {MAX_CLASSES - 1}{hint}"
        )
    return int(text)


def _color(cell: Callable[[str], str]) -> RGB:
    """Parse the colour of a row; if several columns hold it, they must agree."""
    colors: dict[str, RGB] = {}
    if any(map(cell, "rgb")):
        colors["r, g, b"] = channel(cell("r")), channel(cell("g")), channel(cell("b"))
    for column in ("rgb", "hex"):
        if text := cell(column):
            colors[column] = parse(text)
    if not colors:
        raise ValueError(f"the class has no colour{_MERGED}")
    if len(set(colors.values())) > 1:
        raise ValueError("its colours disagree: " + ", ".join(f"{k} is {to_hex(v)}" for k, v in colors.items()))
    return next(iter(colors.values()))


def _counts_from_one(swatches: list[Swatch], total: int) -> bool:
    """Report whether the indices are 1 to n; if neither count nor maximum fits, row 0 may be the unreadable one."""
    indices = [swatch.index for swatch in swatches]
    return bool(indices) and min(indices) == 1 and total in (len(indices), max(indices))


def _from_zero(swatches: list[Swatch], total: int) -> list[Swatch]:
    if not _counts_from_one(swatches, total):
        return swatches
    return [replace(swatch, index=swatch.index - 1) for swatch in swatches]


def _numbering(swatches: list[Swatch], total: int, name: str) -> list[Problem]:
    """Report repeated and missing indices, in the numbering of the file."""
    first = int(_counts_from_one(swatches, total))
    faults: list[tuple[str, str, str]] = []
    lines: dict[int, int] = {}
    for swatch in swatches:
        if (earlier := lines.setdefault(swatch.index, swatch.line)) != swatch.line:
            place = f"{name}, line {swatch.line}"
            faults.append(
                ("repeated-index", place, f"{place}: index {swatch.index} is already used in line {earlier}.")
            )
    highest = max(lines, default=0)
    missing = [str(index) for index in range(first, highest) if index not in lines]
    if missing and len(swatches) == total:  # an unreadable row explains a gap, and is reported already
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        message = f"{name}: no class has index {shown}; expected {first} to {highest} without gaps."
        faults.append(("index-gap", name, message))
    cure = "Number the classes from 0 without gaps."
    return [Problem(rule, "error", place, message, cure) for rule, place, message in faults]


def _black_first(swatches: list[Swatch], total: int, name: str) -> list[Problem]:
    """Recognise a published ADE20K list of 151 colours that includes "unlabelled" as class 0."""
    if total != 151 or not swatches or swatches[0].rgb != (0, 0, 0):
        return []
    message = (
        f"{name}: 151 rows with black first. That list counts 'unlabelled' as class 0 and shifts every class by one; "
        "painting 0-based labels with it turns walls black and gives buildings the colour of walls."
    )
    cure = "Delete the black row and number the classes from 0 (wall)."
    return [Problem("black-first", "error", f"{name}, first row", message, cure)]
