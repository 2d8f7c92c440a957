"""Export a dataset: the order of the steps.

A piece (a shard, or the files of some triples) is recorded when it is in place; interrupted at any point, the same
command continues with the next piece, and the result is the same, byte for byte.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segkit import rows, storage
from segkit.dataset import Dataset, emptiness
from segkit.dataset import info as common
from segkit.dataset.formats.writing import Content
from segkit.dataset.lines import decode
from segkit.errors import DatasetError, UsageError
from segkit.exports import card, notes, record
from segkit.exports.inventory import Inventory
from segkit.exports.layouts import LAYOUTS, Layout
from segkit.exports.pieces import Export, write_pieces
from segkit.exports.record import Record
from segkit.exports.selection import select
from segkit.exports.target import Stamp, Target
from segkit.progress import Progress, silent
from segkit.remote import Location, location
from segkit.settings import DatasetExportSettings, Kind, to_bytes


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        path: the folder, or the URL as text.
        to: the layout.
        triples: number of triples in it.
        splits: number of them in each split.
        written: number of them that this call wrote; fewer if it continued an earlier one.
        restored: names of files of an earlier call that were missing or had changed, and that this call wrote again.
        notes: what a person should know about it, as sentences.
    """

    path: Path | str
    to: Kind
    triples: int
    splits: dict[str, int]
    written: int
    notes: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()


def export(
    dataset: Dataset, output: str | Path | Location, settings: DatasetExportSettings, progress: Progress = silent
) -> Exported:
    """Export a dataset, or continue an export that was interrupted. Triples that a person left out are not exported.

    Args:
        dataset: the dataset, which is only read.
        output: a new or empty folder, or an earlier export; a path or a URL such as s3://bucket/rooms.
        settings: the layout, and which triples.
        progress: called with ("triples", done, total).

    Raises:
        UsageError: no triple meets the conditions, the output lies in the dataset or around it, holds other files, or
            holds another export and overwrite is not set; or a package is missing.
        DatasetError: the dataset has no triples or is damaged, a photo or map was changed after it was checked, or a
            triple was changed meanwhile.
        LockedError: another process is writing the output.
        StorageError: the disk is full.
        LocationError: a store cannot be reached or denies access.
    """
    layout, target = LAYOUTS[settings.to], Target(location(output))
    if target.folder is not None:
        _refuse_nested(dataset.folder, target.folder)
    _refuse_settings(settings, layout)
    layout.require()
    record.refuse_other_files(target)
    emptiness.require_triples(dataset)
    selection = select(dataset, settings, layout)
    if not selection.total:
        raise UsageError("No triple meets the conditions, so nothing was exported.")
    call = Export(dataset, settings, layout, selection, target, Inventory(target, settings.verify), progress)
    known = notes.of(settings, selection, dataset.info.palette)
    with target.locked(record.LOCK):
        record.begin(target, content := _record(call), settings.overwrite)
        try:
            written, restored = _write(call, {"triples": selection.total, "splits": selection.by_split, "notes": known})
        except DatasetError:  # the dataset is refused: unless a piece is finished, nothing is to be continued
            record.discard(target, content)
            raise
    return Exported(
        target.folder or str(target), settings.to, selection.total, selection.by_split, written, tuple(known),
        tuple(restored),
    )  # fmt: skip


def _write(call: Export, numbers: dict[str, Any]) -> tuple[int, list[str]]:
    """Write what is missing; return the number of triples that are new, and the names of files that were restored."""
    written, restored = 0, list[str]()
    for piece in write_pieces(call):
        written += piece.triples
        restored += piece.restored
    lost = call.inventory.lost_lists()
    if lost is None or lost or written:
        record.complete(call.target, numbers, _finish(call))
    return written, restored + (lost or [])


def _refuse_nested(folder: Path, output: Path) -> None:
    inside, outside = output.resolve(), folder.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise UsageError(f"{output} is the dataset itself, or one lies in the other. Choose another output.")


def _refuse_settings(settings: DatasetExportSettings, layout: Layout) -> None:
    """Refuse settings that have no meaning in a layout, rather than ignore them."""
    if settings.shard_size and not layout.shard_size:
        raise UsageError(f"to={settings.to} writes no shards; remove shard_size={settings.shard_size}.")
    if settings.maps == "rgb" and settings.to in _FIXED_MAPS:
        raise UsageError(f"to={settings.to} has {_FIXED_MAPS[settings.to]}. Remove maps=rgb.")


_FIXED_MAPS = {
    "webdataset": "maps as they are stored, indexed PNGs, which segkit train reads and RGB readers decode to exact "
    "colours",
    "coco-panoptic": "maps of segment ids, as COCO prescribes",
    "label-ids": "maps of class indices",
}
"""Layouts whose maps are of one kind."""


def _record(call: Export) -> Record:
    settings = asdict(call.settings)
    del settings["to"], settings["overwrite"], settings["verify"]
    settings["shard_size"] = to_bytes(call.settings.shard_size) or call.layout.shard_size
    selection, dataset = call.selection, call.dataset
    content = common.to_dict(dataset.info)
    return Record(
        call.settings.to, settings, dataset.folder.resolve().name, selection.total, selection.fingerprint,
        rows.json_object(storage.to_line(content)),
    )  # fmt: skip


def _finish(call: Export) -> list[Stamp]:
    """Write what lists all triples, and return what the files are."""
    content, stamps = _content(call), []
    for name, chunks in call.layout.lists(content):
        with call.target.writing(name) as file:
            for chunk in chunks:
                file.write(chunk)
        stamps.append(file.stamp(name))
    if call.layout.has_card:
        stamps.append(call.target.write("README.md", card.render(content, call.settings, call.selection)))
    if call.layout.finish:
        entries = [rows.json_object(line) for line in record.part_lines(call.target, call.selection.pieces)]
        stamps.append(call.layout.finish(call.target, content, entries))
    return stamps


def _content(call: Export) -> Content:
    selection, target, pieces = call.selection, call.target, call.selection.pieces
    return Content(
        call.dataset.folder.resolve().name,
        call.dataset.info,
        tuple(selection.by_split),
        call.settings.split,
        tuple(sorted(selection.sizes)),
        lambda: map(decode, record.part_lines(target, pieces)),
        lambda: record.part_lines(target, pieces, record.annotations),
    )
