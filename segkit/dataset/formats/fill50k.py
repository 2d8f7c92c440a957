"""The layout of ControlNet's Fill50K tutorial: prompt.json, one object with source, target and prompt on each line."""

from pathlib import Path

from segkit.dataset.formats.listing import Entry, Listing, file_in, json_objects, prompt
from segkit.errors import DatasetError

_LIST = "prompt.json"


def detect(folder: Path) -> bool:
    """Return whether a folder has this layout."""
    return (folder / _LIST).is_file()


def read(folder: Path) -> Listing:
    """Read a folder with a prompt.json.

    Raises:
        DatasetError: the list is damaged, lacks a key, or names a file outside the folder.
    """
    path = folder / _LIST
    entries = []
    for line, row in json_objects(path):
        source = f"{path}, line {line}"
        if not all(isinstance(row.get(key), str) for key in ("source", "target")):
            raise DatasetError(f"{source}: expected source, target and prompt.")
        control_map, photo = (file_in(folder, row[key], source) for key in ("source", "target"))
        entries.append(Entry(photo, control_map, prompt(row, source), source))
    return Listing("fill50k", tuple(entries))
