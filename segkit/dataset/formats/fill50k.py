"""The layout of ControlNet's Fill50K tutorial: prompt.json, one object with source, target and prompt on each line.

Written, held-out triples lie in folders val/ and test/ of the same layout, since the tutorial knows no splits.
"""

from collections.abc import Iterator
from pathlib import Path

from segkit import storage
from segkit.dataset.formats.listing import Entry, Listing, file_in, json_objects, prompt
from segkit.dataset.formats.writing import Chunks, Content, Item, split_folder
from segkit.dataset.triple import Triple
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


def files(item: Item, split: str) -> dict[str, bytes]:
    """Return the files of a triple by name: its photo in target/, its map in source/."""
    folder = split_folder(item.triple.split, split)
    return {folder + name: data for name, data in zip(_names(item.triple), (item.control_map, item.photo), strict=True)}


def lists(content: Content) -> Iterator[tuple[str, Chunks]]:
    """Yield the prompt.json of each split."""
    for split in content.splits:
        yield content.folder(split) + _LIST, map(_line, content.of_split(split))


def _names(triple: Triple) -> tuple[str, str]:
    return f"source/{triple.key}.png", f"target/{triple.key}{Path(triple.file_name).suffix}"


def _line(triple: Triple) -> bytes:
    source, target = _names(triple)
    return storage.to_line({"source": source, "target": target, "prompt": triple.text})
