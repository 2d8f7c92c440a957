"""Prompts of an existing dataset: drafted anew by a model, or written by a person, whose words no model touches."""

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec.structs import replace
from PIL import Image

from segkit import rows
from segkit.build.annotate import record_models, with_draft
from segkit.build.settings import CaptionSettings
from segkit.build.tools import Drafter
from segkit.dataset import Dataset
from segkit.dataset.prompts import BUDGET, Count
from segkit.dataset.triple import PERSON, Triple
from segkit.errors import DatasetError, UsageError
from segkit.progress import Progress, silent

UNIT = 32
"""Prompts whose record is written together."""

KEYS = ("key", "source", "file_name")
WORDS = ("text", "prompt")
"""Columns of a table with prompts; the first that is there counts."""


def draft(
    dataset: Dataset,
    settings: CaptionSettings,
    load: Callable[[CaptionSettings], Drafter],
    *,
    redo: bool = False,
    progress: Progress = silent,
) -> int:
    """Draft prompts for the triples that have none, or with `redo` for all but those that a person wrote.

    Args:
        dataset: changed; a kill loses one unit at most.
        settings: how prompts are made.
        load: loads the captioner, when there is anything to do.
        redo: replace earlier drafts too.
        progress: see segkit.progress.

    Returns:
        The number of prompts drafted.

    Raises:
        DatasetError: photos that do not open; the others are done.
    """
    style = settings.style()
    with dataset.writing():
        wanted = [t for t in dataset.triples() if not t.by_person and (redo or not t.text)]
        if not wanted:
            return 0
        drafting = load(settings)
        record_models(dataset, drafting.identities)
        broken: list[str] = []
        for start in range(0, len(wanted), UNIT):
            opened = _open(dataset, wanted[start : start + UNIT], broken)
            captions = drafting([photo for _, photo in opened])
            pairs = zip(opened, captions, strict=True)
            dataset.commit(with_draft(triple, caption, drafting, style) for (triple, _), caption in pairs)
            progress("prompts", min(start + UNIT, len(wanted)), len(wanted))
        dataset.fold()
    if broken:
        raise DatasetError(
            f"{len(broken)} of {len(wanted)} photos do not open, such as {broken[0]}; the other prompts are drafted. "
            f"See: segkit check {dataset.folder}"
        )
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
        UsageError: a key that no triple has, or that several have; an empty prompt, or two for one triple.
    """
    with dataset.writing():
        by_key = {triple.key: triple for triple in dataset.triples()}
        names: dict[str, set[str]] = {}
        for triple in by_key.values():
            for name in (triple.key, triple.source, triple.file_name):
                names.setdefault(name, set()).add(triple.key)
        changed: dict[str, Triple] = {}
        for wanted, text in texts:
            key, words = _find(by_key, names, wanted), _words(wanted, text)
            if key in changed and changed[key].text != words:
                raise UsageError(f"{wanted} is given two prompts: {changed[key].text!r} and {words!r}. Keep one.")
            changed[key] = replace(by_key[key], text=words, tokens=count(words), prompt=PERSON, problems=())
        dataset.commit(changed.values())
        dataset.fold()
    return len(changed)


def too_long(dataset: Dataset) -> int:
    """Return how many prompts that a person wrote are longer than CLIP reads."""
    return sum(triple.by_person and triple.tokens > BUDGET for triple in dataset.triples())


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
    try:
        numbered = list(rows.csv_rows(text))
    except rows.CsvError as error:
        raise UsageError(f"--from-csv {path}, line {error.line}: {error}.") from None
    names = [name.strip().lower() for name in numbered[0][1]] if numbered else []
    key, words = _column(names, KEYS), _column(names, WORDS)
    if key is None or words is None:
        raise UsageError(f"--from-csv {path}: the columns are {', '.join(names)}. Expected one key and one text.")
    for line, row in numbered[1:]:
        if len(row) != len(names):
            found = f"line {line}: {len(row)} cells, expected {len(names)}"
            raise UsageError(f"--from-csv {path}, {found}. Put a text with {rows.delimiter(text)} in quotes.")
    return [(row[key], row[words]) for _, row in numbered[1:]]


def _column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    """Return the place of the first of the wanted columns; None if there is none or two of it."""
    found = next((name for name in wanted if name in names), "")
    return names.index(found) if names.count(found) == 1 else None


def _find(keys: Iterable[str], names: dict[str, set[str]], wanted: str) -> str:
    found = names.get(wanted) or {key for key in keys if len(wanted) >= 4 and key.startswith(wanted)}
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise UsageError(f"{wanted} means {len(found)} triples: {', '.join(sorted(found)[:3])}. Type the whole key.")
    raise UsageError(
        f"{wanted!r} is no key or source of the dataset. Keys stand in metadata.jsonl and in .segkit/report.html."
    )


def _words(wanted: str, text: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise UsageError(f"The prompt for {wanted} is empty. Write one, or leave it out.")
    try:
        words.encode()
    except UnicodeEncodeError:
        raise UsageError(f"The prompt for {wanted} is not UTF-8 text.") from None
    return words


def _open(dataset: Dataset, triples: list[Triple], broken: list[str]) -> list[tuple[Triple, Image.Image]]:
    """Open the photos; the names of those that do not open are added to broken."""
    opened = []
    for triple in triples:
        try:
            with Image.open(dataset.folder / triple.file_name, formats=("JPEG", "PNG")) as image:
                opened.append((triple, image.convert("RGB")))
        except Exception:  # Pillow raises anything on damaged files
            broken.append(triple.file_name)
    return opened
