"""Subsets: new datasets that share their pictures with the old one."""

import os
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, relabel, remove, subset, where
from segkit.errors import DatasetError, UsageError
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import build, contents, render, written


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples, two with a person's prompt."""
    made = build(render(tmp_path / "photos", 4), tmp_path / "out")
    made.replace_all(written(triple, "mine") if place > 1 else triple for place, triple in enumerate(made.triples()))
    return made


def test_a_subset_is_a_whole_dataset(dataset: Dataset, tmp_path: Path) -> None:
    """Records are equal, pictures are links, what was left out is not copied, and run again it does nothing."""
    remove.remove(dataset, [dataset[3].key], None)
    condition = where.parse("by:person", dataset.info.palette)

    copied = subset.subset(dataset, tmp_path / "new", condition)
    new = Dataset.open(tmp_path / "new")
    before = contents(new.folder)
    again = subset.subset(dataset, tmp_path / "new", condition)

    assert (copied.copied, copied.present, copied.linked) == (1, 0, True)
    assert list(new) == [dataset[2]]
    assert [problem.rule for problem in new.check()] == []
    assert (new.folder / new[0].file_name).samefile(dataset.folder / new[0].file_name)
    assert (again.copied, again.present, contents(new.folder)) == (0, 1, before)


def test_copies_are_independent(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With copy, or where links are impossible, pictures are files of their own."""
    asked = subset.subset(dataset, tmp_path / "asked", None, copy=True)
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError("no links")))
    forced = subset.subset(dataset, tmp_path / "forced", None)

    assert (asked.linked, forced.linked) == (False, False)
    for folder in ("asked", "forced"):
        name = dataset[0].file_name
        assert not (tmp_path / folder / name).samefile(dataset.folder / name)
        assert (tmp_path / folder / name).read_bytes() == (dataset.folder / name).read_bytes()


def test_other_folders_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    """The dataset itself, another dataset, and a folder with other files are left alone."""
    other = build(render(tmp_path / "more", 1), tmp_path / "other")
    other.save_info(replace(other.info, settings={**other.info.settings, "size": 512}))
    before = contents(other.folder)

    with pytest.raises(UsageError, match="is the dataset itself"):
        subset.subset(dataset, dataset.folder, None)
    with pytest.raises(UsageError, match="one lies in the other"):
        subset.subset(dataset, dataset.folder / "inner", None)
    with pytest.raises(UsageError, match="No triple meets the conditions"):
        subset.subset(dataset, tmp_path / "none", where.parse("text:zebra", dataset.info.palette))
    assert not (tmp_path / "none").exists()
    for folder in (other.folder, tmp_path / "photos"):
        with pytest.raises(DatasetError, match=r"another palette, segmenter or size|not a segkit dataset"):
            subset.subset(dataset, folder, None)
    assert contents(other.folder) == before


def test_the_history_of_a_map_is_copied(dataset: Dataset, tmp_path: Path) -> None:
    """An edit can be undone in the subset, which leaves the dataset alone."""
    before, key = dataset[0].labels, dataset[0].key
    relabel.relabel(dataset, key, [Stroke(36, ((0, 90),))])
    edited = dataset[0].labels

    subset.subset(dataset, tmp_path / "subset", None)
    copied = Dataset.open(tmp_path / "subset")
    relabel.undo(copied, key)

    assert np.array_equal(copied[key].labels, before)
    assert np.array_equal(dataset[key].labels, edited)
