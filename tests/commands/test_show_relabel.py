"""Results of segkit relabel as text."""

from pathlib import Path

import pytest

from segkit.commands import show_relabel
from segkit.dataset.painted import Taken


def test_long_lists_are_cut_and_failures_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers add up; maps that were as they are already are counted only."""
    done = [Taken(f"{number}.png", f"{number:016x}", f"{number}.jpg", 0.1) for number in range(30)]
    same = [Taken("same.png", "0" * 16, "same.jpg")]
    failed = [Taken("bad.png", reason="is 4x4 now")]

    show_relabel.taken([*done, *same, *failed], Path("rooms"), dry_run=False, as_json=False)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "bad.png is 4x4 now."
    assert "... and 10 more (--json lists all of them)" in lines
    assert "rooms: 30 maps taken over, 1 as they were, 1 not taken." in lines


def test_pixels_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the share, which rounds to 0; uncertain and transparent ones, too."""
    few = Taken("a.png", "0" * 16, "a.jpg", 1e-5, "repaired", pixels=2, uncertain=9, transparent=2048)
    same = Taken("b.jpg", "1" * 16, "b.jpg", 0.0, "the map was saved as JPEG", uncertain=1)

    show_relabel.taken([few, same], Path("rooms"), dry_run=False, as_json=False)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"a.jpg ({few.key}): 2 pixels changed (0.0%); repaired; 9 uncertain pixels got the likeliest class; 2,048 "
        "transparent pixels became unlabelled."
    )
    assert lines[1].startswith(f"b.jpg ({same.key}): as it was; the map was saved as JPEG; 1 uncertain pixel ")
