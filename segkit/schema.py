"""Values checked against their declared types: one mechanism for records, TOML files, the command line and Python."""

import re
from typing import Any, TypeVar, get_type_hints

import msgspec

Value = TypeVar("Value")


class InvalidValueError(ValueError):
    """A value that does not fit its declaration.

    Attributes:
        field: its name; "" where the value as a whole has the wrong type.
        reason: what was expected and found.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field, self.reason = field, reason


def convert(value: Any, kind: type[Value]) -> Value:
    """Read plain values, such as decoded JSON, as a declared type.

    Raises:
        InvalidValueError: a key is missing or unknown, or a value has another type or lies outside its range.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def check(instance: Any) -> None:
    """Check every field of a dataclass instance against its annotation, `Annotated[..., msgspec.Meta(...)]` included.

    Raises:
        InvalidValueError: the first value that does not fit.
    """
    for name, hint in get_type_hints(type(instance), include_extras=True).items():
        try:
            msgspec.convert(getattr(instance, name), hint)
        except msgspec.ValidationError as error:
            raise InvalidValueError(name, _reason(str(error))) from None


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
