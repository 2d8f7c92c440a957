"""Compact lists hold what plain ones hold."""

import os
from pathlib import Path

import pytest

from segkit.build.compact import Names, NameSet, Paths

NAMES = ["a.jpg", "", "b/ü.jpg", os.fsdecode(b"caf\xe9.jpg"), "b/c d.png"]


def test_names_are_a_list_of_texts() -> None:
    """Positions, negative ones, slices and iteration work, for undecodable file names too."""
    names = Names(NAMES)
    names.append("z")

    assert list(names) == [*NAMES, "z"]
    assert (names[0], names[-1], names[1:3]) == ("a.jpg", "z", NAMES[1:3])
    with pytest.raises(IndexError):
        names[6]


def test_paths_are_a_list_of_paths() -> None:
    """The paths come back in their order."""
    paths = [Path("/photos") / name for name in NAMES if name]

    assert list(Paths(Path("/photos"), paths)) == paths
    assert Paths(Path("/photos"), paths)[1:] == paths[1:]
    assert len(Paths(Path("photos"), [])) == 0


def test_a_set_of_names_tells_what_it_contains() -> None:
    """Names that were never added are not in it."""
    names = NameSet(NAMES)

    assert all(name in names for name in NAMES)
    assert not any(name in names for name in ("b.jpg", "a", " ", "b/ü.jpg "))
    assert "a.jpg" not in NameSet()
