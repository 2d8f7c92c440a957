"""How an edited control map gets to the disk: original, history, map and record, in this order.

Killed between any two of them, a dataset shows the old state or the new one, and `check` finds nothing wrong with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from msgspec import structs

from segkit import storage
from segkit.dataset import history as histories
from segkit.dataset import redraft
from segkit.dataset.dataset import Dataset
from segkit.dataset.history import Base, Edit, Entry, History
from segkit.dataset.replay import Shown
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.maps import codec, strokes
from segkit.maps.codec import Labels
from segkit.maps.strokes import Stroke
from segkit.words import quote


@dataclass(frozen=True)
class Save:
    """A map to be stored.

    Attributes:
        history: with the new entry.
        data: the file's new bytes.
        record: what is recorded.
        shown: the map.
    """

    history: History
    data: bytes
    record: Triple
    shown: Shown


def opened(dataset: Dataset, triple: Triple) -> History:
    """Return the history of a map, which begins with the map as it is if there is none.

    Raises:
        DatasetError: the map is missing, or was changed outside segkit.
    """
    file, palette = triple.folder / triple.conditioning_image_file_name, dataset.info.palette
    if not file.exists():
        command, inputs = ("import", "sources") if triple.origin.layout else ("build-dataset", "photos")
        raise DatasetError(
            f"{file} is missing. Run segkit {command} again with the same {inputs}, output and settings."
        )
    if is_painted_over(triple):
        raise DatasetError(
            f"{file} was changed outside segkit. To take over what was painted: segkit relabel "
            f"{quote(triple.folder)} {triple.key} {quote(file)}"
        )
    history, data = histories.read(triple), file.read_bytes()
    if history is None:
        base = Base(triple.classes, triple.edits.map_by, triple.edits.segmenter or segmenter(dataset))
        return History(base, data, recorded=triple.edits.map_edit)
    digest = storage.sha256(data)
    is_last = bool(history.entries) and history.entries[-1].map_sha256 == digest
    if digest == triple.map_sha256 and not is_last:  # a map of a failed save, whose entry does not count, has another
        before = history.shown(palette).labels
        if outside := strokes.difference(before, histories.labels_of(data, palette)):
            return history.with_entry(new_entry(history, outside, "changed outside segkit"))
    return history


def prepare(dataset: Dataset, triple: Triple) -> None:
    """Read a map into memory ahead of its first edit, which reading a large one would slow down."""
    with suppress(DatasetError):  # the edit says what is wrong
        opened(dataset, triple).shown(dataset.info.palette)


def segmenter(dataset: Dataset) -> str:
    """Return the model behind the dataset's maps, as Edits.segmenter names it."""
    model = dataset.info.models.get("segmenter", {})
    return f"{model.get('name', '')}@{model.get('revision', '')}"


def new_entry(history: History, painted: tuple[Stroke, ...], what: str, bulk: str = "", request: str = "") -> Entry:
    """Return the entry of an edit made now.

    Args:
        history: that the entry follows.
        painted: the strokes of the edit.
        what: a short description.
        bulk: token of the change of many maps that it belongs to.
        request: see Entry.
    """
    edit = Edit(painted, what, datetime.now(UTC).isoformat(timespec="seconds"))
    return Entry(history.next_number, "edit", "", edit, bulk, request)


def saved(dataset: Dataset, triple: Triple, history: History, entry: Entry) -> Save:
    """Return what to store for a new entry of a history."""
    palette, after = dataset.info.palette, history.with_entry(entry)
    shown = after.shown(palette)
    data = codec.encode(shown.labels, palette) if after.applied else after.original
    entry = structs.replace(entry, map_sha256=storage.sha256(data))
    after = replace(after, entries=(*after.entries[:-1], entry))
    after.keep(shown, palette)  # the next stroke follows soon
    record = histories.recorded(triple, after, after.classes(shown, palette), data)
    return Save(after, data, redraft.recomposed(dataset, triple, record), shown)


