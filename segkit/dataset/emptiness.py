"""A dataset without triples: why it has none, and what to do about it."""

from itertools import islice

from segkit.dataset.dataset import Dataset
from segkit.errors import DatasetError
from segkit.problem import Problem
from segkit.words import quote

RULE = "no-triples"


def problem(dataset: Dataset) -> Problem | None:
    """Return what is wrong with a dataset that lists no triple, and what to run next; None if it lists one.

    Raises:
        DatasetError: a line is damaged.
    """
    if any(True for _ in islice(dataset, 1)):
        return None
    folder = quote(dataset.folder)
    left_out = sum(1 for _ in dataset.triples())
    if left_out:
        reason = f"a person left out all of them ({left_out:,})"
        cure = f"Put them back: segkit remove {folder} --undo KEY"
    elif not dataset.info.models.get("segmenter", {}).get("name"):
        reason, cure = "nothing was imported", f"Import some: segkit import SOURCE -o {folder}"
    elif any(True for _ in islice(dataset.rejections(), 1)):
        reason = f"no photo was accepted, for the reasons in {dataset.hidden / 'rejected.jsonl'}"
        cure = f"Add other photos: segkit build-dataset PHOTOS -o {folder}"
    else:
        reason, cure = "metadata.jsonl lists none", f"Add photos: segkit build-dataset PHOTOS -o {folder}"
    return Problem(RULE, "error", "metadata.jsonl", f"{dataset.folder} has no triples: {reason}.", cure)


def require_triples(dataset: Dataset) -> None:
    """Raise an error for a dataset that lists no triple.

    Raises:
        DatasetError: it lists none, or a line is damaged.
    """
    if fault := problem(dataset):
        raise DatasetError(f"{fault.message} {fault.cure}", [fault])
