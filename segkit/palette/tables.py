"""Strict reading of palette tables: every irregularity is reported with its line.

Cells are read as text and parsed here: pandas would turn a class called "null" into NaN and all-digit hex into floats.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TypeVar

from segkit.errors import PaletteError
from segkit.palette import columns, formats
from segkit.palette.color import RGB, channel, parse, to_hex
from segkit.palette.columns import Records
from segkit.problem import Problem
from segkit.words import count

Value = TypeVar("Value")

MAX_CLASSES = 255
"""Pixels of a map hold 0 to 254; 255 means unlabelled."""

_INDEX = re.compile(r"([0-9]{1,3})(?:[.,]0+)?", re.ASCII)
_FRACTIONS = r"[\s()\[\]]*[0-9]+(\.[0-9]+)?([\s,;]+[0-9]+(\.[0-9]+)?){0,2}[\s()\[\]]*"
"""One or three numbers."""

_MASKED = re.compile(r"^'(?='*[=+@-])")
"""The apostrophe in front of a cell that a spreadsheet would take for a formula."""


@dataclass(frozen=True)
class Swatch:
    """One class of a palette.

    Attributes:
        index: 0 to 254, the pixel value in control maps.
        name: the primary name.
        synonyms: other names of the class, without the primary one.
        rgb: sRGB, 8 bits a channel.
        line: line of the file or sheet that it was read from, counted from 1; 0 for other origins.
        counted_from: the first index of the table that it was read from, 0 or 1.
    """

    index: int
    name: str
    synonyms: tuple[str, ...]
    rgb: RGB
    line: int = field(default=0, compare=False, repr=False)
    counted_from: int = field(default=0, compare=False, repr=False)

    @property
    def hex(self) -> str:
        """The colour as "#RRGGBB"."""
        return to_hex(self.rgb)


_MERGED = " (in merged cells only the first row holds the value)"


@dataclass(frozen=True)
class Source:
    """Where a table is from, to name places in it.

    Attributes:
        name: path of the file, or title of the sheet.
        is_sheet: whether cells have names such as C7.
    """

    name: str
    is_sheet: bool = False

    @property
    def title(self) -> str:
        """The file's name without its folder, or the title of the sheet."""
        return self.name if self.is_sheet else PurePath(self.name).name

    def row(self, line: int) -> str:
        """Return the name of a line or row within the table."""
        return f"row {line}" if self.is_sheet else f"line {line}"

    def cell(self, line: int, place: int, header: Sequence[str]) -> str:
        """Return the name of a cell within the table.

        Args:
            line: line or row number, from 1.
            place: position of the column, from 0.
            header: headings of the columns.
        """
        if self.is_sheet:
            return f"cell {columns.letters(place + 1)}{line}"
        heading = " ".join(header[place].split())
        numbered = f"{place + 1} ({heading})"
        return f"line {line}, column {heading if self.name.lower().endswith('.json') else numbered}"


class _CellError(ValueError):
    """An unreadable cell; `column` is a key of the recognised columns."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def read(path: Path) -> tuple[list[Swatch], list[Problem]]:
    """Read a palette table: separated by commas, semicolons, tabs or pipes, Markdown, a GIMP palette (.gpl) or .json.

    Columns are recognised by name: index (or idx, id), name (or class, label), synonyms separated by `|`, and the
    colour as r, g, b, as one column rgb "(r, g, b)", or as hex. Without a heading row they are recognised by their
    cells; see `columns.by_cells`. Without an index column rows are numbered from 0; an index column that counts 1 to n
    is shifted to 0 to n-1.

    Returns:
        The readable rows in index order, and the problems of the table (severity "error"). Without problems the
        indices are 0 to n-1, with n at most 255.

    Raises:
        PaletteError: the file as a whole is not a palette table.
    """
    return from_rows(formats.rows(path), Source(str(path)))


def from_rows(records: Records, source: Source) -> tuple[list[Swatch], list[Problem]]:
    """Interpret the rows of a palette table; see `read` for columns and return value.

    Args:
        records: line number, from 1, and cells of each row.
        source: where they are from.

    Raises:
        PaletteError: the rows as a whole are not a palette table.
    """
    position = columns.heading_row(records)
    headings = columns.by_cells(records) if position is None else None
    records = [(0, headings), *columns.without_titles(records)] if headings else records[position or 0 :]
    _require_rows(records, source.name)
    header = records[0][1]
    places = columns.by_heading(header, source.name)
    _refuse_fractions(records, places, source)
    swatches: list[Swatch] = []
    problems: list[Problem] = []
    for number, (line, cells) in enumerate(records[1:]):
        try:
            swatches.append(_swatch(_aligned(cells, header), places, number, line))
        except _CellError as error:
            problems.append(_unreadable(source, source.cell(line, places[error.column], header), error))
        except ValueError as error:
            problems.append(_unreadable(source, source.row(line), error))
    total = len(records) - 1
    problems += _numbering(swatches, total, source, lambda line: source.cell(line, places["index"], header))
    swatches = sorted(_from_zero(swatches, total), key=lambda swatch: swatch.index)
    return swatches, problems + _black_first(swatches, total, source.title)


def _unreadable(source: Source, place: str, error: ValueError) -> Problem:
    place = f"{source.title}, {place}"
    return Problem("unreadable-row", "error", place, f"{place}: {error}.", "Correct the cell.")


def _require_rows(records: Records, source: str) -> None:
    if len(records) < 2:
        raise PaletteError(f"{source}: no rows. Expected a header such as index,name,r,g,b and one row per class.")
    if (rows := len(records) - 1) > MAX_CLASSES:
        raise PaletteError(
            f"{source}: {rows:,} rows; a palette has at most {MAX_CLASSES} classes, 0 to {MAX_CLASSES - 1}."
        )


def _refuse_fractions(records: Records, places: dict[str, int], source: Source) -> None:
    """Refuse colours of 0 to 1: where they are all written 0.0 or 1.0, they would be read as nearly black."""
    chosen = [places[column] for column in "rgb" if column in places] or [places.get("rgb", places.get("hex", 0))]
    cells = [cells[place] for _, cells in records[1:] for place in chosen if place < len(cells)]
    numbers = [cell.replace(",", ".") if len(chosen) == 3 else cell for cell in cells if cell.strip()]
    values = [re.findall(r"[0-9]+\.?[0-9]*", number) for number in numbers if re.fullmatch(_FRACTIONS, number)]
    flat = [value for group in values for value in group]
    if len(values) == len(numbers) and any("." in value for value in flat) and max(map(float, flat)) <= 1:
        raise PaletteError(
            f"{source.name}: the colours run from 0 to 1; expected channels from 0 to 255. Multiply them by 255."
        )


def _aligned(cells: list[str], header: list[str]) -> list[str]:
    """Pad a row to the length of the header; surplus cells must be empty."""
    if any(cell.strip() for cell in cells[len(header) :]):
        raise ValueError(
            f"{count(len(cells), 'cell')}, the header has {len(header)}; quote a cell that holds the separator"
        )
    return cells + [""] * (len(header) - len(cells))


def _swatch(cells: list[str], places: dict[str, int], number: int, line: int) -> Swatch:
    texts = {column: _MASKED.sub("", " ".join(cells[place].split())) for column, place in places.items()}
    name = texts["name"]
    if not name:
        raise _CellError("name", f"the class has no name{_MERGED}")
    if not name.isprintable():
        raise _CellError("name", f"the name {name!r} holds invisible characters")
    index = _index(texts["index"]) if "index" in texts else number
    words = (word.strip() for word in texts.get("synonyms", "").split("|"))
    synonyms = tuple(dict.fromkeys(word for word in words if word not in ("", name)))
    return Swatch(index, name, synonyms, _color(texts), line)


def escape_formula(cell: str) -> str:
    """Prefix a cell that a spreadsheet would take for a formula with an apostrophe; `read` removes it again."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) or _MASKED.match(cell) else cell


