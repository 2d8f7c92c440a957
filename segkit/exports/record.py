"""The record of an export, in a hidden folder: what is exported, which pieces are done, and whether all are.

The folder `.segkit-export` holds

- `export.json`, written first: the settings, and what all triples share;
- `parts/000000.jsonl` and so on, each written when a piece is in place: its triples' lines of metadata.jsonl, or the
  entry of a shard;
- `annotations/000000.jsonl`, in layouts that list what a map shows;
- `files/000000.jsonl`, the name, size and SHA-256 of every file of a piece, written just before its part;
- `maps/KEY.png`, the stored map of a triple with two classes of one colour, if maps are exported as RGB;
- `complete.json`, written last: counts, and the files that list all triples.

Tools ignore hidden folders. segkit imports from the record what a layout itself cannot hold.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from segkit import rows, schema, storage
from segkit.dataset import info as common
from segkit.dataset.info import Info
from segkit.errors import DatasetError, PaletteError, UsageError
from segkit.exports.layouts import LAYOUTS
from segkit.exports.target import Stamp, Target
from segkit.settings import Kind
from segkit.words import count, quote

FOLDER = ".segkit-export"
FORMAT = "segkit-export"
VERSION = 1
LOCK = f"{FOLDER}/lock"
RECORD = f"{FOLDER}/export.json"
COMPLETE = f"{FOLDER}/complete.json"

_HIDDEN = re.compile(
    re.escape(FOLDER)
    + r"/(?:(?:parts|annotations|files)/[0-9]{6,}\.jsonl|maps/[0-9a-f]{16}\.png|(?:export|complete)\.json)"
)
"""Names in the hidden folder, which no other tool writes: they are an export's, also without export.json."""


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


def files(number: int) -> str:
    """Return the name of the list of a piece's files."""
    return f"{FOLDER}/files/{number:06}.jsonl"


def exact_map(key: str) -> str:
    """Return the name of the stored map of a triple whose exported map has lost classes."""
    return f"{FOLDER}/maps/{key}.png"


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
        _own_files(target, None)


def begin(target: Target, record: Record, overwrite: bool) -> None:
    """Begin an export, or continue the same one; the caller holds the lock.

    Raises:
        UsageError: the folder holds other files, or another export that may not be replaced.
        DatasetError: the record of the earlier export is damaged.
    """
    earlier = read(target)
    if earlier == record and not (overwrite and is_complete(target)):
        return
    if earlier and not overwrite:
        cure = "delete the one there" if target.folder is None else "replace it with overwrite=True"
        raise UsageError(f"{target} holds an export {_difference(earlier, record)}. Choose another output, or {cure}.")
    _clear(target, earlier)
    target.write(RECORD, _encode(asdict(record)))


def discard(target: Target, record: Record) -> None:
    """Delete what was written of an export without a finished piece; nothing at a URL, or beside other files."""
    if target.folder is not None and not (target.exists(part(0)) or is_complete(target)):
        with suppress(UsageError):
            _clear(target, record)


def complete(target: Target, content: dict[str, Any], lists: Iterable[Stamp]) -> None:
    """Mark an export as complete: the last file.

    Args:
        target: the export.
        content: what it holds, in numbers.
        lists: the files that list all triples.
    """
    target.write(COMPLETE, _encode({**content, "files": [asdict(file) for file in lists]}))


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"


def _difference(earlier: Record, record: Record) -> str:
    """Return what distinguishes an earlier export, in words that follow "an export"."""
    if earlier.to != record.to:
        return f"as {earlier.to}"
    for name, value in earlier.settings.items():
        if record.settings.get(name) != value:
            return f"with {name}={value!r}, not {record.settings.get(name)!r}"
    names = f"of {quote(earlier.name)}, not of {quote(record.name)}"
    if earlier.name == record.name and earlier.fingerprint != record.fingerprint:
        return f"of the dataset before it was changed ({_triples(earlier, record)})"
    if earlier.fingerprint != record.fingerprint:
        return f"{names}: their triples differ ({_triples(earlier, record)})"
    if earlier.dataset != record.dataset:
        return "of the dataset before its palette or its settings were changed; the triples are the same"
    return f"{names}: their triples are the same, but an export records the dataset's name"


def _triples(earlier: Record, record: Record) -> str:
    """Return how the triples of two exports differ."""
    if earlier.triples == record.triples:
        return f"{count(record.triples, 'triple')} as before, but not the same"
    return f"{earlier.triples:,} triples then, {record.triples:,} now"


def _clear(target: Target, earlier: Record | None) -> None:
    """Delete an earlier export, and what a killed one left; the caller holds the lock.

    Raises:
        UsageError: there are other files; nothing is deleted.
    """
    names = _own_files(target, earlier)
    hidden = {name for name in names if name.startswith(f"{FOLDER}/")}
    # Killed on the way, the folder holds an unfinished export of the earlier kind, whose names are known.
    target.remove({COMPLETE} & hidden)
    target.remove(hidden - {COMPLETE, RECORD})
    target.remove(names - hidden)
    target.remove({RECORD} & hidden)


def _own_files(target: Target, earlier: Record | None) -> set[str]:
    """Return the names of all files but the lock, which an export wrote, finished or not.

    Raises:
        UsageError: there are other files.
    """
    names = set(target.names()) - {LOCK}
    for name in sorted(names):
        is_visible = earlier is not None and LAYOUTS[earlier.to].names.fullmatch(name)
        if not (is_visible or _HIDDEN.fullmatch(name) or storage.is_unfinished(name.rpartition("/")[2])):
            raise UsageError(f"{target} holds files that no export wrote, such as {name}. Choose another output.")
    return names
