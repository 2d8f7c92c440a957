"""What a person changes in a dataset: prompts, which no model replaces afterwards."""

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from segkit import rows
from segkit.dataset.dataset import Dataset
from segkit.dataset.prompts import BUDGET, Count
from segkit.dataset.triple import PERSON, Triple
from segkit.errors import UsageError
from segkit.words import count

KEYS = ("key", "source", "file_name")
TEXTS = ("text", "prompt", "caption")
"""Column names of a prompt table, in order of preference. A column without a name, such as pandas' index, is none."""


def set_prompts(dataset: Dataset, texts: Iterable[tuple[str, str]], count: Count) -> int:
    """Set prompts written by a person: all of them, or none if one is invalid.

    Args:
        dataset: the dataset to change.
        texts: pairs of a name and a prompt. A name is a triple's key, the first 4 or more digits of its key, its
            source or its file name.
        count: returns the number of tokens of a prompt.

    Returns:
        The number of triples changed.

    Raises:
        UsageError: a name that matches no triple or several, an empty prompt, or two prompts for one triple.
        LockedError: another process is writing the dataset.
    """
    with dataset.writing():
        by_key = {triple.key: triple for triple in dataset.triples()}
        keys_by_name = _keys_by_name(by_key.values())
        changed: dict[str, Triple] = {}
        for name, text in texts:
            key, prompt = _find(by_key, keys_by_name, name), _normalize(name, text)
            if key in changed and changed[key].text != prompt:
                raise UsageError(f"{name} has two prompts: {changed[key].text!r} and {prompt!r}. Keep one of them.")
            changed[key] = replace(by_key[key], text=prompt, tokens=count(prompt), prompt=PERSON, problems=())
        dataset.commit(changed.values())
        dataset.fold()
    return len(changed)


def _keys_by_name(triples: Iterable[Triple]) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for triple in triples:
        for name in (triple.key, triple.source, triple.file_name):
            keys.setdefault(name, set()).add(triple.key)
    return keys


def not_named(dataset: Dataset, texts: Iterable[tuple[str, str]]) -> list[str]:
    """Return the sources of the triples that a table of prompts leaves out.

    Args:
        dataset: the dataset.
        texts: the table, whose names `set_prompts` found.
    """
    by_key = {triple.key: triple for triple in dataset.triples()}
    keys_by_name = _keys_by_name(by_key.values())
    named = {_find(by_key, keys_by_name, name) for name, _ in texts}
    return [triple.source for key, triple in by_key.items() if key not in named]


def too_long(dataset: Dataset) -> int:
    """Return the number of prompts written by a person that exceed CLIP's 77 tokens."""
    return sum(triple.by_person and triple.tokens > BUDGET for triple in dataset.triples())


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


def _find(keys: Iterable[str], keys_by_name: dict[str, set[str]], name: str) -> str:
    """Return the key of the triple that a name or the beginning of a key refers to."""
    matches = keys_by_name.get(name) or {key for key in keys if len(name) >= 4 and key.startswith(name)}
    if len(matches) == 1:
        return next(iter(matches))
    if matches:
        raise UsageError(
            f"{name} matches {len(matches)} triples: {', '.join(sorted(matches)[:3])}. Pass the complete key."
        )
    raise UsageError(
        f"{name!r} is not a key, source or file name in the dataset. Keys are listed in metadata.jsonl and "
        ".segkit/report.html."
    )


def _normalize(name: str, text: str) -> str:
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
