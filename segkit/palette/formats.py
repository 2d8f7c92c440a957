"""Palette tables as rows of cells: CSV variants, Markdown, GIMP palettes and JSON."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from segkit.errors import PaletteError
from segkit.palette import columns, signatures
from segkit.palette.columns import Records
from segkit.rows import DELIMITERS, CsvError, csv_rows, decode, delimiter

MAX_BYTES = 4 << 20
"""A table of 255 classes takes some tens of kilobytes; anything larger is the wrong file."""

MAX_ARCHIVE_BYTES = 64 << 20
"""Bytes read of a workbook, which is a ZIP archive, to say what it is."""

_EXCEL_HINT = re.compile(r"\Asep=.(?=[\r\n])", re.IGNORECASE)
"""First line of some CSV files; the separator is detected anyway."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_PIPE = re.compile(r"(?<!\\)\|")
_FRAME = re.compile(r"^\||(?<!\\)\|$")

_GPL_ROW = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S+)\s*(.*)")
_GPL_MARK = "GIMP Palette"


def rows(path: Path) -> Records:
    """Read the rows of a table file. The suffix selects the format: .json, .gpl, otherwise CSV or Markdown.

    Raises:
        PaletteError: the file is missing, too large, not text, or not in its format.
    """
    read = {".gpl": from_gimp, ".json": from_json}.get(path.suffix.lower(), from_csv)
    return read(_text(path), path)


def holds_palette(path: Path) -> bool:
    """Report whether the columns of a palette are recognised in a text file.

    Raises:
        PaletteError: as `rows`.
    """
    records = rows(path)
    return columns.heading_row(records) is not None or columns.by_cells(records) is not None


def _text(path: Path) -> str:
    if not path.is_file():
        reason = "a folder or device, not a file" if path.exists() else "no such file"
        raise PaletteError(f"{path}: {reason}. Expected a palette table such as ade20k.csv.")
    try:
        raw = _content(path)
    except OSError as error:
        raise PaletteError(
            f"{path}: cannot be read ({error.strerror}). Check its permissions and run the command again."
        ) from None
    if kind := signatures.kind(raw):
        raise PaletteError(f"{path}: {kind}, not a palette table. {signatures.cure(kind)}")
    if (size := len(raw)) > MAX_BYTES:
        size = path.stat().st_size
        raise PaletteError(f"{path}: {size:,} bytes, too large for a palette table; expected at most {MAX_BYTES:,}.")
    try:
        text = decode(raw)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        encoding = error.encoding.upper()
        likely = "" if encoding.startswith("UTF-16") else "; it may be Latin-1 or Windows-1252"
        raise PaletteError(f"{path}: not valid {encoding} text (line {line}){likely}. Save it as CSV UTF-8.") from None
    if "\0" in text:
        raise PaletteError(
            f"{path}: contains NUL bytes, so it is UTF-16 or not text. Save it as CSV UTF-8 and run the command again."
        )
    return text


def _content(path: Path) -> bytes:
    """Return the content; of a file beyond MAX_BYTES only the beginning, unless it is a ZIP archive of some size."""
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
        if raw.startswith(b"PK"):  # the list of its members is at the end
            raw += file.read(MAX_ARCHIVE_BYTES)
    return raw


def from_csv(text: str, path: object, *, by_row: bool = False) -> Records:
    """Parse a table separated by commas, semicolons, tabs or pipes, or a Markdown table.

    Empty rows are skipped, and quoted cells may span lines. The separator is the one with which the columns of a
    palette are recognised; if none is, the most frequent in the first line that has any.

    Args:
        text: content of the file.
        path: name of the source, for messages.
        by_row: number rows, as in a sheet, instead of lines.

    Raises:
        PaletteError: a quote is never closed, or a cell is too long; the message names the line.
    """
    readings, fault = _readings(text, by_row)
    for recognised in (columns.heading_row, columns.by_cells):
        for records in readings:
            if recognised(records) is not None:
                return records
    if fault:
        reason = "a quote is opened and never closed" if "unexpected end" in str(fault) else str(fault)
        raise PaletteError(f"{path}, {'row' if by_row else 'line'} {fault.line}: not a table: {reason}.")
    return readings[0]


