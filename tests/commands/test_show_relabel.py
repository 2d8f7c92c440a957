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

    show_relabel.taken([*done, *same, *failed], Path("rooms"), as_json=False)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "bad.png is 4x4 now."
    assert "... and 11 more" in lines
    assert "rooms: 30 maps taken over, 1 as they were, 1 not taken." in lines
