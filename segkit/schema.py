"""Values checked against their declared types: one mechanism for records, TOML files, the command line and Python."""

import re
from dataclasses import dataclass
from functools import cache
from math import isfinite
from numbers import Integral, Rational, Real
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from segkit.errors import SettingError, UsageError

Value = TypeVar("Value")

_TYPES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    tuple[str, ...]: "a list of texts",
}
"""The types of settings, in words."""

_NOT_TEXT = re.compile(r"[\0\ud800-\udfff]")
"""NUL ends a path in every operating system's calls; lone surrogates cannot be written to a file."""


class InvalidValueError(ValueError):
    """A value that does not fit its declaration.

    Attributes:
        field: its name; "" where the value as a whole has the wrong type.
        reason: what was expected and found.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field, self.reason = field, reason

    def __reduce__(self) -> tuple[object, ...]:  # pickle would pass the message alone to __init__
        return type(self), (self.field, self.reason)


def convert(value: Any, kind: type[Value]) -> Value:
    """Read plain values, such as decoded JSON, as a declared type.

    Raises:
        InvalidValueError: a key is missing or unknown, or a value has another type or lies outside its range.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of settings: each field declares type, range and help; values are checked when an instance is created."""

    def __post_init__(self) -> None:
        """Check every field against its annotation.

        Raises:
            SettingError: the first value that does not fit.
        """
        for name in _hints(type(self)):  # type: ignore[arg-type]
            object.__setattr__(self, name, check_field(type(self), name, getattr(self, name)))


def option(description: str, **limits: Any) -> Meta:
    """Annotate a setting with its help text and its range; the limits are those of msgspec.Meta."""
    return Meta(description=description, **limits)


def check_field(kind: type, name: str, value: object) -> Any:
    """Check one value against the annotation of a dataclass field.

    Returns:
        The value; numbers of other libraries, such as NumPy's, as Python's int or float.

    Raises:
        UsageError: there is no such field.
        SettingError: the value has the wrong type or lies outside its range.
    """
    hints = _hints(kind)
    if name not in hints:
        from difflib import get_close_matches  # only needed to word an error

        near = get_close_matches(name, hints)
        raise UsageError(f"unknown setting {name!r}." + (f" Did you mean {near[0]}?" if near else ""))
    value = _plain_number(value)
    if expected := _unusable(value, _limits(hints[name])):
        raise SettingError(name, value, expected)
    try:
        msgspec.convert(value, hints[name])
    except msgspec.ValidationError as error:
        raise SettingError(name, value, _expected(hints[name], str(error))) from None
    return value


def _plain_number(value: object) -> object:
    """Return a number of another library as Python's own; NumPy registers its scalars with the module numbers."""
    if type(value) in (bool, int, float):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Rational):
        return float(value)
    return value


def _unusable(value: object, limits: Meta) -> str:
    """Return what is expected in place of a value of the right type that msgspec accepts; "" for a usable one."""
    if isinstance(value, float) and not isfinite(value):
        return "a finite number"
    if type(value) is int and not -(2**63) <= value < 2**63:
        return "a number of at most 64 bits"  # what TOML and PyTorch's seeds hold
    if isinstance(value, str) and limits.min_length and not value.strip():
        return "a value that is not empty"
    if isinstance(value, str) and _NOT_TEXT.search(value):
        return "UTF-8 text without NUL"
    return ""


def _limits(hint: Any) -> Meta:
    return next((meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)), Meta())


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _expected(hint: Any, reason: str) -> str:
    """Describe the range of a setting, or its type if it has none."""
    limits, plain = _limits(hint), get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if NoneType in get_args(plain):  # None is the default, which nobody has to be told of
        plain = next(choice for choice in get_args(plain) if choice is not NoneType)
    if get_origin(plain) is Literal:
        return " or ".join("''" if choice == "" else str(choice) for choice in get_args(plain))
    if ", got " in reason:
        return _TYPES[plain]
    lowest = limits.ge if limits.ge is not None else limits.gt
    words = []
    if limits.multiple_of is not None:
        words.append(f"a multiple of {limits.multiple_of}")
    if lowest is not None:
        words.append(f"{'more than' if limits.gt is not None else 'at least'} {lowest}")
    if limits.le is not None or limits.lt is not None:
        words.append(f"at most {limits.le}" if limits.le is not None else f"below {limits.lt}")
    return ", ".join(words)


def _invalid(error: msgspec.ValidationError) -> InvalidValueError:
    reason, _, place = str(error).partition(" - at `$")
    field = re.sub(r"\[\d*(\.\.\.)?\]", "", place).strip(".`")
    return InvalidValueError(field, _reason(reason))


def _reason(text: str) -> str:
    """Return msgspec's reason in the words of segkit's messages."""
    reason = text.partition(" - at `")[0].replace("`", "")
    reason = re.sub(r"^Object contains unknown field (\S+)$", r"unknown key \1", reason)
    reason = re.sub(r"^Object missing required field (\S+)$", r"\1 is missing", reason)
    return reason.replace("Expected", "expected").replace(", got ", ", found ")