def _index(text: str) -> int:
    match = _INDEX.fullmatch(text)
    if not match or int(match[1]) > MAX_CLASSES:
        hint = "" if text else _MERGED
        raise _CellError(
            "index", f"{text[:40]!r} is not a class index; expected a whole number from 0 to {MAX_CLASSES - 1}{hint}"
        )
    return int(match[1])


def _color(texts: dict[str, str]) -> RGB:
    """Parse the colour of a row; if several columns hold it, they must agree."""
    colors: dict[str, RGB] = {}
    if any(texts.get(column) for column in "rgb" if {"r", "g", "b"} <= texts.keys()):
        red, green, blue = (_parsed(channel, texts, column) for column in "rgb")
        colors["r, g, b"] = red, green, blue
    for column in ("rgb", "hex"):
        if texts.get(column):
            colors[column] = _parsed(parse, texts, column)
    if not colors:
        column = next(column for column in ("r", "rgb", "hex") if column in texts)
        raise _CellError(column, f"the class has no colour{_MERGED}")
    if len(set(colors.values())) > 1:
        raise ValueError("its colours disagree: " + ", ".join(f"{k} is {to_hex(v)}" for k, v in colors.items()))
    return next(iter(colors.values()))


def _parsed(parser: Callable[[str], Value], texts: dict[str, str], column: str) -> Value:
    try:
        return parser(texts[column])
    except ValueError as error:
        raise _CellError(column, str(error)) from None


def _counts_from_one(swatches: list[Swatch], total: int) -> bool:
    """Report whether the indices are 1 to n; if neither count nor maximum fits, row 0 may be the unreadable one."""
    indices = [swatch.index for swatch in swatches]
    return bool(indices) and min(indices) == 1 and total in (len(indices), max(indices))


def _from_zero(swatches: list[Swatch], total: int) -> list[Swatch]:
    if not _counts_from_one(swatches, total):
        return swatches
    return [replace(swatch, index=swatch.index - 1, counted_from=1) for swatch in swatches]


def renumbered(name: str, swatches: Sequence[Swatch]) -> str:
    """Return that a table counted its classes from 1, as a sentence; "" if it did not.

    Args:
        name: of the table.
        swatches: its classes.
    """
    if not any(swatch.counted_from for swatch in swatches):
        return ""
    last = len(swatches)
    return (
        f"{name} numbers its classes from 1 to {last}; they are read as 0 to {last - 1}, the values of a map's pixels."
    )


def _numbering(swatches: list[Swatch], total: int, source: Source, index_cell: Callable[[int], str]) -> list[Problem]:
    """Report repeated and missing indices, in the numbering of the file."""
    name = source.title
    first = int(_counts_from_one(swatches, total))
    faults: list[tuple[str, str, str]] = []
    lines: dict[int, int] = {}
    for swatch in swatches:
        if (earlier := lines.setdefault(swatch.index, swatch.line)) != swatch.line:
            place = f"{name}, {index_cell(swatch.line)}"
            message = f"{place}: index {swatch.index} is already used in {source.row(earlier)}."
            faults.append(("repeated-index", place, message))
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
