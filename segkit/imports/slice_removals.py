"""Removals that came from slices are noted, so that undoing one in its slice puts the triple back at the next merge."""

from collections.abc import Sequence

import msgspec

from segkit import storage
from segkit.dataset import Dataset
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError

NOTES = "slice-removals.json"
"""File in the dataset's hidden folder: by key, the revision of the triple after its removal was merged. It stays left
out if somebody changed it here since then."""


def put_back(slices: Sequence[Dataset], target: Dataset) -> list[str]:
    """Put back what was left out because of slices in which nobody leaves it out any more, and return the sources.

    It must precede the merge, which then brings files that were deleted.

    Args:
        slices: all slices of a build.
        target: the dataset that they were merged into.

    Raises:
        DatasetError: the notes are damaged.
        LockedError: another process is writing the dataset.
    """
    notes = _read(target)
    if not notes:
        return []
    removals = _removals(slices)
    undone = {key for dataset in slices for key in dataset.known(notes)} - removals.keys()
    with target.writing():
        triples = [
            triple.edited(review="open")
            for key, triple in target.known(undone).items()
            if triple.review == "rejected" and triple.edits.revision == notes[key]
        ]
        target.commit(triples)
        target.fold_if_small()
        _write(target, {key: revision for key, revision in notes.items() if key not in undone})
    return sorted(triple.source for triple in triples)


def note(slices: Sequence[Dataset], target: Dataset) -> None:
    """Note which triples are left out because of slices; between the merge of photos and that of persons' work.

    Raises:
        DatasetError: the notes are damaged.
        LockedError: another process is writing the dataset.
    """
    removals, before = _removals(slices), _read(target)
    notes = dict(before)
    for key, triple in target.known(removals).items():
        if triple.review != "rejected":
            notes[key] = triple.edits.revision + 1  # the removal is taken over next, as an edit
        elif triple.edits == removals[key].edits:
            notes[key] = triple.edits.revision  # it came with the triple
    if notes != before:
        with target.writing():
            _write(target, notes)


def _removals(slices: Sequence[Dataset]) -> dict[str, Triple]:
    """Return the triples that persons left out in slices, by key."""
    return {triple.key: triple for one in slices for triple in one.triples() if triple.review == "rejected"}


def _read(target: Dataset) -> dict[str, int]:
    path = target.hidden / NOTES
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}). Delete it: removals that are undone in slices are then not followed."
        ) from None


def _write(target: Dataset, notes: dict[str, int]) -> None:
    storage.write(target.hidden / NOTES, msgspec.json.encode(notes, order="sorted"))