def _readings(text: str, by_row: bool) -> tuple[list[Records], CsvError | None]:
    """Parse the text with each separator, the likeliest first; return also what is wrong with the likeliest."""
    text = _EXCEL_HINT.sub("", text)
    likeliest = delimiter(text)
    readings: list[Records] = []
    fault = None
    for separator in dict.fromkeys((likeliest, *DELIMITERS)):
        if separator in text or separator == likeliest:
            try:
                readings.append(list(csv_rows(text, separator, by_row=by_row)))
            except CsvError as error:
                fault = error if separator == likeliest else fault
    return [*readings, *([from_pipes(text)] if "|" in text else [])], fault


def from_pipes(text: str) -> Records:
    r"""Parse a table separated by pipes: CSV, or a Markdown table with its frame, its rule and the text around it.

    In Markdown, quotes have no meaning, and "\|" is a pipe within a cell.

    Args:
        text: content of the file.
    """
    lines = [(number, line.strip()) for number, line in enumerate(_LINE_END.split(text), 1) if line.strip()]
    is_framed = 2 * sum(line.startswith("|") for _, line in lines) > len(lines)
    if not is_framed and not any(_is_rule(line.split("|")) for _, line in lines):
        with suppress(CsvError):
            return list(csv_rows(text, "|"))
    table = [(number, line) for number, line in lines if "|" in line and (line[0] == "|" or not is_framed)]
    records = [(number, [_plain(cell) for cell in _PIPE.split(_FRAME.sub("", line))]) for number, line in table]
    return [(number, cells) for number, cells in records if not _is_rule(cells)]


def _plain(cell: str) -> str:
    r"""Return a Markdown cell without marks of code and bold type, and with its "\|" as "|"."""
    return cell.strip().strip("`*").replace("\\|", "|").strip()


def _is_rule(cells: list[str]) -> bool:
    """Report whether a row is the line of dashes below the heading row."""
    return len(cells) > 1 and all(re.fullmatch(r"\s*:?-+:?\s*", cell) for cell in cells)


def from_gimp(text: str, path: object) -> Records:
    """Parse a GIMP palette: one line of red, green, blue and name per colour; `#` starts a comment.

    Args:
        text: content of the file.
        path: name of the source, for messages.

    Raises:
        PaletteError: the first line is not "GIMP Palette".
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != _GPL_MARK:
        raise PaletteError(f"{path}: not a GIMP palette; its first line should be {_GPL_MARK!r}.")
    records: Records = [(1, ["r", "g", "b", "name"])]
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.startswith(("#", "Name:", "Columns:")):
            continue
        match = _GPL_ROW.fullmatch(line)
        records.append((number, list(match.groups()) if match else ["", "", "", line.strip()]))
    return records


def from_json(text: str, path: object) -> Records:
    """Parse a list of objects such as {"name": "wall", "rgb": [120, 120, 120]}, or one object that maps name to colour.

    Args:
        text: content of the file.
        path: name of the source, for messages.

    Raises:
        PaletteError: the text is not JSON, or is JSON of another structure; the message names the line where possible.
    """
    try:
        classes = list(_objects(text))
    except json.JSONDecodeError as error:
        raise PaletteError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}.") from None
    except RecursionError:
        raise PaletteError(f"{path}: nested too deeply for a palette. Expected a list of classes.") from None
    except ValueError as error:
        raise PaletteError(
            f'{path}: {error}. Expected a list such as [{{"name": "wall", "hex": "#787878"}}, ...].'
        ) from None
    header = list(dict.fromkeys(key for _, entry in classes for key in entry))
    return [(1, header), *((line, [_cell(entry.get(key, "")) for key in header]) for line, entry in classes)]


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and the fields of each class. json reports no positions, so they are searched for."""
    document = json.loads(text, object_pairs_hook=_unique_keys)
    if isinstance(document, dict):
        for name, color in document.items():
            line = text[: text.index(json.dumps(name))].count("\n") + 1 if json.dumps(name) in text else 1
            yield line, {"name": name, "rgb": color}
        return
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise ValueError("not a list of classes")
    decoder, position = json.JSONDecoder(), text.index("[") + 1
    for entry in document:
        position = text.index("{", position)
        yield text.count("\n", 0, position) + 1, entry
        position = decoder.raw_decode(text, position)[1]


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse repeated keys, of which json would silently keep the last."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{repeated!r} appears twice")
    return fields


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) == 3 else "|".join(map(str, value))
    return "" if value is None else str(value)
