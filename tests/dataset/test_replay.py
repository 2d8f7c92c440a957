"""Maps kept in memory: the same as replayed ones, whatever is painted, and never those of an edit that failed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit import storage
from segkit.dataset import Dataset, history, relabel, replay
from segkit.errors import StorageError
from segkit.maps import strokes
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import build, render

MASKS = st.lists(st.tuples(st.sampled_from([0, 3, 255]), st.integers(0, 2**24 - 1)), max_size=4)


@given(MASKS, MASKS, st.booleans(), st.integers(1, 30), st.integers(1, 40))
def test_counts_follow_the_strokes(
    first: list[tuple[int, int]], second: list[tuple[int, int]], by_person: bool, together: int, long: int
) -> None:
    """Labels, touched pixels and counts are those of strokes applied one after the other, however they are copied."""
    labels = (np.arange(24) % 5).astype(np.uint8).reshape(4, 6)
    edits = [
        tuple(
            Stroke(label, strokes.runs(np.array([mask >> bit & 1 for bit in range(24)], bool))) for label, mask in edit
        )
        for edit in (first, second)
    ]
    expected, touched = labels.copy(), np.full(labels.shape, by_person)
    for edit in edits:
        strokes.apply(edit, expected, touched)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "_TOGETHER", together)
        patch.setattr(replay, "_LONG", long)
        begun = replay.begin(labels, by_person)
        shown = begun.after(edits)

    assert np.array_equal(shown.labels, expected)
    assert np.array_equal(shown.touched, touched)
    for row, mask in enumerate((~touched, touched)):
        assert shown.counts[row].tolist() == np.bincount(expected[mask], minlength=256).tolist()
    assert np.array_equal(begun.labels, (np.arange(24) % 5).reshape(4, 6)), "the map before is not changed"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not asked for the longest goes first; a map that is too large is not kept at all."""
    small, large = (replay.begin(np.zeros((side, side), np.uint8), by_person=False) for side in (10, 30))
    monkeypatch.setattr(replay, "MEMORY", 2 * small.size)
    for name in "abc":
        replay.keep(name, small)
        replay.kept("a")
    replay.keep("large", large)

    assert [name for name in ("a", "b", "c", "large") if replay.kept(name)] == ["a", "c"]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of one triple."""
    return build(render(tmp_path / "photos", 1), tmp_path / "out")


def test_an_edit_that_failed_is_not_shown(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full while an edit is saved; the next one, with the same number, has nothing of it."""
    key, before = dataset[0].key, dataset[0].labels
    write = storage.write

    def full(path: Path, data: bytes) -> None:
        if path.parent.parent.name == "maps":
            raise StorageError("the disk is full")
        write(path, data)

    monkeypatch.setattr(storage, "write", full)
    with pytest.raises(StorageError):
        relabel.relabel(dataset, key, [Stroke(5, ((0, 40),))])
    monkeypatch.setattr(storage, "write", write)
    relabel.relabel(dataset, key, [Stroke(7, ((40, 10),))])

    expected = before.copy()
    expected.flat[40:50] = 7
    assert np.array_equal(dataset[0].labels, expected)


def test_a_kept_map_is_as_one_from_the_disk(dataset: Dataset) -> None:
    """Through edits, undo and redo: the records say the same of the classes as a fresh look at the files."""
    key, palette = dataset[0].key, dataset.info.palette
    for step in range(6):
        if step == 3:
            relabel.undo(dataset, key)
        elif step == 4:
            relabel.redo(dataset, key)
        else:
            relabel.relabel(dataset, key, [Stroke(step, ((10 * step, 25),)), Stroke(255, ((5, 2),))])
        triple = dataset[0]
        replay._kept.clear()
        fresh = history.read(triple)
        assert fresh
        assert np.array_equal(triple.labels, fresh.shown(palette).labels)
        assert triple.classes == fresh.classes(fresh.shown(palette), palette)
