"""Control maps corrected by a person: exact class indices, each change undone and redone at any later time."""

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct, structs

from segkit import storage
from segkit.dataset import history as histories
from segkit.dataset import saving
from segkit.dataset.dataset import Dataset
from segkit.dataset.history import Edit, Entry, History
from segkit.dataset.triple import Triple
from segkit.errors import ConflictError, MapError, UsageError
from segkit.maps import strokes as pixels
from segkit.maps.codec import Labels
from segkit.maps.strokes import Stroke
from segkit.palette import UNLABELLED

__all__ = [
    "Bulk", "Edit", "State", "Stroke", "forget_originals", "redo", "relabel", "relabel_many",
    "replace_labels", "state", "undo", "undo_bulk",
]  # fmt: skip

_UNIT = 32
"""Maps of a change of many that are recorded together."""


class State(Struct, frozen=True):
    """Where a triple stands.

    Attributes:
        revision: grows by 1 with every change of map, prompt, split or decision by a person.
        undoable, redoable: numbers of edits of the map.
    """

    revision: int
    undoable: int
    redoable: int


@dataclass(frozen=True)
class Bulk:
    """A change of many maps.

    Attributes:
        keys: of the triples that were changed.
        token: pass it to undo_bulk.
        kept: keys of triples that `undo_bulk` left alone, since they were edited again.
    """

    keys: tuple[str, ...]
    token: str
    kept: tuple[str, ...] = ()


def state(dataset: Dataset, key: str) -> State:
    """Return the revision of a triple, and how many edits of its map can be undone and redone.

    Raises:
        KeyError: no triple has the key.
        DatasetError: the map's history is damaged.
    """
    return state_of(dataset.get([key])[0])


def state_of(triple: Triple) -> State:
    """Return where a triple stands; see `state`."""
    history = histories.read(triple)
    numbers = (len(history.applied), len(history.undone)) if history else (0, 0)
    return State(triple.edits.revision, *numbers)


def require_revision(triple: Triple, revision: int | None) -> None:
    """Refuse to change a triple that was changed since somebody read it.

    Args:
        triple: the triple as it is.
        revision: the revision that the person saw; None accepts any.

    Raises:
        ConflictError: it was.
    """
    present = triple.edits.revision
    if revision is not None and revision != present:
        raise ConflictError(
            f"{triple.source} ({triple.key}) was changed meanwhile: revision {present}, not {revision}. Look at it "
            "again before you change it.",
            present,
        )


def relabel(
    dataset: Dataset,
    key: str,
    strokes: Sequence[Stroke],
    *,
    revision: int | None = None,
    what: str = "",
    request: str = "",
) -> State:
    """Set the classes of some pixels of a map. The original is kept; the change can be undone.

    Args:
        dataset: the dataset to change.
        key: of the triple.
        strokes: applied in this order; together they are one edit.
        revision: the revision that the person saw; None accepts any.
        what: a short description.
        request: a random name of this request. Where its answer was lost, it can be sent again: it is carried out once.

    Returns:
        The new state; the old one if no pixel changes.

    Raises:
        KeyError: no triple has the key.
        UsageError: a stroke leaves the map, or its class does not exist.
        ConflictError: the triple was changed since that revision; nothing is changed.
        MapError: no pixel of the map would have a class.
        DatasetError: the map was changed outside segkit.
        LockedError: another process is writing the dataset.
    """
    with dataset.writing(edit=True):
        triple = dataset.get([key])[0]
        if _is_repeated(triple, revision, request):
            return state_of(triple)
        require_revision(triple, revision)
        pixels.require_valid(strokes, triple.width * triple.height, dataset.info.palette)
        return _edit(dataset, triple, saving.opened(dataset, triple), tuple(strokes), what, request)


def replace_labels(dataset: Dataset, key: str, labels: Labels, *, what: str = "", revision: int | None = None) -> State:
    """Replace a whole map by one that a person painted, as one edit.

    Args:
        dataset: the dataset to change.
        key: of the triple.
        labels: (H, W) uint8 class indices; 255 = unlabelled.
        what: a short description.
        revision: see `relabel`.

    Raises:
        MapError: the size differs, or no pixel has a class. The message begins with a verb.
        UsageError: a label is no class.
        Others: see `relabel`.
    """
    with dataset.writing(edit=True):
        triple = _get(dataset, key, revision)
        if labels.shape != (triple.height, triple.width):
            height, width = labels.shape
            raise MapError(f"is {width}x{height}, not {triple.width}x{triple.height}: paint it at the size of the map")
        wrong = labels[(labels >= len(dataset.info.palette)) & (labels != UNLABELLED)]
        if wrong.size:
            raise UsageError(f"label {wrong[0]} is not a class of {dataset.info.palette.name}.")
        history = saving.opened(dataset, triple)
        before = history.shown(dataset.info.palette).labels
        return _edit(dataset, triple, history, pixels.difference(before, labels), what)


def take_over(dataset: Dataset, key: str, labels: Labels) -> State:
    """Record what a person painted over a map in place.

    Args:
        dataset: the dataset to change.
        key: of the triple.
        labels: (H, W) uint8, what was painted, of the map's size.

    Raises:
        LockedError: another process is writing the dataset.
    """
    with dataset.writing(edit=True):
        return _commit(dataset, saving.taken_over(dataset, _get(dataset, key, None), labels))


def undo(dataset: Dataset, key: str, *, revision: int | None = None, request: str = "") -> State:
    """Undo the last edit of a map, also one of an earlier session.

    Raises:
        UsageError: there is nothing to undo.
        Others: see `relabel`.
    """
    return _step(dataset, key, revision, Entry(0, "undo", request=request))


