"""Prompts of an existing dataset: drafted anew by a model, or written by a person, whose words no model touches."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from PIL import Image

from segkit.dataset import Dataset, Info
from segkit.errors import DatasetError, UsageError
from segkit.models.tools import Drafting
from segkit.prompts import Count
from segkit.settings import CaptionSettings
from segkit.triple import PERSON, Triple
from segkit.unit import style_of, with_draft

UNIT = 32
"""Prompts whose record is written together."""


def draft(
    dataset: Dataset,
    settings: CaptionSettings,
    load: Callable[[CaptionSettings], Drafting],
    *,
    redo: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Draft prompts for the triples that have none, or with `redo` for all but those that a person wrote.

    Args:
        dataset: changed; a kill loses one unit at most.
        settings: how prompts are made.
        load: loads the captioner, when there is anything to do.
        redo: replace earlier drafts too.
        progress: called with the triples done and their total.

    Returns:
        The number of prompts drafted.
    """
    style = style_of(settings)
    with dataset.writing():
        wanted = [t for t in dataset.triples() if not t.prompt.human and (redo or not t.text)]
        if not wanted:
            return 0
        drafting = load(settings)
        _record(dataset, drafting)
        for start in range(0, len(wanted), UNIT):
            unit = wanted[start : start + UNIT]
            captions = drafting([_photo(dataset, triple) for triple in unit])
            pairs = zip(unit, captions, strict=True)
            dataset.commit(with_draft(triple, caption, drafting, style) for triple, caption in pairs)
            progress(start + len(unit), len(wanted))
        dataset.fold()
    return len(wanted)


def write(dataset: Dataset, texts: Iterable[tuple[str, str]], count: Count) -> int:
    """Set prompts as written by a person; all or none.

    Args:
        dataset: changed.
        texts: pairs of a key (or the beginning of one, or a source) and its prompt.
        count: counts a prompt's tokens.

    Returns:
        The number of prompts set.

    Raises:
        UsageError: a key that no triple has, or that several have; an empty prompt.
    """
    with dataset.writing():
        triples = list(dataset.triples())
        names: dict[str, list[Triple]] = {}
        for triple in triples:
            for name in (triple.key, triple.source, triple.file_name):
                names.setdefault(name, []).append(triple)
        changed = {}
        for wanted, text in texts:
            triple = _find(triples, names, wanted)
            words = " ".join(text.split())
            if not words:
                raise UsageError(f"The prompt for {wanted} is empty. Write one, or leave the row out.")
            changed[triple.key] = replace(triple, text=words, tokens=count(words), prompt=PERSON, problems=())
        dataset.commit(changed.values())
        dataset.fold()
    return len(changed)


def read_csv(path: Path) -> list[tuple[str, str]]:
    """Read prompts from a table with the columns key (or source, or file_name) and text (or prompt).

    Cells are text and nothing else.

    Raises:
        UsageError: no such file, not UTF-8, or other columns.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--from-csv {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"--from-csv {path}: not UTF-8 text. Save it as CSV UTF-8.") from None
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    names = [name.strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = names
    key = next((name for name in ("key", "source", "file_name") if name in names), None)
    words = next((name for name in ("text", "prompt") if name in names), None)
    if not key or not words:
        raise UsageError(f"--from-csv {path}: the columns are {', '.join(names)}. Expected key and text.")
    try:
        return [(row[key] or "", row[words] or "") for row in reader if any(row.values())]
    except csv.Error as error:
        raise UsageError(f"--from-csv {path}, line {reader.line_num}: {error}.") from None


def _find(triples: list[Triple], names: dict[str, list[Triple]], wanted: str) -> Triple:
    found = names.get(wanted) or [t for t in triples if len(wanted) >= 4 and t.key.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{wanted} means {len(found)} triples, such as {found[0].key} and {found[1].key}.")
    raise UsageError(f"{wanted} is no key or source of the dataset. Keys stand in metadata.jsonl and in the report.")


def _photo(dataset: Dataset, triple: Triple) -> Image.Image:
    try:
        with Image.open(dataset.folder / triple.file_name, formats=("JPEG", "PNG")) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow raises anything on damaged files
        message = f"{triple.file_name} does not open ({error}). See: segkit check {dataset.folder}"
        raise DatasetError(message) from None


def _record(dataset: Dataset, drafting: Drafting) -> None:
    info = dataset.info
    models = {
        **info.models,
        "captioner": {"name": drafting.model, "revision": drafting.revision},
        "tokenizer": {"name": drafting.tokenizer},
    }
    if models != info.models:
        dataset.save_info(Info(info.palette, models, info.settings))
