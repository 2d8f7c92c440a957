"""segkit.schema: values are checked against their declared types, and the message says what was expected and found."""

from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from segkit import schema


class Part(Struct, forbid_unknown_fields=True):
    """A nested record."""

    number: int


class Record(Struct, forbid_unknown_fields=True):
    """A record of several types."""

    name: str
    parts: tuple[Part, ...]
    share: Annotated[float, Meta(ge=0, le=1)] = 0.5


def test_plain_values_become_the_declared_type() -> None:
    """Nested records, tuples and defaults."""
    assert schema.convert({"name": "x", "parts": [{"number": 1}]}, Record) == Record("x", (Part(1),), 0.5)


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        ({"name": "x"}, "", "parts is missing"),
        ({"name": "x", "parts": [], "more": 1}, "", "unknown key more"),
        ({"name": 3, "parts": []}, "name", "name: expected str, found int"),
        ({"name": "x", "parts": [{"number": "1"}]}, "parts.number", "parts.number: expected int, found str"),
        ({"name": "x", "parts": [{"number": True}]}, "parts.number", "parts.number: expected int, found bool"),
        ({"name": "x", "parts": [], "share": float("nan")}, "share", "share: expected float >= 0.0"),
        ([], "", "expected object, found array"),
    ],
)
def test_a_value_that_does_not_fit_is_named(value: Any, field: str, message: str) -> None:
    """The error names the field, what was expected and what was found."""
    with pytest.raises(schema.InvalidValueError) as error:
        schema.convert(value, Record)

    assert (error.value.field, str(error.value)) == (field, message)
