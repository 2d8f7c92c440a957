"""segkit.schema: values are checked against their declared types, and the message says what was expected and found."""

from typing import Annotated, Any

import numpy as np
import pytest
from msgspec import Meta, Struct

from segkit import schema
from segkit.errors import SettingError
from trainer.settings import TrainSettings


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


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_whole_numbers_of_numpy_are_settings(kind: Any) -> None:
    """They are stored as Python's int, so that JSON and TOML can hold them."""
    settings = TrainSettings(steps=kind(7), seed=kind(3))

    assert (settings.steps, settings.seed) == (7, 3)
    assert type(settings.steps) is int


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_numbers_of_numpy_are_settings(kind: Any) -> None:
    """They are stored as Python's float; ranges hold for them too."""
    settings = TrainSettings(learning_rate=kind(0.5))

    assert type(settings.learning_rate) is float
    for wrong in (kind(-1), kind("nan"), kind("inf")):
        with pytest.raises(SettingError, match="learning_rate="):
            TrainSettings(learning_rate=wrong)
    with pytest.raises(SettingError, match="steps="):
        TrainSettings(steps=kind(1.5))
