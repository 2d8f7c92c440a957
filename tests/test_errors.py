"""The errors that segkit raises deliberately."""

import copy
import inspect
import pickle
import re
from typing import Any

import numpy as np
import pytest

from segkit import errors
from segkit.errors import ConflictError, LocationError, PhotoError, SegkitError, SettingError, UsageError
from segkit.rows import CsvError
from segkit.schema import InvalidValueError

CLASSES: dict[str, Any] = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}
PLAIN = [kind for kind in CLASSES.values() if kind not in (SettingError, PhotoError, ConflictError, LocationError)]
"""Errors that hold nothing but their message."""


def test_the_tree_shows_every_error() -> None:
    """The drawing at the top of the module has each class below its base class."""
    drawn = re.findall(r"^([│├└─ ]*)(\w+Error) ", errors.__doc__ or "", re.MULTILINE)

    parents = {0: "Exception"}
    tree = {}
    for indent, name in drawn:
        depth = len(indent) // 4
        tree[name], parents[depth + 1] = parents[depth], name
    assert tree == {name: kind.__bases__[0].__name__ for name, kind in CLASSES.items()}


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_every_error_has_an_exit_code(kind: type[SegkitError]) -> None:
    """Whoever catches the base class gets the exit code of the command line."""
    assert issubclass(kind, SegkitError)
    assert kind.exit_code == 2


def test_a_setting_error_speaks_of_values() -> None:
    """Python callers read the setting as they wrote it; segkit.commands.options turns it into an option."""
    error = SettingError("min_size", 4, "at least 8")

    assert (error.name, error.value, error.expected) == ("min_size", 4, "at least 8")
    assert str(error) == "min_size=4: expected at least 8."
    assert isinstance(error, UsageError)


def test_a_photo_error_carries_its_reason() -> None:
    """The reason is recorded, the message is shown."""
    error = PhotoError("too-small", "40 x 30 pixels")

    assert (error.reason, str(error)) == ("too-small", "40 x 30 pixels")


@pytest.mark.parametrize(
    "error",
    [
        *(kind("what was found") for kind in PLAIN),
        SettingError("min_size", 4, "at least 8"),
        SettingError("base", "caf\udce9", "UTF-8 text"),
        PhotoError("too-small", "40 x 30 pixels"),
        ConflictError("changed meanwhile", 3),
        LocationError("missing", "s3://rooms/0.tar does not exist"),
        CsvError(3, "a quote is left open"),
        InvalidValueError("width", "expected int, found str"),
        InvalidValueError("", "parts is missing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_processes(error: Exception) -> None:
    """Pickled, as a pool of processes does, and copied: the same class, message and attributes."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_a_long_value_is_shown_in_one_short_line() -> None:
    """Arrays print over several lines, and lists without end."""
    zeros, numbers = np.zeros((2, 2)), list(range(10_000))

    assert str(SettingError("steps", zeros, "a number")) == "steps=array([[0., 0.], [0., 0.]]): expected a number."
    assert len(str(SettingError("steps", numbers, "a number"))) < 250
