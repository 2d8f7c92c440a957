"""Prompts, decisions and splits of single triples, as a person sets them one after the other.

A change that is sent again with the revision that it was made on, since its answer was lost, is carried out once.
"""

from segkit.dataset import edits
from segkit.dataset.dataset import Dataset
from segkit.dataset.prompts import Count
from segkit.dataset.relabel import State, require_revision, state_of
from segkit.dataset.triple import PERSON, REVIEWS, SPLITS, Triple
from segkit.errors import UsageError


def set_prompt(dataset: Dataset, key: str, text: str, *, revision: int | None = None, count: Count) -> State:
    """Set a prompt written by a person, which no model replaces.

    Args:
        dataset: the dataset to change.
        key: of the triple.
        text: the prompt.
        revision: the revision that the person saw; None accepts any.
        count: returns the number of tokens of a prompt.

    Raises:
        KeyError: no triple has the key.
        UsageError: the prompt is empty.
        ConflictError: the triple was changed since that revision; nothing is changed.
        LockedError: another process is writing the dataset.
    """
    with dataset.writing(edit=True):
        triple = dataset.get([key])[0]
        prompt = edits.normalized(key, text)
        is_set = triple.prompt == PERSON and triple.text == prompt
        _require(triple, revision, is_set)
        if is_set:
            return state_of(triple)
        return _record(dataset, triple.edited(text=prompt, tokens=count(prompt), prompt=PERSON, problems=()))


def decide(dataset: Dataset, key: str, review: str, *, revision: int | None = None) -> State:
    """Accept a triple, leave it out ("rejected"), or take either back ("open").

    Args:
        dataset: the dataset to change.
        key: of the triple.
        review: one of REVIEWS.
        revision: the revision that the person saw; None accepts any.

    Raises:
        KeyError: no triple has the key.
        UsageError: there is no such decision.
        ConflictError: the triple was changed since that revision; nothing is changed.
        LockedError: another process is writing the dataset.
    """
    if review not in REVIEWS:
        raise UsageError(f"review={review!r}: expected {', '.join(REVIEWS)}.")
    with dataset.writing(edit=True):
        triple = dataset.get([key])[0]
        _require(triple, revision, triple.review == review)
        return state_of(triple) if triple.review == review else _record(dataset, triple.edited(review=review))


def move(dataset: Dataset, key: str, split: str, *, revision: int | None = None) -> list[str]:
    """Move a triple into another split, with all triples of its group: near-duplicates never end up in two splits.

    Args:
        dataset: the dataset to change.
        key: of the triple.
        split: one of SPLITS.
        revision: the revision of that triple that the person saw; None accepts any.

    Returns:
        The keys of the triples that moved; none if they were in that split before.

    Raises:
        KeyError: no triple has the key.
        UsageError: there is no such split.
        ConflictError: the triple was changed since that revision; nothing is changed.
        LockedError: another process is writing the dataset.
    """
    if split not in SPLITS:
        raise UsageError(f"split={split!r}: expected {', '.join(SPLITS)}.")
    with dataset.writing(edit=True):
        triple = dataset.get([key])[0]
        _require(triple, revision, triple.split == split)
        group = list(dataset.group(triple.group))
        moved = [member.edited(split=split) for member in group if member.split != split]
        dataset.commit(moved)
        dataset.fold_after_edit()
        is_repeated = revision is not None and triple.edits.revision > revision
    return [member.key for member in (group if is_repeated else moved)]


def _require(triple: Triple, revision: int | None, is_set: bool) -> None:
    """Refuse a stale change, but not one that was sent again because its answer was lost: its value is stored."""
    if not (is_set and revision is not None and triple.edits.revision == revision + 1):
        require_revision(triple, revision)


def _record(dataset: Dataset, triple: Triple) -> State:
    dataset.commit([triple])
    dataset.fold_after_edit()
    return state_of(triple.within(dataset.folder))
