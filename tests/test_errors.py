"""The errors that segkit raises deliberately."""

import inspect
import re

import pytest

from segkit import errors
from segkit.errors import PhotoError, SegkitError, SettingError, UsageError

CLASSES = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}


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