def store(dataset: Dataset, save: Save) -> Triple:
    """Write original, history and map, in this order, and return the record, which is to be written last."""
    folder, key = dataset.folder, save.record.key
    original = histories.original_path(folder, key)
    # an original without a history is left from a kill before the first edit was saved, or while it was forgotten
    if not original.exists() or not histories.path(folder, key).exists():
        storage.write(original, save.history.original)
    storage.write(histories.path(folder, key), save.history.encode())
    storage.write(folder / save.record.conditioning_image_file_name, save.data)
    return save.record


def is_painted_over(triple: Triple) -> bool:
    """Return whether a person changed the file of a triple's map, outside segkit."""
    file = triple.folder / triple.conditioning_image_file_name
    if not triple.map_sha256 or not file.exists():
        return False
    digest = storage.sha256(file.read_bytes())
    if digest == triple.map_sha256:
        return False
    history = histories.read(triple)  # of a failed save, the map may be written, but not its record
    return not (history and history.unfinished and history.unfinished.map_sha256 == digest)


def present(dataset: Dataset, triple: Triple, painted_over: bool) -> Labels | None:
    """Return the classes of a triple's map, (H, W) uint8, as last saved; None if they are unknown.

    Args:
        dataset: the dataset.
        triple: the triple.
        painted_over: do not read the map's file.
    """
    palette = dataset.info.palette
    if history := histories.read(triple):
        return history.shown(palette).labels
    file = triple.folder / triple.conditioning_image_file_name
    if painted_over and is_painted_over(triple):
        return None
    return histories.labels_of(file.read_bytes(), palette) if file.exists() else None


def taken_over(dataset: Dataset, triple: Triple, labels: Labels, what: str = "painted outside segkit") -> Triple:
    """Write a map that a person painted over in place, and return its record, to be committed.

    The caller must hold the dataset's lock. Without an earlier edit, nobody knows what the map was before: then this
    cannot be undone.

    Args:
        dataset: the dataset.
        triple: the triple as it was.
        labels: (H, W) uint8, what was painted.
        what: a short description.
    """
    palette, history = dataset.info.palette, histories.read(triple)
    if history:
        painted = strokes.difference(history.shown(palette).labels, labels)
        return store(dataset, saved(dataset, triple, history, new_entry(history, painted, what)))
    data = codec.encode(labels, palette)
    storage.write(triple.folder / triple.conditioning_image_file_name, data)  # before the record: it still counts
    _, classes = codec.summarize(labels, np.ones(labels.shape, np.float32), palette)
    edits = structs.replace(triple.edits, map_by="person", segmenter=segmenter(dataset))
    record = triple.edited(classes=classes, map_sha256=storage.sha256(data), edits=edits)
    return redraft.recomposed(dataset, triple, record)


def complete(dataset: Dataset) -> int:
    """Record edits whose maps a killed process had written already. The caller must hold the dataset's lock.

    Returns:
        The number of triples completed.
    """
    edited = dataset.known(histories.all_keys(dataset.folder)).values()
    done = [record for triple in edited if (record := as_saved(dataset, triple)) is not triple]
    dataset.commit(done)
    return len(done)


def as_saved(dataset: Dataset, triple: Triple) -> Triple:
    """Return the record that a save would have written if its process had not been killed after it wrote the map.

    Args:
        dataset: the dataset.
        triple: a triple with a history.

    Returns:
        The triple itself if no save is unfinished.
    """
    if histories.last_number(dataset.folder, triple.key) <= triple.edits.map_edit:
        return triple
    file = dataset.folder / triple.conditioning_image_file_name
    with suppress(DatasetError, FileNotFoundError):  # a damaged history, or no map: check and the next edit say so
        finished = histories.finished(triple, file.read_bytes(), dataset.info.palette)
        return redraft.recomposed(dataset, triple, finished) if finished else triple
    return triple


def triples(dataset: Dataset) -> Iterator[Triple]:
    """Yield all triples as their files are; see `as_saved`.

    Raises:
        DatasetError: a line of the manifest is damaged.
    """
    edited = frozenset(histories.all_keys(dataset.folder))
    return (as_saved(dataset, triple) if triple.key in edited else triple for triple in dataset.triples())


def forget(folder: Path, keys: Sequence[str]) -> None:
    """Delete the histories of some maps, and their originals."""
    for key in keys:
        for file in (histories.path(folder, key), histories.original_path(folder, key)):
            if file.exists():
                storage.remove([file], file.parent)
