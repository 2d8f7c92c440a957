"""Exports of segkit, recognised by their record: what they hold is restored exactly instead of read as foreign data."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from segkit import rows
from segkit.dataset import info as common
from segkit.dataset import lines
from segkit.dataset.formats.items import Collection, Exact, File, Item
from segkit.dataset.info import Info
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError, PaletteError

HIDDEN = ".segkit-export"
"""Folder of an export that holds its record."""


def is_export(folder: Path) -> bool:
    """Return whether segkit wrote a folder as an export."""
    return (folder / HIDDEN / "export.json").is_file()


def restored(collection: Collection) -> Collection:
    """Give the items of an export their records.

    An item without a record was added by somebody and stays foreign, in a collection of its own layout.

    Raises:
        DatasetError: the export's record is damaged.
    """
    folder = collection.place
    if not is_export(folder):
        return without_records(collection)
    info = _info(folder / HIDDEN / "export.json")
    records = dict(_records(folder))
    items = [_with_exact_map(folder, _with_record(item, records)) for item in collection.items]
    notes = list(collection.notes)
    if not (folder / HIDDEN / "complete.json").is_file():
        notes.append(f"{folder} is an unfinished export: what it lacks is not imported.")
    return replace(collection, items=items, info=info, palette=info.palette, notes=tuple(notes))


def without_records(collection: Collection) -> Collection:
    """Return a collection without records, which mean nothing without the palette that they refer to."""
    if not any(item.record for item in collection.items):
        return collection
    return replace(collection, items=[replace(item, record=None, key="") for item in collection.items])


def _info(path: Path) -> Info:
    try:
        content = rows.json_object(path.read_bytes())
        return common.from_dict(content["dataset"])
    except (OSError, ValueError, KeyError, PaletteError) as error:
        raise DatasetError(f"{path} is damaged ({error}). Export the dataset again.") from None


def _records(folder: Path) -> Iterator[tuple[str, tuple[str, Callable[[], Triple]]]]:
    """Yield the key of each record in the parts of an export, with its source and what reads it."""
    for part in sorted((folder / HIDDEN / "parts").glob("*.jsonl")):
        for number, offset, line in rows.numbered(part):
            try:
                record = rows.json_object(line)
            except ValueError as error:
                raise DatasetError(f"{part}, line {number} is damaged: {error}. Export the dataset again.") from None
            key, source = record.get("key"), record.get("source")
            if isinstance(key, str) and isinstance(source, str):  # parts of tables name files instead
                yield key, (source, partial(_line, File(part, offset, len(line), f"line {number}")))


def _line(record: File) -> Triple:
    return lines.decode(record.read())


def _with_record(item: Item, records: dict[str, tuple[str, Callable[[], Triple]]]) -> Item:
    if not isinstance(item.photo, File) or item.photo.path.stem not in records:
        return item
    source, record = records[item.photo.path.stem]
    return replace(item, source=source, record=record, key=item.photo.path.stem)


def _with_exact_map(folder: Path, item: Item) -> Item:
    """Read the stored map in place of one in RGB whose colours stand for several of its classes."""
    exact = folder / HIDDEN / "maps" / f"{item.key}.png"
    if not (item.record and item.control_map and exact.is_file()):
        return item
    return replace(item, control_map=Exact(item.control_map, File(exact)))
