"""Drafts that name the classes of a map, composed again when a person has corrected the map."""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from segkit.dataset import prompts
from segkit.dataset.triple import Triple, digest
from segkit.errors import SettingError

if TYPE_CHECKING:
    from segkit.dataset.dataset import Dataset


def recomposed(dataset: "Dataset", before: Triple, after: Triple) -> Triple:
    """Return a corrected triple whose draft names its classes.

    A prompt that a person wrote or edited stays, and so does a draft that another template gave: only what would be
    composed in the same way from the earlier classes is composed again.

    Args:
        dataset: its template and its `count` are used.
        before: the triple before its map was corrected.
        after: the triple as it will be recorded.
    """
    author = before.prompt
    if before.by_person or author.by != "model" or not (author.digest and author.caption):
        return after
    try:
        style = prompts.recorded_style(dataset.info.settings)
    except SettingError:  # edited by hand; the next build or caption says so
        return after
    if "{classes}" not in style.template:
        return after
    earlier, _, _ = prompts.draft(author.caption, before.classes, style, dataset.count)
    text, tokens, problems = prompts.draft(author.caption, after.classes, style, dataset.count)
    if earlier != before.text or text == before.text:
        return after
    new = replace(after, text=text, tokens=tokens, problems=problems, prompt=replace(author, digest=digest(text)))
    return new.within(before.folder)
