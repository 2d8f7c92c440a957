"""The record of an export, in a hidden folder: what is exported, which pieces are done, and whether all are.

The folder `.segkit-export` holds

- `export.json`, written first: the settings, and what all triples share;
- `parts/000000.jsonl` and so on, each written when a piece is in place: its triples' lines of metadata.jsonl, or the
  entry of a shard;
- `annotations/000000.jsonl`, in layouts that list what a map shows;
- `complete.json`, written last.

Tools ignore hidden folders. segkit imports from the record what a layout itself cannot hold.
"""

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from segkit import rows, schema
from segkit.dataset import info as common
from segkit.dataset.info import Info
from segkit.errors import DatasetError, PaletteError, UsageError
from segkit.exports.layouts import LAYOUTS
from segkit.exports.target import Target
from segkit.settings import Kind

FOLDER = ".segkit-export"
FORMAT = "segkit-export"
VERSION = 1
LOCK = f"{FOLDER}/lock"
RECORD = f"{FOLDER}/export.json"
COMPLETE = f"{FOLDER}/complete.json"


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of export.json.

    Attributes:
        to: the layout.
        settings: which triples, and how they are written.
        name: of the dataset.
        triples: how many are exported.
        fingerprint: SHA-256 of all their records.
        dataset: what all triples share; see segkit.dataset.info.to_dict.
        format, version: of this record.
    """

    to: Kind
    settings: dict[str, Any]
    name: str
    triples: int
    fingerprint: str
    dataset: dict[str, Any]
    format: str = FORMAT
    version: int = VERSION

    @property
    def info(self) -> Info:
        """What all triples share."""
        return common.from_dict(self.dataset)


def part(number: int) -> str:
    """Return the name of the record of a piece."""
    return f"{FOLDER}/parts/{number:06}.jsonl"


def annotations(number: int) -> str:
    """Return the name of the annotations of a piece."""
    return f"{FOLDER}/annotations/{number:06}.jsonl"


def read(target: Target) -> Record | None:
    """Read the record of an export, which may be unfinished; None if there is none.

    Raises:
        DatasetError: it is damaged, or was written by a newer segkit.
    """
    if not target.exists(RECORD):
        return None
    try:
        content = rows.json_object(target.read(RECORD))
        if isinstance(version := content.get("version"), int) and version > VERSION:
            raise DatasetError(
                f"{target} is an export of version {version}; this segkit reads up to {VERSION}. Update it."
            )
        record = schema.convert(content, Record)
        _ = record.info
    except (ValueError, PaletteError) as error:
        raise DatasetError(f"{target}/{RECORD} is damaged: {error}. Export into a new folder.") from None
    return record


def is_complete(target: Target) -> bool:
    """Return whether an export is complete."""
    return target.exists(COMPLETE)


def part_lines(target: Target, count: int, name: Any = part) -> Iterator[bytes]:
    """Yield the lines of all parts, or of all annotations, in order."""
    for number in range(count):
        yield from target.read(name(number)).splitlines(keepends=True)


def refuse_other_files(target: Target) -> None:
    """Refuse a folder that holds files but no export, before anything is written into it.

    Raises:
        UsageError: there is such a file.
    """
    if not target.exists(RECORD):
        _clear(target, None)


def begin(target: Target, record: Record, overwrite: bool) -> bool:
    """Begin an export, or continue the same one; the caller holds the lock.

    Returns:
        Whether it is complete already.

    Raises:
        UsageError: the folder holds other files, or another export that may not be replaced.
        DatasetError: the record of the earlier export is damaged.
    """
    earlier = read(target)
    if earlier == record and not (overwrite and is_complete(target)):
        return is_complete(target)
    if earlier and not overwrite:
        raise UsageError(
            f"{target} holds an export {_difference(earlier, record)}. "
            "Choose another output, or replace it with overwrite=True."
        )
    _clear(target, earlier)
    target.write(RECORD, _encode(asdict(record)))
    return False


def complete(target: Target, content: dict[str, Any]) -> None:
    """Mark an export as complete: the last file."""
    target.write(COMPLETE, _encode(content))


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"


def _difference(earlier: Record, record: Record) -> str:
    """Return what distinguishes an earlier export, in words that follow "an export"."""
    if earlier.to != record.to:
        return f"as {earlier.to}"
    for name, value in earlier.settings.items():
        if record.settings.get(name) != value:
            return f"with {name}={value!r}, not {record.settings.get(name)!r}"
    return "of another dataset" if earlier.name != record.name else "of the dataset before it was changed"


def _clear(target: Target, earlier: Record | None) -> None:
    """Delete an earlier export, after looking for files that it did not write.

    Raises:
        UsageError: there are such files; nothing is deleted.
    """
    hidden: list[str] = []
    visible: list[str] = []
    for name in target.names():
        is_part = name.startswith((f"{FOLDER}/parts/", f"{FOLDER}/annotations/")) or name in (RECORD, COMPLETE)
        if earlier and (is_part or LAYOUTS[earlier.to].names.fullmatch(name)):
            (hidden if is_part else visible).append(name)
        elif name != LOCK:
            raise UsageError(f"{target} holds files that no export wrote, such as {name}. Choose another output.")
    # Killed on the way, the folder holds an unfinished export of the earlier kind, whose names are known.
    target.remove({COMPLETE}.intersection(hidden))
    target.remove(set(hidden) - {COMPLETE, RECORD})
    target.remove(visible)
    target.remove({RECORD}.intersection(hidden))
