"""Palette tables as rows of cells: CSV variants, GIMP palettes and JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segkit.errors import PaletteError
from segkit.rows import CsvError, csv_rows, decode

Records = list[tuple[int, list[str]]]
"""Line number in the file, from 1, and the cells of the row; the header comes first."""

MAX_BYTES = 4 << 20
"""A table of 255 classes takes some tens of kilobytes; anything larger is the wrong file."""

_GPL_ROW = re.compile(r"\s*(\S+)\s+(\S+)\s+(\S+)\s*(.*)")
_GPL_MARK = "GIMP Palette"


def rows(path: Path) -> Records:
    """Read the rows of a table file. The suffix selects the format: .json, .gpl, otherwise CSV.

    Raises:
        PaletteError: the file is missing, too large, not text, or not in its format.
    """
    read = {".gpl": from_gimp, ".json": from_json}.get(path.suffix.lower(), from_csv)
    return read(_text(path), path)


def _text(path: Path) -> str:
    if not path.is_file():
        reason = "a folder or device, not a file" if path.exists() else "no such file"
        raise PaletteError(f"{path}: {reason}. Expected a palette table such as ade20k.csv.")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise PaletteError(f"{path}: {size:,} bytes, too large for a palette table; expected at most {MAX_BYTES:,}.")
    try:
        raw = path.read_bytes()
        text = decode(raw)
    except OSError as error:
        raise PaletteError(
            f"{path}: cannot be read ({error.strerror}). Check its permissions and run the command again."
        ) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        encoding = error.encoding.upper()
        raise PaletteError(f"{path}: not valid {encoding} text (line {line}). Save it as CSV UTF-8.") from None
    if "\0" in text:
        raise PaletteError(
            f"{path}: contains NUL bytes, so it is UTF-16 or not text. Save it as CSV UTF-8 and run the command again."
        )
    return text


def from_csv(text: str, path: object) -> Records:
    """Parse CSV separated by commas, semicolons or tabs; empty rows are skipped, quoted cells may span lines.

    Args:
        text: content of the file.
        path: name of the source, for messages.

    Raises:
        PaletteError: a quote is never closed, or a cell is too long; the message names the line.
    """
    try:
        return list(csv_rows(text))
    except CsvError as error:
        reason = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        raise PaletteError(f"{path}, line {error.line}: not a table: {reason}.") from None


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
