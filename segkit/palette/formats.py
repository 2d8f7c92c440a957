"""Palette tables as rows of cells: CSV in its kinds, GIMP palettes and JSON."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segkit.errors import PaletteError

Records = list[tuple[int, list[str]]]
"""The line of the file, from 1, and the cells; the header first."""

MAX_BYTES = 4 << 20
"""Bytes. A table of 255 classes has some tens of kilobytes; more is a wrong file."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""How spreadsheets begin what they call Unicode text."""

_GPL_ROW = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S+)\s*(.*)")
_GPL_MARK = "GIMP Palette"


def rows(path: Path) -> Records:
    """Return the rows of a table file, told by its name's ending: .json, .gpl, or else CSV.

    Raises:
        PaletteError: it is no file, too large, no text, or not in its format.
    """
    read = {".gpl": from_gimp, ".json": from_json}.get(path.suffix.lower(), from_csv)
    return read(_text(path), path)


def _text(path: Path) -> str:
    if not path.is_file():
        found = "a folder or device, not a file" if path.exists() else "no such file"
        raise PaletteError(f"{path}: {found}. Expected a palette table such as ade20k.csv.")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise PaletteError(f"{path}: {size:,} bytes is no palette table; expected at most {MAX_BYTES:,}.")
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in _UTF16 else "utf-8-sig")
    except OSError as error:
        raise PaletteError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PaletteError(f"{path}: no {error.encoding.upper()} text (line {line}). Save it as CSV UTF-8.") from None
    if "\0" in text:
        raise PaletteError(f"{path}: NUL bytes, so UTF-16 or no text at all. Save it as CSV UTF-8 and try again.")
    return text


def from_csv(text: str, path: object) -> Records:
    """Read the rows that are not empty, split by comma, semicolon or tab; a row may span lines inside quotes.

    Raises:
        PaletteError: a quote is left open, or a cell is too long; the text names the line.
    """
    first = next((line for line in text.splitlines() if re.search("[,;\t]", line)), "")
    separator = max(",;\t", key=re.sub(r'"[^"]*"|\([^)]*\)', "", first).count)  # "name;(r,g,b)" is no comma table
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    found = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        reason = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        raise PaletteError(f"{path}, line {line}: not a table: {reason}.") from None
    return found


def from_gimp(text: str, path: object) -> Records:
    """Read a GIMP palette: a line of red, green, blue and name for every colour; `#` begins a comment.

    Raises:
        PaletteError: the first line is not GIMP's.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != _GPL_MARK:
        raise PaletteError(f"{path}: no GIMP palette; its first line should be {_GPL_MARK!r}.")
    records: Records = [(1, ["r", "g", "b", "name"])]
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.startswith(("#", "Name:", "Columns:")):
            continue
        match = _GPL_ROW.fullmatch(line)
        records.append((number, list(match.groups()) if match else ["", "", "", line.strip()]))
    return records


def from_json(text: str, path: object) -> Records:
    """Read a list of objects such as {"name": "wall", "rgb": [120, 120, 120]}, or one object of colours by name.

    Raises:
        PaletteError: it is no JSON, or something else in JSON; the text names the line.
    """
    try:
        rows = list(_objects(text))
    except json.JSONDecodeError as error:
        raise PaletteError(f"{path}, line {error.lineno}: no JSON: {error.msg}.") from None
    except RecursionError:
        raise PaletteError(f"{path}: lists within lists, no palette.") from None
    except ValueError as error:
        raise PaletteError(
            f'{path}: {error}. Expected a list such as [{{"name": "wall", "hex": "#787878"}}, ...].'
        ) from None
    header = list(dict.fromkeys(key for _, row in rows for key in row))
    return [(1, header), *((line, [_cell(row.get(key, "")) for key in header]) for line, row in rows)]


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line and the content of each class."""
    whole = json.loads(text, object_pairs_hook=_once)
    if isinstance(whole, dict):
        for name, color in whole.items():
            line = text[: text.index(json.dumps(name))].count("\n") + 1 if json.dumps(name) in text else 1
            yield line, {"name": name, "rgb": color}
        return
    if not isinstance(whole, list) or not all(isinstance(each, dict) for each in whole):
        raise ValueError("no list of classes")
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    for each in whole:
        at = text.index("{", at)
        yield text.count("\n", 0, at) + 1, each
        at = decoder.raw_decode(text, at)[1]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has a key twice, of which json would keep the last in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice!r} stands there twice")
    return found


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) == 3 else "|".join(map(str, value))
    return "" if value is None else str(value)
