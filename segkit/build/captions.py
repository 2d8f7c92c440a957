"""Draft the prompts of a dataset with a captioner. Drafts never replace prompts that a person wrote."""

from collections.abc import Callable

from PIL import Image

from segkit.build.annotate import record_models, with_draft
from segkit.build.settings import CaptionSettings
from segkit.build.tools import Drafter
from segkit.dataset import Dataset
from segkit.dataset.triple import Triple
from segkit.errors import DatasetError
from segkit.progress import Progress, silent
from segkit.words import quote

UNIT = 32
"""Prompts recorded together: the most work that a kill can lose."""


def draft(
    dataset: Dataset,
    settings: CaptionSettings,
    load: Callable[[CaptionSettings], Drafter],
    *,
    redo: bool = False,
    progress: Progress = silent,
) -> int:
    """Draft prompts for the triples without one.

    Args:
        dataset: the dataset to change. If the process is killed, at most UNIT drafts are lost.
        settings: captioner and prompt style.
        load: loads the captioner; not called when there is nothing to draft.
        redo: also replace earlier drafts, but never a prompt written by a person.
        progress: see segkit.progress.

    Returns:
        The number of prompts drafted.

    Raises:
        DatasetError: some photos cannot be opened; all other prompts are drafted.
        LockedError: another process is writing the dataset.
        ModelError: the captioner is missing or damaged.
    """
    style = settings.style()
    with dataset.writing():
        pending = [triple for triple in dataset.triples() if not triple.by_person and (redo or not triple.text)]
        if not pending:
            return 0
        drafting = load(settings)
        record_models(dataset, drafting.identities)
        broken: list[str] = []
        for start in range(0, len(pending), UNIT):
            opened = _open(pending[start : start + UNIT], broken)
            captions = drafting([photo for _, photo in opened])
            pairs = zip(opened, captions, strict=True)
            dataset.commit(with_draft(triple, caption, drafting, style) for (triple, _), caption in pairs)
            progress("prompts", min(start + UNIT, len(pending)), len(pending))
        dataset.fold()
    if broken:
        raise DatasetError(
            f"{len(broken)} of {len(pending)} photos cannot be opened, such as {broken[0]}; all other prompts are "
            f"drafted. Run: segkit check {quote(dataset.folder)}"
        )
    return len(pending)


def _open(triples: list[Triple], broken: list[str]) -> list[tuple[Triple, Image.Image]]:
    """Open the photos, and append the names of those that cannot be opened to `broken`."""
    opened = []
    for triple in triples:
        try:
            opened.append((triple, triple.photo))
        except Exception:  # on damaged files Pillow raises anything, not only OSError
            broken.append(triple.file_name)
    return opened
