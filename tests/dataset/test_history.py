"""The history of a map: which edits count, which can come back, and what a triple built again keeps."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from segkit.dataset import Dataset, history, relabel
from segkit.dataset.history import Base, Edit, Entry, History
from segkit.errors import DatasetError
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import build, render


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of two triples, the first with an edited map."""
    made = build(render(tmp_path / "photos", 2), tmp_path / "out")
    relabel.relabel(made, made[0].key, [Stroke(36, ((0, 90),))])
    return made


def edit(number: int) -> Entry:
    """Return an edit."""
    return Entry(number, "edit", "", Edit((Stroke(number, ((0, 1),)),)))


def test_undone_edits_that_nothing_can_bring_back_are_dropped() -> None:
    """Undo and redo move edits between two stacks; a new edit ends redoing, and the file does not keep the old one."""
    known = History(Base(()), b"", (edit(1), edit(2), edit(3), Entry(4, "undo"), Entry(5, "undo"), Entry(6, "redo")))

    longer = known.with_entry(edit(7))
    longest = longer.with_entry(Entry(8, "undo"))

    assert [entry.number for entry in known.applied] == [1, 2]
    assert [entry.number for entry in known.undone] == [3]
    assert [entry.number for entry in longer.applied] == [1, 2, 7]
    assert longer.undone == ()
    assert [entry.number for entry in longest.undone] == [7]
    assert 3 not in [entry.number for entry in longest.entries]


def test_a_new_history_continues_the_numbers_of_a_forgotten_one() -> None:
    """So that an entry that was not recorded never looks recorded."""
    assert History(Base(()), b"", recorded=7).next_number == 8


def test_a_damaged_history_is_one_clear_line(dataset: Dataset) -> None:
    """It names the file and what to do; the map itself is not touched."""
    path = history.path(dataset.folder, dataset[0].key)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(DatasetError, match=f"{path.name} is damaged: .* Restore a copy of it"):
        relabel.undo(dataset, dataset[0].key)


@pytest.mark.parametrize("lost", ["photo", "map", "both"])
def test_a_persons_map_survives_the_loss_of_files(dataset: Dataset, tmp_path: Path, lost: str) -> None:
    """A build restores photo and map: the map as the person left it, from the file or from its history."""
    triple = dataset[0]
    before, paths = triple.labels, [dataset.folder / triple.file_name]
    paths.append(dataset.folder / triple.conditioning_image_file_name)
    for path in {"photo": paths[:1], "map": paths[1:], "both": paths}[lost]:
        path.unlink()

    rebuilt = build(tmp_path / "photos", dataset.folder)

    assert np.array_equal(rebuilt[0].labels, before)
    assert rebuilt[0] == triple
    assert [problem for problem in rebuilt.check() if problem.severity == "error"] == []


def test_a_map_that_nothing_can_restore_is_the_segmenters_again(dataset: Dataset, tmp_path: Path) -> None:
    """Without map and history, a build makes the map again and the record says so."""
    (dataset.folder / dataset[0].conditioning_image_file_name).unlink()
    shutil.rmtree(dataset.hidden / "edits")

    rebuilt = build(tmp_path / "photos", dataset.folder)

    assert not rebuilt[0].map_by_person
    assert rebuilt[0].edits.revision == 1
    assert "lamp" not in {share.name for share in rebuilt[0].classes}
