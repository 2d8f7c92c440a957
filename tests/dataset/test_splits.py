"""Splits: assigned by group, stable, and close to the requested shares."""

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from segkit.dataset import splits
from segkit.dataset.triple import UNDRAWN, Triple
from segkit.errors import UsageError
from tests.dataset.test_dataset import build, contents, render
from tests.reports.test_findings import triple

GROUPS = [hashlib.sha256(bytes([number % 256, number // 256])).hexdigest()[:16] for number in range(5000)]


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a manifest as dictionaries."""
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def group(place: int, size: int, split: str = "train", drawn: str = UNDRAWN) -> list[Triple]:
    """Return the triples of one group of near-duplicates, by default not drawn yet."""
    name = GROUPS[place]
    return [replace(triple(name), group=name, split=split, drawn=drawn) for _ in range(size)]


def drawn(triples: list[Triple], text: str, redraw: bool = False) -> list[Triple]:
    """Return the triples after a draw."""
    codes = splits.draw(splits.Members.of(triples), splits.shares(text), redraw).tolist()
    return [splits.placed(one, code) for one, code in zip(triples, codes, strict=True)]


SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=9)


@settings(max_examples=300, deadline=None)
@given(SIZES, st.integers(0, 95))
def test_the_share_is_met_as_nearly_as_groups_allow(sizes: list[int], percent: int) -> None:
    """No other choice of whole groups that leaves one to train on comes nearer to the share."""
    triples = [one for place, size in enumerate(sizes) for one in group(place, size)]
    share = percent / 100

    held = sum(one.split == "val" for one in drawn(triples, f"val={share}"))

    possible = {sum(chosen) for number in range(len(sizes)) for chosen in itertools.combinations(sizes, number)}
    target = share * len(triples)
    assert abs(held - target) == pytest.approx(min(abs(other - target) for other in possible))


@pytest.mark.parametrize("text", ["val=0.1", "val=0.1,test=0.05", "test=0.3", "val=0,test=0.5", ""])
@pytest.mark.parametrize("number", [1, 4, 16, 100, 5000])
def test_shares_of_single_photos_are_met_to_half_a_photo(text: str, number: int) -> None:
    """Without near-duplicates every split has its share, rounded, whatever the size of the dataset."""
    requested = splits.shares(text)
    after = drawn([one for place in range(number) for one in group(place, 1)], text)

    counts = Counter(one.split for one in after)

    for name in ("val", "test"):
        assert abs(counts[name] - requested.get(name, 0.0) * number) <= (0.5 if number > 1 else 1)
    assert counts["train"] >= 1


@given(SIZES, SIZES, st.integers(0, 45), st.integers(0, 45))
def test_photos_that_are_added_move_no_others(first: list[int], second: list[int], val: int, test: int) -> None:
    """What was drawn stays, and new photos bring each split as near to its share as they can."""
    text = f"val={val / 100},test={test / 100}"
    before = drawn([one for place, size in enumerate(first) for one in group(place, size)], text)
    added = [one for place, size in enumerate(second, len(first)) for one in group(place, size)]

    after = drawn([*before, *added], text)

    assert [one.split for one in after[: len(before)]] == [one.split for one in before]
    by_group: dict[str, set[str]] = {}
    for one in after:
        by_group.setdefault(one.group, set()).add(one.split)
    assert all(len(names) == 1 for names in by_group.values())


def test_added_photos_make_up_for_a_share_that_was_missed() -> None:
    """A group of 5 among 6 photos cannot be held out at 30 %; of 10 later single photos as many are as it takes."""
    before = drawn([*group(0, 5), *group(1, 1)], "val=0.3")

    after = drawn([*before, *(one for place in range(2, 12) for one in group(place, 1))], "val=0.3")

    assert sum(one.split == "val" for one in before) == 1
    assert sum(one.split == "val" for one in after) == 5


@given(SIZES, st.integers(0, 50), st.integers(0, 45))
def test_a_larger_share_of_single_photos_only_adds(sizes: list[int], percent: int, more: int) -> None:
    """Held-out photos stay held out when the share grows, and a smaller share only removes some."""
    triples = [one for place in range(sum(sizes)) for one in group(place, 1)]
    small = drawn(triples, f"val={percent / 100}")
    large = drawn(small, f"val={(percent + more) / 100}", redraw=True)

    def held(drawn: list[Triple]) -> set[str]:
        return {one.key for one in drawn if one.split == "val"}

    assert held(small) <= held(large)
    assert held(drawn(large, f"val={percent / 100}", redraw=True)) <= held(large)


@given(st.integers(1, 9), st.integers(0, 90), st.sampled_from(["train", "val", "test"]), st.booleans())
def test_a_split_set_by_hand_is_never_changed(number: int, percent: int, name: str, redraw: bool) -> None:
    """Neither by photos that are added nor by another share; the rest of its group follows it in a new draw."""
    other = "val" if name == "train" else "train"
    by_hand = [*group(0, 1, split=name, drawn=other), *group(0, 2, split=other, drawn=other)]
    new = [one for place in range(1, number) for one in group(place, 1)]

    triples = [*by_hand, *new]
    codes = splits.draw(splits.Members.of(triples), {"val": percent / 100}, redraw).tolist()
    names = [splits.placed(one, code).split for one, code in zip(triples, codes, strict=True)]

    assert names[:3] == [name, *[name if redraw else other] * 2]


def test_datasets_of_earlier_versions_tell_drawn_splits_from_typed_ones() -> None:
    """They drew each group by its position alone, so a split that differs from that was set by hand."""
    recorded = {"val": 0.2, "test": 0.1}
    for place in range(200):
        position = splits.position(GROUPS[place])
        name = "val" if position < 0.2 else "test" if position < 0.3 else "train"
        other = "train" if name == "val" else "val"
        [as_drawn], [typed] = group(place, 1, name, drawn=""), group(place, 1, other, drawn="")
        assert not splits.is_by_hand(splits.with_draw(as_drawn, recorded))
        assert splits.is_by_hand(splits.with_draw(typed, recorded))


@pytest.mark.parametrize(
    ("counts", "text", "sentence"),
    [
        ({"train": 13, "val": 3}, "val=0.2", "Splits: 13 train, 3 val (18.8%, requested 20.0%)."),
        ({"train": 8, "val": 2}, "val=0.2", "Splits: 8 train, 2 val (20.0%)."),
        ({"train": 9, "val": 1}, "", "Splits: 9 train, 1 val (10.0%, requested 0.0%)."),
        ({"train": 4}, "", ""),
        ({}, "val=0.1", ""),
    ],
)
def test_the_real_share_is_shown(counts: dict[str, int], text: str, sentence: str) -> None:
    """With the requested one where they differ."""
    assert splits.sentence(counts, splits.shares(text)) == sentence


def test_nothing_held_out_is_said() -> None:
    """A share of less than half a photo holds out none, which a person should know."""
    sentence = splits.sentence({"train": 4}, {"val": 0.1})

    assert sentence.startswith("Splits: 4 train, 0 val (0.0%, requested 10.0%). None in val: no group comes nearer")


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
    assert [{**line, "split": "train", "drawn": "train"} for line in after] == before
    changed = {name for name in new if new[name] != old.get(name)}
    assert changed == {"metadata.jsonl", ".segkit/dataset.toml"}
    assert contents(tmp_path / "fresh") == new


def test_a_rerun_without_shares_uses_the_recorded_ones(tmp_path: Path) -> None:
    """Photos added later without --split are drawn by the recorded shares."""
    photos, out = render(tmp_path / "photos", 4), tmp_path / "out"
    build(photos, out, split="val=0.25")

    build(render(photos, 8, first=4), out, split="")

    assert Counter(line["split"] for line in lines(out)) == {"train": 9, "val": 3}


def test_a_split_in_the_manifest_is_kept(tmp_path: Path) -> None:
    """A person edits one line; photos added later and other shares leave it as it is."""
    photos, out = render(tmp_path / "photos", 6), tmp_path / "out"
    dataset = build(photos, out, split="val=0.3")
    typed = next(triple for triple in dataset.triples() if triple.split == "val")
    text = (out / "metadata.jsonl").read_text()
    (out / "metadata.jsonl").write_text(
        "".join(
            line.replace('"split": "val"', '"split": "test"') if typed.key in line else line
            for line in text.splitlines(keepends=True)
        )
    )

    build(render(photos, 3, first=6), out, split="val=0.5")
    build(photos, out, split="val=0")

    splits_by_key = {line["key"]: line["split"] for line in lines(out)}
    assert splits_by_key.pop(typed.key) == "test"
    assert set(splits_by_key.values()) == {"train"}
