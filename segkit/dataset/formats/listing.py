"""What the readers share: their result, and file names in lists that must not leave the dataset's folder."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit import rows
from segkit.errors import DatasetError

MAP_WORDS = frozenset("hint seg segmentation segmap cond conditioning control map mask label labels annotation".split())
"""Words in a column's name or a shard member's ending that mark a control map."""


@dataclass(frozen=True)
class Entry:
    """A photo, its control map and its prompt, as a dataset of another tool lists them.

    Attributes:
        photo: the photo's file, which need not exist.
        control_map: the control map's file, which need not exist.
        text: the prompt; "" if there is none.
        source: where the entry was read, for error messages: a list and its line, or a folder.
    """

    photo: Path
    control_map: Path
    text: str
    source: str


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each line of a list that is not blank; nothing if the list does not exist.

    Raises:
        DatasetError: the list cannot be read, or a line is not a JSON object.
    """

    def refuse(number: int, reason: str) -> None:
        raise DatasetError(f"{path}: cannot be read. Line {number}: {reason}. Correct or remove the file.")

    yield from rows.json_lines(path, refuse, skip_blank=True)


def file_in(folder: Path, name: object, source: str) -> Path:
    """Return the path of a file that a list names.

    Args:
        folder: the folder that names are relative to.
        name: the name as the list has it.
        source: where the name was read, for the error message.

    Raises:
        DatasetError: the name is empty, not text, or leads out of the folder.
    """
    if not isinstance(name, str) or not name or leaves_folder(name) or "\0" in name:
        raise DatasetError(f"{source}: {str(name)[:80]!r} does not name a file in this folder. Correct the line.")
    return folder / name


def leaves_folder(name: str) -> bool:
    """Return whether a relative file name leads out of its folder: absolute, with a drive, or with ".." in it."""
    return bool(re.match(r"[A-Za-z]:|[/\\]", name)) or ".." in re.split(r"[/\\]", name)
