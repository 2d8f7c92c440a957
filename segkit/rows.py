"""Readers for row-based text files: JSON Lines and CSV."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segkit.errors import DatasetError

DELIMITERS = ",;\t"

_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_BYTES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""What a line with a surrogate contains: an escape, or the three bytes that its UTF-8 would have."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte-order marks of what spreadsheets call Unicode text."""


class CsvError(ValueError):
    """Malformed CSV.

    Attributes:
        line: line on which the malformed row starts, from 1.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line

    def __reduce__(self) -> tuple[object, ...]:  # pickle would pass the message alone to __init__
        return type(self), (self.line, str(self))


def json_lines(path: Path, damaged: Callable[[int, str], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each line of a JSON Lines file that is not blank.

    Nothing is yielded if the file does not exist.

    Args:
        path: the file, in UTF-8 with or without a byte-order mark.
        damaged: called with line number and reason for each line that is not a JSON object of text, numbers and so on;
            reading continues.

    Raises:
        DatasetError: the file cannot be read.
    """
    for number, _, line in numbered(path):
        try:
            yield number, json_object(line)
        except ValueError as error:
            damaged(number, str(error))


def json_object(line: bytes) -> dict[str, Any]:
    """Read one line of a JSON Lines file.

    Raises:
        ValueError: it is not a JSON object of text, numbers and so on; the message says why.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, found {type(record).__name__}")
    # only lines with such bytes, that is almost none, are looked at again
    if _SURROGATE_BYTES.search(line) and (surrogate := lone_surrogate(record)):
        raise ValueError(surrogate)
    return record


def lone_surrogate(record: dict[str, Any]) -> str:
    r"""Return which key of an object holds the first lone surrogate, such as "\ud800"; "" if there is none.

    JSON allows them, but they are no characters: no file can hold them as UTF-8.
    """
    for key, value in record.items():
        if match := _SURROGATE.search(json.dumps({key: value}, ensure_ascii=False)):
            name = "a key" if _SURROGATE.search(key) else key
            return f"{name} holds half of a character (a lone surrogate, \\u{ord(match[0]):x})"
    return ""


def numbered(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (line number, offset in bytes, line) for each line of a file that is not blank; a missing file has none.

    Raises:
        DatasetError: the file cannot be read.
    """
    offset = 0
    try:
        with path.open("rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield number, offset, line
                offset += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise DatasetError(f"Cannot read {path}: {reason}. Fix that and run the command again.") from None


def decode(data: bytes, errors: str = "strict") -> str:
    """Decode a table: UTF-16 if it starts with a UTF-16 byte-order mark, else UTF-8 with or without one.

    Args:
        data: the file.
        errors: "surrogateescape" keeps bytes that are not UTF-8 as lone surrogates.

    Raises:
        UnicodeDecodeError: the data is neither.
    """
    if data[:2] in _UTF16:
        return data.decode("utf-16")
    return data.decode("utf-8-sig", errors)


def delimiter(text: str) -> str:
    """Return the most frequent delimiter (comma, semicolon or tab) of the first line that contains one.

    Delimiters inside quotes and parentheses do not count: "name;(r,g,b)" is separated by semicolons.
    """
    first = next((line for line in text.splitlines() if re.search(f"[{DELIMITERS}]", line)), "")
    return max(DELIMITERS, key=re.sub(r'"[^"]*"|\([^)]*\)', "", first).count)


def csv_rows(text: str, separator: str = "", *, by_row: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) for each row that is not empty.

    A quoted cell may span several lines; a row's number is that of its first line, from 1.

    Args:
        text: the table.
        separator: the delimiter; "" detects it (see `delimiter`).
        by_row: number the rows, empty ones included, as a spreadsheet does, instead of the lines.

    Raises:
        CsvError: a quote is left open or followed by text, or a cell is too long.
    """
    separator = separator or delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    line = 1
    try:
        for row, cells in enumerate(reader, 1):
            if any(cell.strip() for cell in cells):
                yield row if by_row else line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise CsvError(line, str(error)) from None
