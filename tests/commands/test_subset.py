"""segkit subset, through the command line."""

import json
from pathlib import Path

from segkit.dataset import Dataset
from tests.conftest import Segkit
from tests.dataset.test_dataset import build, render


def test_a_subset_is_made_and_checked(segkit: Segkit, tmp_path: Path) -> None:
    """The command says what it copied and what to run next; the result passes the check of a dataset."""
    dataset = build(render(tmp_path / "photos", 3), tmp_path / "rooms")

    made = segkit("subset", dataset.folder, "-o", tmp_path / "few", "--where", "source:00[01].png")
    again = segkit("subset", dataset.folder, "-o", tmp_path / "few", "--json")
    checked = segkit("check", tmp_path / "few")

    assert (made.code, made.err) == (0, "")
    assert "2 triples copied (hard links); 2 in all." in made.out
    assert f"segkit train {tmp_path / 'few'}" in made.out
    assert json.loads(again.out) == {
        "schema": 1, "dataset": str(tmp_path / "few"), "copied": 1, "present": 2, "total": 3, "linked": True
    }  # fmt: skip
    assert checked.code == 0
    assert len(Dataset.open(tmp_path / "few")) == 3
