"""Conditions on triples as text: "class:person share>0.3 -split:val"."""

import json
import operator
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from segkit.dataset.prompts import FLAGS
from segkit.dataset.triple import REVIEWS, SPLITS, Triple
from segkit.errors import UsageError
from segkit.palette import Palette

Condition = Callable[[Triple], bool]

ALIKE = "near-duplicate"
"""The flag of a triple whose photo looks like an earlier one."""

HELP = (
    "class:NAME (then share>0.3 or confidence<0.5 of that class), text:WORDS, source:PATTERN, key:DIGITS, split:NAME, "
    "review:NAME, by:person|model|nobody, flag:NAME, tokens>N, width>N, height>N, labelled<0.8, or a column of "
    "your own; a minus sign before a condition negates it"
)
"""The conditions, for help texts and messages."""

_TERM = re.compile(r"(-?)([^:<>=]+)(:|<=|>=|<|>|=)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, float], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq,
}  # fmt: skip

_TEXTS: dict[str, Callable[[Triple, str], bool]] = {
    "source": lambda triple, value: fnmatchcase(triple.source, value),
    "key": lambda triple, value: triple.key.startswith(value),
    "split": lambda triple, value: triple.split == value,
    "review": lambda triple, value: triple.review == value,
    "by": lambda triple, value: ("person" if triple.by_person else triple.prompt.by) == value,
    "flag": lambda triple, value: value in triple.problems or (value == ALIKE and triple.group != triple.key),
    "group": lambda triple, value: triple.group == value,
}
_VALUES = {"split": SPLITS, "review": REVIEWS, "by": ("person", "model", "nobody"), "flag": (*FLAGS, ALIKE)}
"""Fields with few values."""
_NUMBERS: dict[str, Callable[[Triple], float]] = {
    "tokens": lambda triple: triple.tokens,
    "width": lambda triple: triple.width,
    "height": lambda triple: triple.height,
    "labelled": lambda triple: sum(share.share for share in triple.classes),
}

_FIELDS = ("class", "share", "confidence", "text", *_TEXTS, *_NUMBERS)


@dataclass(frozen=True)
class OfClass:
    """A condition on one class of a map.

    Attributes:
        name: of the class.
        is_wanted: False if the condition is negated.
        field: "share" or "confidence" of the class; "" if it only has to be there.
        compare: what the field has to fulfil, for numbers and for arrays.
    """

    name: str
    is_wanted: bool
    field: str = ""
    compare: Callable[[Any], Any] = bool

    def __call__(self, triple: Triple) -> bool:
        """Return whether a triple meets it."""
        values = (getattr(share, self.field or "share") for share in triple.classes if share.name == self.name)
        return self.is_wanted == any(not self.field or self.compare(value) for value in values)


@dataclass(frozen=True)
class OfPrompt:
    """A condition on the words of a prompt.

    Attributes:
        words: that it contains, case-folded.
        is_wanted: False if the condition is negated.
    """

    words: str
    is_wanted: bool

    def __call__(self, triple: Triple) -> bool:
        """Return whether a triple meets it."""
        return self.is_wanted == (self.words in triple.text.casefold())


class Conditions:
    """Conditions that a triple must all meet.

    Attributes:
        columns: columns of one's own that they name, but that no triple looked at so far has.
        measured: those on what is known of every triple once it was ranked: its classes and the words of its prompt.
    """

    def __init__(self, conditions: Sequence[Condition], columns: set[str]) -> None:
        self._conditions, self.columns = conditions, columns
        self.measured = [one for one in conditions if isinstance(one, OfClass | OfPrompt)]

    @property
    def are_measured(self) -> bool:
        """Whether `measured` are all that is demanded."""
        return len(self.measured) == len(self._conditions)

    def __call__(self, triple: Triple) -> bool:
        """Return whether a triple meets all of them."""
        if self.columns and triple.extra:
            self.columns -= json.loads(triple.extra).keys()
        return all(condition(triple) for condition in self._conditions)

    def require_columns(self) -> None:
        """Refuse names that turned out to be no columns of any triple.

        Raises:
            UsageError: there is one, probably a typing error.
        """
        if not self.columns:
            return
        name = sorted(self.columns)[0]
        near = get_close_matches(name, _FIELDS)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"No triple has the column {name!r}, and it is no condition.{hint} Expected conditions: {HELP}."
        )


def parse(text: str, palette: Palette) -> Conditions:
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
    columns: set[str] = set()
    return Conditions(list(_conditions(terms, palette, columns)), columns)


def _conditions(terms: list[str], palette: Palette, columns: set[str]) -> Iterator[Condition]:
    name = ""  # of the last class
    for term in terms:
        match = _TERM.fullmatch(term)
        if not match or not match[4] or not re.fullmatch(r"\w[\w .-]*", match[2]):
            raise UsageError(f"Condition {term!r} is not understood. Expected conditions: {HELP}.")
        minus, field, sign, value = match.groups()
        if field in ("class", "text", *_TEXTS) and sign not in ":=":
            raise UsageError(f"Condition {term!r}: expected {field}:{value}.")
        if field == "class":
            name = palette.find(value).name
            yield OfClass(name, not minus)
        elif field in ("share", "confidence"):
            compare = _comparison(term, sign, value, share=True)
            if not name:
                raise UsageError(f"Condition {term!r} needs the class before it: class:person {term}")
            yield OfClass(name, not minus, field, compare)
        elif field == "text":
            yield OfPrompt(value.casefold(), not minus)
        else:
            condition = _of_field(term, field, sign, value)
            columns |= {field} - _TEXTS.keys() - _NUMBERS.keys()
            yield _not(condition) if minus else condition


def _of_field(term: str, field: str, sign: str, value: str) -> Condition:
    if field in _TEXTS:
        return _of_text(_TEXTS[field], _known(term, field, value))
    if field in _NUMBERS:
        return _of_number(_NUMBERS[field], _comparison(term, sign, value, share=field == "labelled"))
    return _of_column(field, sign, value)


def _known(term: str, field: str, value: str) -> str:
    """Return a value of a field that has few, or raise a UsageError that lists them."""
    if field in ("key", "group"):
        value = value.lower()
        if not re.fullmatch("[0-9a-f]{1,16}", value):
            raise UsageError(f"Condition {term!r}: expected the first hex digits of a key.")
    if field in _VALUES and value not in _VALUES[field]:
        raise UsageError(f"Condition {term!r}: expected {', '.join(_VALUES[field][:-1])} or {_VALUES[field][-1]}.")
    return value


def _comparison(term: str, sign: str, value: str, share: bool = False) -> Callable[[Any], Any]:
    try:
        number = float(value.removesuffix("%")) / 100 if share and value.endswith("%") else float(value)
    except ValueError:
        raise UsageError(f"Condition {term!r}: {value!r} is not a number.") from None
    if not isfinite(number) or (share and not 0 <= number <= 1):
        expected = "a share from 0 to 1, or 0% to 100%" if share else "a finite number"
        raise UsageError(f"Condition {term!r}: expected {expected}.")
    compare = _COMPARE["=" if sign == ":" else sign]
    return lambda actual: compare(actual, number)


def _not(condition: Condition) -> Condition:
    return lambda triple: not condition(triple)


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
