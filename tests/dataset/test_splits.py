"""Splits: drawn by group, stable, near the shares asked for."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.dataset import splits
from segkit.errors import UsageError
from tests.dataset.test_dataset import build, contents, render

GROUPS = [hashlib.sha256(bytes([number % 256, number // 256])).hexdigest()[:16] for number in range(5000)]


def lines(folder: Path) -> list[dict[str, Any]]:
    """Read a manifest as plain records."""
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("text", ["val=0.1", "val=0.1,test=0.05", "test=0.3", "val=0,test=0.5", ""])
def test_shares_come_near_what_was_asked_for(text: str) -> None:
    """Of 5,000 groups each split gets its share to within two hundredths."""
    wanted = splits.shares(text)

    drawn = Counter(splits.assign(group, wanted) for group in GROUPS)

    held_out = {name: wanted.get(name, 0.0) for name in ("val", "test")}
    for name, share in {**held_out, "train": 1 - sum(held_out.values())}.items():
        assert drawn[name] / len(GROUPS) == pytest.approx(share, abs=0.02)


@given(st.sampled_from(GROUPS), st.floats(0, 0.9), st.floats(0, 0.09))
def test_a_larger_share_only_adds_to_a_split(group: str, share: float, more: float) -> None:
    """Groups that are held out stay so when more are asked for."""
    if splits.assign(group, {"val": share}) == "val":
        assert splits.assign(group, {"val": share + more}) == "val"


@pytest.mark.parametrize(
    "text", ["val", "val=", "val=x", "val=nan", "val=-0.1", "val=1", "train=0.5", "val=0.1,val=0.1"]
)
def test_shares_that_make_no_sense_are_refused(text: str) -> None:
    """A split that is unknown, stands twice, or has no share from 0 up to 1."""
    with pytest.raises(UsageError, match=r"Expected val=0\.1"):
        splits.shares(text)


def test_something_must_be_left_to_train_on() -> None:
    """Held-out shares that add up to everything are refused."""
    with pytest.raises(UsageError, match="nothing would be left to train on"):
        splits.shares("val=0.5,test=0.5")


def test_adding_photos_moves_no_other(tmp_path: Path) -> None:
    """A dataset that grew has the same splits for the photos that were there before."""
    photos = render(tmp_path / "photos", 8)
    build(photos, tmp_path / "out")
    before = {line["key"]: line["split"] for line in lines(tmp_path / "out")}

    build(render(photos, 8, first=8), tmp_path / "out")

    after = {line["key"]: line["split"] for line in lines(tmp_path / "out")}
    assert len(after) == 16
    assert before.items() <= after.items()
    assert set(after.values()) == {"train", "val"}


def test_near_duplicates_stay_together(tmp_path: Path) -> None:
    """Copies that were mirrored or scaled share their group, and so their split, whatever the shares."""
    from PIL import Image, ImageOps

    photos = render(tmp_path / "photos", 12)
    for path in sorted(photos.iterdir()):
        with Image.open(path) as photo:
            ImageOps.mirror(photo).save(photos / f"mirror {path.name}")
            photo.resize((photo.width - 16, photo.height - 12)).save(photos / f"smaller {path.name}")

    build(photos, tmp_path / "out", split="val=0.3,test=0.3", keep_duplicates=True)

    found: dict[str, set[str]] = {}
    for line in lines(tmp_path / "out"):
        found.setdefault(line["group"], set()).add(line["split"])
    assert len(lines(tmp_path / "out")) == 36
    assert len(found) <= 12
    assert all(len(names) == 1 for names in found.values())


def test_other_shares_on_a_rerun_change_the_splits_and_nothing_else(tmp_path: Path) -> None:
    """--split on a dataset that is there draws all splits anew, as if it had been given from the start."""
    photos, out = render(tmp_path / "photos", 10), tmp_path / "out"
    build(photos, out, split="")
    before, old = lines(out), contents(out)

    build(photos, out, split="val=0.5")
    after, new = lines(out), contents(out)
    build(photos, tmp_path / "anew", split="val=0.5")

    assert {line["split"] for line in after} == {"train", "val"}
    assert [{**line, "split": "train"} for line in after] == before
    changed = {name for name in new if new[name] != old.get(name)}
    assert changed == {"metadata.jsonl", ".segkit/dataset.toml"}
    assert contents(tmp_path / "anew") == new


def test_a_rerun_without_shares_keeps_the_recorded_ones(tmp_path: Path) -> None:
    """Photos added later are split as the dataset was, although --split is not typed again."""
    photos, out = render(tmp_path / "photos", 4), tmp_path / "out"
    build(photos, out, split="val=0.6")

    build(render(photos, 8, first=4), out, split="")
    build(photos, tmp_path / "anew", split="val=0.6")

    assert lines(out) == lines(tmp_path / "anew")
