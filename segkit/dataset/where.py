"""Conditions on triples as text: "class:person share>0.3 -split:val"."""

import json
import operator
import re
import shlex
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from segkit.dataset.triple import Triple
from segkit.errors import UsageError
from segkit.palette import Palette

Condition = Callable[[Triple], bool]

HELP = (
    "class:NAME (then share>0.3 or confidence<0.5 of that class), text:WORDS, source:PATTERN, key:DIGITS, split:NAME, "
    "review:NAME, by:person|model|nobody, flag:NAME, tokens>N, width>N, height>N, labelled<0.8, or a column of "
    "your own; a minus sign before a condition negates it"
)
"""The conditions, for help texts and messages."""

_TERM = re.compile(r"(-?)([^:<>=]+)(:|<=|>=|<|>|=)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
}  # fmt: skip

_TEXTS: dict[str, Callable[[Triple, str], bool]] = {
    "text": lambda triple, value: value.casefold() in triple.text.casefold(),
    "source": lambda triple, value: fnmatchcase(triple.source, value),
    "key": lambda triple, value: triple.key.startswith(value),
    "split": lambda triple, value: triple.split == value,
    "review": lambda triple, value: triple.review == value,
    "by": lambda triple, value: ("person" if triple.by_person else triple.prompt.by) == value,
    "flag": lambda triple, value: value in triple.problems,
    "group": lambda triple, value: triple.group == value,
}
_NUMBERS: dict[str, Callable[[Triple], float]] = {
    "tokens": lambda triple: triple.tokens,
    "width": lambda triple: triple.width,
    "height": lambda triple: triple.height,
    "labelled": lambda triple: sum(share.share for share in triple.classes),
}


def parse(text: str, palette: Palette) -> Condition:
    """Read conditions, all of which a triple must meet.

    Args:
        text: conditions separated by blanks, as in HELP; values with blanks are quoted as in a shell.
        palette: the classes; synonyms are understood.

    Returns:
        A function that tells whether a triple meets them.

    Raises:
        UsageError: a condition is malformed.
        PaletteError: there is no such class.
    """
    try:
        terms = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--where {text!r}: {error}. Close the quotation.") from None
    if not terms:
        raise UsageError(f"--where is empty. Expected conditions: {HELP}.")
    conditions = list(_conditions(terms, palette))
    return lambda triple: all(condition(triple) for condition in conditions)


def _conditions(terms: list[str], palette: Palette) -> Iterator[Condition]:
    name = ""  # of the last class
    for term in terms:
        match = _TERM.fullmatch(term)
        if not match or not match[4]:
            raise UsageError(f"Condition {term!r} is not understood. Expected conditions: {HELP}.")
        minus, field, sign, value = match.groups()
        if field == "class" and sign in ":=":
            name = palette.find(value).name
            condition = _has(name)
        elif field in ("share", "confidence"):
            if not name:
                raise UsageError(f"Condition {term!r} needs the class before it: class:person {term}")
            condition = _of_class(name, field, _comparison(term, sign, value))
        elif field in _TEXTS and sign in ":=":
            condition = _of_text(_TEXTS[field], value)
        elif field in _NUMBERS:
            condition = _of_number(_NUMBERS[field], _comparison(term, sign, value))
        else:
            condition = _of_column(field, sign, value)
        yield _not(condition) if minus else condition


def _comparison(term: str, sign: str, value: str) -> Callable[[float], bool]:
    try:
        number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"Condition {term!r}: {value!r} is not a number.") from None
    compare = _COMPARE["=" if sign == ":" else sign]
    return lambda actual: compare(actual, number)


def _not(condition: Condition) -> Condition:
    return lambda triple: not condition(triple)


def _has(name: str) -> Condition:
    return lambda triple: any(share.name == name for share in triple.classes)


def _of_class(name: str, field: str, compare: Callable[[float], bool]) -> Condition:
    return lambda triple: any(share.name == name and compare(getattr(share, field)) for share in triple.classes)


def _of_text(matches: Callable[[Triple, str], bool], value: str) -> Condition:
    return lambda triple: matches(triple, value)


def _of_number(read: Callable[[Triple], float], compare: Callable[[float], bool]) -> Condition:
    return lambda triple: compare(read(triple))


def _of_column(field: str, sign: str, value: str) -> Condition:
    """Return the condition on a column that somebody added; a triple without it does not meet the condition."""
    compare = _comparison(f"{field}{sign}{value}", sign, value) if sign in _COMPARE and sign != "=" else None

    def condition(triple: Triple) -> bool:
        column: Any = json.loads(triple.extra).get(field) if triple.extra else None
        if compare:
            return isinstance(column, int | float) and compare(column)
        return column is not None and (column == value or json.dumps(column) == value)

    return condition
