"""What a person changes in a dataset: prompts, which no model replaces afterwards."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path, PurePosixPath

from segkit import rows
from segkit.dataset.dataset import Dataset
from segkit.dataset.prompts import BUDGET, Count
from segkit.dataset.triple import PERSON, Triple
from segkit.errors import UsageError
from segkit.words import count

KEYS = ("key", "source", "file_name")
TEXTS = ("text", "prompt", "caption")
"""Column names of a prompt table, in order of preference. A column without a name, such as pandas' index, is none."""


def set_prompts(dataset: Dataset, texts: Iterable[tuple[str, str]], count: Count) -> list[Triple]:
    """Set prompts written by a person: all of them, or none if one is invalid.

    Only the triples that are named are read, and one part is written.

    Args:
        dataset: the dataset to change.
        texts: pairs of a name and a prompt. A name is a triple's key, the first 4 or more digits of its key, its
            source or its file name.
        count: returns the number of tokens of a prompt.

    Returns:
        The triples with their new prompts.

    Raises:
        UsageError: a name that matches no triple or several, an empty prompt, or two prompts for one triple.
        LockedError: another process is writing the dataset.
    """
    with dataset.writing():
        prompts: dict[str, str] = {}
        for name, text in texts:
            key, prompt = find(dataset, name), normalized(name, text)
            if prompts.setdefault(key, prompt) != prompt:
                raise UsageError(f"{name} has two prompts: {prompts[key]!r} and {prompt!r}. Keep one of them.")
        changed = [
            triple.edited(text=prompt, tokens=count(prompt), prompt=PERSON, problems=())
            for triple, prompt in zip(dataset.get(list(prompts)), prompts.values(), strict=True)
        ]
        dataset.commit(changed)
        dataset.fold_if_small()
    return [triple.within(dataset.folder) for triple in changed]


def not_named(dataset: Dataset, changed: Iterable[Triple]) -> list[str]:
    """Return the sources of all triples but those that were changed."""
    keys = {triple.key for triple in changed}
    return [triple.source for triple in dataset.triples() if triple.key not in keys]


def too_long(triples: Iterable[Triple]) -> int:
    """Return the number of prompts written by a person that exceed CLIP's 77 tokens."""
    return sum(triple.by_person and triple.tokens > BUDGET for triple in triples)


def read_csv(path: Path) -> list[tuple[str, str]]:
    """Read prompts from a CSV file with a column of KEYS and one of TEXTS.

    The delimiter, a comma, semicolon or tab, is detected from the header. Cells are read as plain text, without
    conversion of numbers, formulas or NA.

    Returns:
        Pairs of a key and a prompt, as set_prompts expects them.

    Raises:
        UsageError: the file cannot be read, is neither UTF-8 nor UTF-16, lacks a column, or has a malformed row.
    """
    try:
        text = rows.decode(path.read_bytes())
    except OSError as error:
        raise UsageError(f"prompt table {path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UsageError(f"prompt table {path} is neither UTF-8 nor UTF-16 text. Save it as CSV UTF-8.") from None
    if "\0" in text:
        raise UsageError(
            f"prompt table {path} contains NUL characters, as UTF-16 without a byte-order mark. Save it as CSV UTF-8."
        )
    try:
        numbered = list(rows.csv_rows(text))
    except rows.CsvError as error:
        raise UsageError(f"prompt table {path}, line {error.line}: {error}.") from None
    columns = [name.strip().lower() for name in numbered[0][1]] if numbered else []
    key_column, text_column = _column(columns, KEYS), _column(columns, TEXTS)
    if key_column is None or text_column is None:
        named = ", ".join(name or "(no name)" for name in columns)
        header = f"the columns {named}" if any(columns) else "no columns"
        raise UsageError(
            f"prompt table {path} has {header}. Expected one key column (key, source or file_name) and one text "
            "column (text, prompt or caption)."
        )
    for line, row in numbered[1:]:
        if len(row) != len(columns):
            raise UsageError(
                f"prompt table {path}, line {line}: {count(len(row), 'cell')}, expected {len(columns)}. Put texts "
                f"that contain {rows.delimiter(text)!r} in quotes."
            )
    return [(row[key_column], row[text_column]) for _, row in numbered[1:]]


def _column(columns: list[str], names: tuple[str, ...]) -> int | None:
    """Return the index of the most preferred name among the columns; None if it is missing or appears twice."""
    name = next((name for name in names if name in columns), None)
    return columns.index(name) if name and columns.count(name) == 1 else None


def find(dataset: Dataset, name: str) -> str:
    """Return the key of the triple that a name or the beginning of a key refers to.

    Raises:
        UsageError: no triple, or several.
    """
    matches = dataset.named(name)
    if len(matches) == 1:
        return next(iter(matches))
    if matches:
        raise UsageError(
            f"{name} matches {len(matches)} triples: {', '.join(sorted(matches)[:3])}. Pass the complete key."
        )
    if 0 < len(name) < 4:
        raise UsageError(f"{name!r}: expected at least 4 digits of a key, a source or a file name.")
    near = get_close_matches(name, _names(dataset), 3, 0.7) if name else []
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(
        f"{name!r} is not a key, source or file name in the dataset.{hint} Keys are listed in metadata.jsonl and "
        ".segkit/report.html."
    )


def _names(dataset: Dataset) -> list[str]:
    """Return sources, with and without their suffix, of so many triples as can be compared in a moment."""
    sources = [triple.source for triple in islice(dataset.triples(), 20_000)]
    return list(
        dict.fromkeys([*sources, *(str(PurePosixPath(source).with_suffix("")) for source in sources if source)])
    )


def normalized(name: str, text: str) -> str:
    """Return a prompt with single spaces.

    Args:
        name: of its triple, for messages.
        text: the prompt.

    Raises:
        UsageError: it is empty, or not UTF-8 text.
    """
    if not isinstance(text, str):
        raise UsageError(f"The prompt for {name} is a {type(text).__name__}; expected text.")
    prompt = " ".join(text.split())
    if not prompt:
        raise UsageError(f"The prompt for {name} is empty. Write one or leave out {name}.")
    try:
        prompt.encode()
    except UnicodeEncodeError:  # bytes of the command line that are not UTF-8 arrive as lone surrogates
        raise UsageError(f"The prompt for {name} is not UTF-8 text. Check the terminal's encoding.") from None
    return prompt
