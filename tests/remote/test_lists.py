"""Brace ranges."""

import pytest

from segkit.errors import UsageError
from segkit.remote.lists import expanded


def test_braces_stand_for_names() -> None:
    """Ranges keep their width; alternatives and several pairs multiply; text without braces stays."""
    assert expanded("p-{008..011}.tar") == ["p-008.tar", "p-009.tar", "p-010.tar", "p-011.tar"]
    assert expanded("{a,b}/{1..2}") == ["a/1", "a/2", "b/1", "b/2"]
    assert expanded("s3://rooms/a.tar") == ["s3://rooms/a.tar"]


@pytest.mark.parametrize("text", ["{3..1}", "{a}", "{0..9999999}", "{0..999}{0..999}"])
def test_other_braces_are_refused(text: str) -> None:
    """A range that runs backwards, one name, and more names than anyone means."""
    with pytest.raises(UsageError, match=r"[Ee]xpected"):
        expanded(text)
