"""The layout of a folder that another tool wrote: one rule for every command that reads such folders."""

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from segkit.dataset.formats import fill50k, imagefolder, kohya
from segkit.dataset.formats.listing import Listing
from segkit.errors import DatasetError

Layout = Literal["fill50k", "imagefolder", "kohya"]

_LAYOUTS: dict[Layout, tuple[Callable[[Path], bool], Callable[[Path], Listing], str]] = {
    "fill50k": (fill50k.detect, fill50k.read, "prompt.json"),
    "imagefolder": (imagefolder.detect, imagefolder.read, "metadata"),
    "kohya": (kohya.detect, kohya.read, "img/ and cond/"),
}
_LISTS = ("prompt.json", *imagefolder.METADATA)
_BEGINNINGS = ("meta", "prompt")
EXPECTED = (
    "a dataset (segkit build-dataset), its shards with index.json (segkit export), fill50k's prompt.json, an "
    "imagefolder's metadata.jsonl, .csv or .parquet, or kohya's img/ and cond/"
)


def detect(folder: Path) -> Layout | None:
    """Return the layout of a folder; None if it has none of those that segkit reads, or is not a folder.

    Raises:
        DatasetError: the folder's list is damaged, or the folder has two layouts.
    """
    if not folder.is_dir():
        return None
    found: list[Layout] = [layout for layout, (matches, _, _) in _LAYOUTS.items() if matches(folder)]
    if len(found) > 1:
        marks = " and ".join(_LAYOUTS[layout][2] for layout in found)
        raise DatasetError(f"{folder} contains {marks}, which are lists of different tools. Remove one of them.")
    return found[0] if found else None


def detect_maps(folder: Path) -> Layout | None:
    """Return the layout of a folder of maps, as `detect` does; None if it is a plain folder of maps.

    Raises:
        DatasetError: as `detect`, or the folder has a misnamed list, so that its photos would be taken for maps.
    """
    layout = detect(folder)
    if not layout and folder.is_dir() and (message := _misnamed(folder)):
        raise DatasetError(message)
    return layout


def read(folder: Path) -> Listing:
    """Read a folder in any layout.

    Raises:
        DatasetError: the folder has no layout that segkit reads, or its lists are damaged or contradict themselves.
    """
    layout = detect(folder)
    listing = _LAYOUTS[layout][1](folder) if layout else None
    if not listing or not listing.entries:
        raise DatasetError(_reason(folder))
    return listing


def _reason(folder: Path) -> str:
    """Return why a folder cannot be read, with the file that may have been meant."""
    if not folder.is_dir():
        return f"{folder} {'is a file' if folder.exists() else 'does not exist'}. Expected {EXPECTED}."
    if columns := imagefolder.columns(folder):
        return (
            f"{folder}: its metadata has the columns {', '.join(columns)}. Expected file_name, "
            "conditioning_image_file_name and text."
        )
    if (folder / "prompt.json").is_file():
        return f"{folder / 'prompt.json'} is empty. Expected one JSON object on each line: source, target, prompt."
    return _misnamed(folder) or f"{folder} is not a dataset. Expected {EXPECTED}."


def _misnamed(folder: Path) -> str:
    """Return which file of a folder may be its list under another name, as a message; "" if none."""
    for name in sorted(entry.name for entry in os.scandir(folder)):
        if not name.lower().startswith(_BEGINNINGS) or name in _LISTS:  # comparing a million names takes a minute
            continue
        near = get_close_matches(name.lower(), _LISTS, 1, cutoff=0.75)
        if near and (folder / name).is_file():
            return f"{folder} is not a dataset. If {name} is its list, rename it to {near[0]}."
    return ""
