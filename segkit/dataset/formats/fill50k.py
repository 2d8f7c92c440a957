"""The layout of ControlNet's Fill50K tutorial: prompt.json, one object with source, target and prompt on each line."""

from collections.abc import Iterator
from pathlib import Path

from segkit.dataset.formats.listing import Entry, file_in, json_objects
from segkit.errors import DatasetError


def read(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a folder with a prompt.json; none without one.

    Raises:
        DatasetError: the list is damaged, lacks a key, or names a file outside the folder.
    """
    path = folder / "prompt.json"
    for line, row in json_objects(path):
        source = f"{path}, line {line}"
        names = [row.get(key) for key in ("source", "target", "prompt")]
        if not all(isinstance(name, str) for name in names):
            raise DatasetError(f"{source}: expected source, target and prompt.")
        control_map, photo, text = map(str, names)
        yield Entry(file_in(folder, photo, source), file_in(folder, control_map, source), text, source)