def redo(dataset: Dataset, key: str, *, revision: int | None = None, request: str = "") -> State:
    """Apply the edit again that was undone last.

    Raises:
        UsageError: there is nothing to redo.
        Others: see `relabel`.
    """
    return _step(dataset, key, revision, Entry(0, "redo", request=request))


def relabel_many(dataset: Dataset, keys: Sequence[str], old_label: int, new_label: int) -> Bulk:
    """Give all pixels of one class another class, in many maps; see `undo_bulk`.

    Args:
        dataset: the dataset to change.
        keys: of the triples; those without the class stay as they are.
        old_label: index of the class, or 255 for unlabelled.
        new_label: what it becomes.

    Raises:
        KeyError, UsageError, MapError, DatasetError, LockedError: see `relabel`; maps before the one that is named are
            changed, and can be undone.
    """
    palette, token = dataset.info.palette, secrets.token_hex(8)
    pixels.require_valid([Stroke(old_label, ()), Stroke(new_label, ())], 0, palette)
    names = [palette[label].name if label != UNLABELLED else "unlabelled" for label in (old_label, new_label)]
    what = " → ".join(names)

    def change(triple: Triple) -> saving.Save | None:
        history = saving.opened(dataset, triple)
        runs = pixels.runs(history.shown(palette).labels == old_label)
        strokes = (Stroke(new_label, runs),) if runs and old_label != new_label else ()
        return (
            saving.saved(dataset, triple, history, saving.new_entry(history, strokes, what, token)) if strokes else None
        )

    with dataset.writing(edit=True):
        triples = dataset.get(keys)
        storage.write(_bulk_file(dataset, token), json.dumps([triple.key for triple in triples]).encode())
        return Bulk(_change_many(dataset, triples, change), token)


def undo_bulk(dataset: Dataset, token: str) -> Bulk:
    """Undo a change of many maps, except in maps that were edited since.

    Args:
        dataset: the dataset to change.
        token: see Bulk.

    Raises:
        UsageError: there is no such change.
        Others: see `relabel`.
    """
    file = _bulk_file(dataset, token) if re.fullmatch("[0-9a-f]{16}", token) else None
    if file is None or not file.exists():
        raise UsageError(f"{token!r} is not a change of many maps that can be undone.")
    kept = []

    def change(triple: Triple) -> saving.Save | None:
        history = histories.read(triple)
        applied = [entry.bulk for entry in history.applied] if history else []
        if history and applied and applied[-1] == token:
            return saving.saved(dataset, triple, history, Entry(history.next_number, "undo"))
        if token in applied:
            kept.append(triple.key)
        return None

    with dataset.writing(edit=True):
        triples = list(dataset.known(json.loads(file.read_bytes())).values())
        return Bulk(_change_many(dataset, triples, change), token, tuple(kept))


def _bulk_file(dataset: Dataset, token: str) -> Path:
    return dataset.hidden / "edits" / f"{token}.json"


def forget_originals(dataset: Dataset) -> int:
    """Delete the originals of all maps, and their histories: edits can no longer be undone. The maps stay.

    Returns:
        The number of maps.
    """
    with dataset.writing():
        keys = list(histories.all_keys(dataset.folder))
        saving.forget(dataset.folder, keys)
        if bulk := list((dataset.hidden / "edits").glob("*.json")):
            storage.remove(bulk, dataset.hidden / "edits")
    return len(keys)


def _get(dataset: Dataset, key: str, revision: int | None) -> Triple:
    triple = dataset.get([key])[0]
    require_revision(triple, revision)
    return triple


def _is_repeated(triple: Triple, revision: int | None, request: str) -> bool:
    """Return whether the last entry of a map's history is what a request asks for that comes from before it."""
    if not request or revision in (None, triple.edits.revision):
        return False
    history = histories.read(triple)
    return bool(history and history.entries and history.entries[-1].request == request)


def _edit(
    dataset: Dataset, triple: Triple, history: History, strokes: tuple[Stroke, ...], what: str, request: str = ""
) -> State:
    before = history.shown(dataset.info.palette)  # first, so that the edit applies to it and not to the original again
    save = saving.saved(dataset, triple, history, saving.new_entry(history, strokes, what, request=request))
    if np.array_equal(before.labels, save.shown.labels):
        return state_of(triple)
    if save.shown.is_unlabelled:
        raise MapError("would show no class at all; to leave the triple out, reject it")
    return _commit(dataset, saving.store(dataset, save))


def _step(dataset: Dataset, key: str, revision: int | None, entry: Entry) -> State:
    """Carry out an undo or redo, whose number is not known yet."""
    with dataset.writing(edit=True):
        triple = dataset.get([key])[0]
        if _is_repeated(triple, revision, entry.request):
            return state_of(triple)
        require_revision(triple, revision)
        history = saving.opened(dataset, triple)
        if not (history.applied if entry.kind == "undo" else history.undone):
            raise UsageError(f"There is nothing to {entry.kind} on the map of {triple.source}.")
        entry = structs.replace(entry, number=history.next_number)
        return _commit(dataset, saving.store(dataset, saving.saved(dataset, triple, history, entry)))


def _commit(dataset: Dataset, record: Triple) -> State:
    dataset.commit([record])
    dataset.fold_after_edit()
    return state_of(record.within(dataset.folder))


def _change_many(
    dataset: Dataset, triples: Sequence[Triple], change: Callable[[Triple], saving.Save | None]
) -> tuple[str, ...]:
    changed: list[str] = []
    for start in range(0, len(triples), _UNIT):
        records = [saving.store(dataset, save) for triple in triples[start : start + _UNIT] if (save := change(triple))]
        dataset.commit(records)
        changed += [record.key for record in records]
    dataset.fold_after_edit()
    return tuple(changed)
