"""Leave triples out of a dataset, and put them back. Their records stay, so no later build makes them again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from segkit.dataset import edits, prune
from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import Triple
from segkit.dataset.where import Conditions
from segkit.errors import UsageError

_BATCH = 1000
"""Decisions that are recorded together."""


@dataclass(frozen=True)
class Removed:
    """What was left out or put back.

    Attributes:
        sources: of the triples whose decision changed.
        already: number of matching triples that were left out, or in the dataset, already.
        without_files: of those put back, sources whose pictures were deleted; a build makes them again.
        deleted: number of triples whose pictures were deleted.
        kept_files: sources of triples whose pictures were not deleted because a person changed them.
    """

    sources: tuple[str, ...]
    already: int
    without_files: tuple[str, ...] = ()
    deleted: int = 0
    kept_files: tuple[str, ...] = ()


def matching(dataset: Dataset, names: Sequence[str], condition: Conditions | None) -> list[Triple]:
    """Return the triples with these names, or those that meet a condition.

    Args:
        dataset: the dataset.
        names: keys, beginnings of keys, sources or file names; empty with a condition.
        condition: see where.parse; None with names.

    Raises:
        UsageError: both or none are passed, a name matches no triple or several, or no triple has a column.
    """
    if bool(names) == bool(condition):
        raise UsageError("Pass either keys or conditions.")
    if not condition:
        return dataset.get(list(dict.fromkeys(edits.find(dataset, name) for name in names)))
    matches = [triple for triple in dataset.triples() if condition(triple)]
    condition.require_columns()
    return matches


def remove(
    dataset: Dataset, names: Sequence[str], condition: Conditions | None, *, delete_files: bool = False
) -> Removed:
    """Leave triples out: review becomes "rejected", which training and every reader of the manifest respects.

    Args:
        dataset: the dataset to change.
        names: which triples; see `matching`.
        condition: which of them; see `matching`.
        delete_files: also delete their photos and maps, except those that a person changed. The records stay.

    Raises:
        UsageError: a name matches no triple or several.
        LockedError: another process is writing the dataset.
    """
    with dataset.writing():
        removed, matches = _decide(dataset, matching(dataset, names, condition), "rejected")
        if delete_files:
            kept = tuple(triple.source for triple in matches if prune.is_edited(dataset, triple))
            prune.note(dataset, [triple.key for triple in matches if triple.source not in kept])
            prune.resume(dataset)
            removed = replace(removed, deleted=len(matches) - len(kept), kept_files=kept)
    return removed


def restore(dataset: Dataset, names: Sequence[str], condition: Conditions | None) -> Removed:
    """Put triples back that were left out; see `remove`."""
    with dataset.writing():
        restored, _ = _decide(dataset, matching(dataset, names, condition), "open")
    return restored


def _decide(dataset: Dataset, triples: Iterable[Triple], review: str) -> tuple[Removed, list[Triple]]:
    """Record a decision on triples, and fold it in. Return what changed, and all triples."""
    changed: list[Triple] = []
    already: list[Triple] = []
    for triple in triples:
        (already if (triple.review == "rejected") == (review == "rejected") else changed).append(triple)
    for start in range(0, len(changed), _BATCH):
        dataset.commit(triple.edited(review=review) for triple in changed[start : start + _BATCH])
    dataset.fold_if_small()
    lost = [triple.source for triple in changed if review != "rejected" and not triple.has_files]
    removed = Removed(tuple(triple.source for triple in changed), len(already), tuple(lost))
    return removed, [*changed, *already]
