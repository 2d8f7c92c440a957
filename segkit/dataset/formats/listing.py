"""What the readers share: their result, and the rules for names, prompts and splits, which hold in every layout."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segkit import rows
from segkit.errors import DatasetError

MAP_WORDS = frozenset("hint seg segmentation segmap cond conditioning control map mask label labels annotation".split())
"""Words in a column's name or a shard member's ending that mark a control map."""

TEXT_COLUMNS = ("text", "prompt", "caption")
"""Columns that may hold the prompt, in order of preference."""

_MISSING = frozenset(("nan", "NaN", "NAN", "None", "null", "NULL", "<NA>"))
"""What programs write for a missing value; as a prompt it would be a word that the network learns."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}  # the words of Hugging Face datasets (datasets.data_files)


@dataclass(frozen=True)
class Entry:
    """A photo, its control map and its prompt, as a dataset of another tool lists them.

    Attributes:
        photo: the photo's file, which need not exist.
        control_map: the control map's file, which need not exist.
        text: the prompt; "" if there is none.
        source: where the entry was read, for error messages: a list and its line, or a folder.
        split: "train", "val" or "test".
        has_split: whether the dataset names the split; otherwise it is "train".
    """

    photo: Path
    control_map: Path
    text: str
    source: str
    split: str = "train"
    has_split: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Listing:
    """The content of a folder in another tool's layout.

    Attributes:
        layout: name of the layout.
        entries: all photos, in the order of the lists.
        notes: what a user should know about the reading, as sentences.
    """

    layout: str
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each object of a list: JSON Lines, objects over several lines, or one JSON array.

    Objects of an array or over several lines are numbered from 1. Nothing is yielded if the list does not exist.

    Raises:
        DatasetError: the list cannot be read, or a line is not a JSON object.
    """

    def refuse(number: int, reason: str) -> None:
        raise DatasetError(
            f"{path}: cannot be read. Line {number}: {reason}. Expected one JSON object on each line, in UTF-8."
        )

    start = _start(path)
    if start[:1] == b"[" or re.match(rb"\{\s*\n", start):
        yield from _json(path, is_array=start[:1] == b"[")
    else:
        yield from rows.json_lines(path, refuse)


def _start(path: Path) -> bytes:
    """Return the beginning of a file, without a byte-order mark and blanks; empty if there is no file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()


def _json(path: Path, is_array: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        objects = json.loads(text) if is_array else list(_objects(text))
    except (OSError, ValueError, RecursionError) as error:
        kind = "" if is_array else "it is JSON over several lines, not JSON Lines, and damaged: "
        raise DatasetError(f"{path}: cannot be read ({kind}{error}). Expected one object on each line.") from None
    for number, record in enumerate(objects, 1):
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise DatasetError(f"{path}: cannot be read. Element {number}: expected an object, found {kind}.")
        if surrogate := rows.lone_surrogate(record):
            raise DatasetError(f"{path}: cannot be read. Element {number}: {surrogate}.")
        yield number, record


def _objects(text: str) -> Iterator[Any]:
    """Yield the values of a text that holds several, one after the other, each over any number of lines."""
    decoder, place = json.JSONDecoder(), 0
    while (gap := re.compile(r"[\s,]*").match(text, place)) and gap.end() < len(text):
        value, place = decoder.raw_decode(text, gap.end())
        yield value


def file_in(folder: Path, name: object, source: str) -> Path:
    r"""Return the path of a file that a list names.

    A name with backslashes, as Windows writes them, is read with slashes if no file has the name as it stands.

    Args:
        folder: the folder that names are relative to.
        name: the name as the list has it.
        source: where the name was read, for the error message.

    Raises:
        DatasetError: the name is empty, not text, or leads out of the folder.
    """
    if not isinstance(name, str) or not name or leaves_folder(name) or "\0" in name:
        shown = "null" if name is None else repr(str(name)[:80])
        raise DatasetError(
            f"{source}: {shown} does not name a file in this folder. Expected a path relative to it, without '..'."
        )
    path = folder / name
    return folder / name.replace("\\", "/") if "\\" in name and not path.exists() else path


def leaves_folder(name: str) -> bool:
    """Return whether a relative file name leads out of its folder: absolute, with a drive, or with ".." in it."""
    return bool(re.match(r"[A-Za-z]:|[/\\]", name)) or ".." in re.split(r"[/\\]", name)


def prompt(row: Mapping[str, Any], source: str) -> str:
    """Return the prompt of a row: the first of TEXT_COLUMNS that is not empty; "" if all are empty, null or missing.

    Raises:
        DatasetError: a prompt is not text, such as a list of captions, or contains a NUL character.
    """
    for column in TEXT_COLUMNS:
        value = row.get(column)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        if not isinstance(value, str):
            kind = {list: "a list", dict: "an object", bool: "a Boolean"}.get(type(value), "a number")
            raise DatasetError(f"{source}: {column} is {kind}; expected text. Keep one prompt, in quotes.")
        if "\0" in value:
            raise DatasetError(f"{source}: {column} contains a NUL character. Remove it.")
        if value.strip() and value.strip() not in _MISSING:
            return value
    return ""


def split_of(words: str) -> str | None:
    """Return the split that a folder or the cell of a split column names: "train", "val" or "test"; None for neither.

    Upper case and surrounding spaces do not matter.
    """
    return _SPLITS.get(words.strip().lower())
