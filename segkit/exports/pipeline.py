"""Export a dataset: the order of the steps.

A piece (a shard, or the files of some triples) is recorded when it is in place; interrupted at any point, the same
command continues with the next piece, and the result is the same, byte for byte.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from segkit import rows, storage
from segkit.dataset import Dataset
from segkit.dataset import info as common
from segkit.dataset.formats.writing import Content
from segkit.dataset.lines import decode
from segkit.errors import UsageError
from segkit.exports import card, notes, record
from segkit.exports.layouts import LAYOUTS, Layout
from segkit.exports.pieces import Export, write_pieces
from segkit.exports.record import Record
from segkit.exports.selection import select
from segkit.exports.target import Target
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
        notes: what a person should know about it, as sentences.
    """

    path: Path | str
    to: Kind
    triples: int
    splits: dict[str, int]
    written: int
    notes: tuple[str, ...] = ()


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
        DatasetError: the dataset is damaged, a photo or map was changed after it was checked, or a triple was changed
            meanwhile.
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
    selection = select(dataset, settings, layout)
    if not selection.total:
        raise UsageError("No triple meets the conditions, so nothing was exported.")
    call = Export(dataset, settings, layout, selection, target, progress)
    known = notes.of(settings, selection, dataset.info.palette)
    written = 0
    with target.locked(record.LOCK):
        if not record.begin(target, _record(call), settings.overwrite):
            written = sum(write_pieces(call))
            _finish(call)
            record.complete(target, {"triples": selection.total, "splits": selection.by_split, "notes": known})
    return Exported(
        target.folder or str(target), settings.to, selection.total, selection.by_split, written, tuple(known)
    )


def _refuse_nested(folder: Path, output: Path) -> None:
    inside, outside = output.resolve(), folder.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise UsageError(f"{output} is the dataset itself, or one lies in the other. Choose another output.")


def _refuse_settings(settings: DatasetExportSettings, layout: Layout) -> None:
    """Refuse settings that have no meaning in a layout, rather than ignore them."""
    if settings.shard_size and not layout.shard_size:
        raise UsageError(f"to={settings.to} writes no shards; remove shard_size={settings.shard_size}.")
    if settings.maps == "rgb" and settings.to in _OWN_MAPS:
        raise UsageError(f"to={settings.to} has maps of its own; remove maps=rgb.")


_OWN_MAPS = {"webdataset", "coco-panoptic", "label-ids"}
"""Layouts whose maps are the stored ones, or prescribed."""


def _record(call: Export) -> Record:
    settings = asdict(call.settings)
    del settings["to"], settings["overwrite"]
    settings["shard_size"] = to_bytes(call.settings.shard_size) or call.layout.shard_size
    selection, dataset = call.selection, call.dataset
    content = common.to_dict(dataset.info)
    return Record(
        call.settings.to, settings, dataset.folder.resolve().name, selection.total, selection.fingerprint,
        rows.json_object(storage.to_line(content)),
    )  # fmt: skip


def _finish(call: Export) -> None:
    """Write what lists all triples."""
    content = _content(call)
    for name, chunks in call.layout.lists(content):
        with call.target.writing(name) as file:
            file.writelines(chunks)
    if call.layout.has_card:
        call.target.write("README.md", card.render(content, call.settings, call.selection))
    if call.layout.finish:
        entries = [rows.json_object(line) for line in record.part_lines(call.target, call.selection.pieces)]
        call.layout.finish(call.target, content, entries)


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
