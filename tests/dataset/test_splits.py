"""Splits: assigned by group, stable, and close to the requested shares."""

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
    """Return the lines of a manifest as dictionaries."""
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("text", ["val=0.1", "val=0.1,test=0.05", "test=0.3", "val=0,test=0.5", ""])
def test_splits_approximate_the_requested_shares(text: str) -> None:
    """Over 5,000 groups each split gets its share to within 0.02."""
    requested = splits.shares(text)

    counts = Counter(splits.assign(group, requested) for group in GROUPS)

    held_out = {name: requested.get(name, 0.0) for name in ("val", "test")}
    for name, share in {**held_out, "train": 1 - sum(held_out.values())}.items():
        assert counts[name] / len(GROUPS) == pytest.approx(share, abs=0.02)


@given(st.sampled_from(GROUPS), st.floats(0, 0.9), st.floats(0, 0.09))
def test_a_larger_share_only_adds_to_a_split(group: str, share: float, more: float) -> None:
    """Held-out groups stay held out when the share grows."""
    if splits.assign(group, {"val": share}) == "val":
        assert splits.assign(group, {"val": share + more}) == "val"


@pytest.mark.parametrize(
    "text", ["val", "val=", "val=x", "val=nan", "val=-0.1", "val=1", "train=0.5", "val=0.1,val=0.1"]
)
def test_invalid_shares_are_refused(text: str) -> None:
    """Unknown or repeated splits and shares outside [0, 1) are errors."""
    with pytest.raises(UsageError, match=r"expected val=0\.1"):
        splits.shares(text)


def test_shares_must_leave_training_data() -> None:
    """Held-out shares that add up to 1 are refused."""
    with pytest.raises(UsageError, match="so that something is left to train on"):
        splits.shares("val=0.5,test=0.5")


def test_adding_photos_keeps_existing_splits(tmp_path: Path) -> None:
    """The splits of existing photos do not change when a dataset grows."""
    photos = render(tmp_path / "photos", 8)
    build(photos, tmp_path / "out")
    before = {line["key"]: line["split"] for line in lines(tmp_path / "out")}

    build(render(photos, 8, first=8), tmp_path / "out")

    after = {line["key"]: line["split"] for line in lines(tmp_path / "out")}
    assert len(after) == 16
    assert before.items() <= after.items()
    assert set(after.values()) == {"train", "val"}


def test_near_duplicates_stay_together(tmp_path: Path) -> None:
    """Mirrored and scaled copies share a group and therefore a split."""
    from PIL import Image, ImageOps

    photos = render(tmp_path / "photos", 12)
    for path in sorted(photos.iterdir()):
        with Image.open(path) as photo:
            ImageOps.mirror(photo).save(photos / f"mirror {path.name}")
            photo.resize((photo.width - 16, photo.height - 12)).save(photos / f"smaller {path.name}")

    build(photos, tmp_path / "out", split="val=0.3,test=0.3", keep_duplicates=True)

    splits_by_group: dict[str, set[str]] = {}
    for line in lines(tmp_path / "out"):
        splits_by_group.setdefault(line["group"], set()).add(line["split"])
    assert len(lines(tmp_path / "out")) == 36
    assert len(splits_by_group) <= 12
    assert all(len(names) == 1 for names in splits_by_group.values())


def test_new_shares_on_a_rerun_change_only_the_splits(tmp_path: Path) -> None:
    """--split on an existing dataset reassigns all triples, as if it had been passed to the first build."""
    photos, out = render(tmp_path / "photos", 10), tmp_path / "out"
    build(photos, out, split="")
    before, old = lines(out), contents(out)

    build(photos, out, split="val=0.5")
    after, new = lines(out), contents(out)
    build(photos, tmp_path / "fresh", split="val=0.5")

    assert {line["split"] for line in after} == {"train", "val"}
    assert [{**line, "split": "train"} for line in after] == before
    changed = {name for name in new if new[name] != old.get(name)}
    assert changed == {"metadata.jsonl", ".segkit/dataset.toml"}
    assert contents(tmp_path / "fresh") == new


def test_a_rerun_without_shares_uses_the_recorded_ones(tmp_path: Path) -> None:
    """Photos added later without --split are assigned by the recorded shares."""
    photos, out = render(tmp_path / "photos", 4), tmp_path / "out"
    build(photos, out, split="val=0.6")

    build(render(photos, 8, first=4), out, split="")
    build(photos, tmp_path / "fresh", split="val=0.6")

    assert lines(out) == lines(tmp_path / "fresh")
