"""Texts of remove and subset."""

from pathlib import Path

import pytest

from segkit.commands import show_removal
from segkit.dataset.remove import Removed
from segkit.dataset.subset import Copied


def test_long_lists_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Of many sources the first are named, and what else happened is said in a line each."""
    result = Removed(("a.jpg", "b.jpg", "c.jpg", "d.jpg"), 2, (), 3, ("e.jpg",))

    show_removal.removed(result, 1200, Path("my rooms"), False)
    show_removal.restored(Removed(("a.jpg",), 0, ("a.jpg",)), Path("my rooms"), False)
    show_removal.copied(Copied(3, 1, 4, False), Path("few"), False)

    assert capsys.readouterr().out.splitlines() == [
        "my rooms: 4 triples left out (a.jpg, b.jpg, c.jpg and 1 more); 1,200 remain.",
        "Left out before: 2.",
        "Pictures deleted: of 3 triples.",
        "Pictures kept, because somebody changed them: e.jpg.",
        "To put them back: segkit remove 'my rooms' --undo KEY, or with the same --where.",
        "my rooms: 1 triple put back (a.jpg).",
        "Without pictures: a.jpg. Run segkit build-dataset with the same photos, output and settings: it makes them "
        "again.",
        "few: 3 triples copied (copies), 1 of them were there already; 4 in all.",
        "Next: segkit check few, segkit train few",
    ]
