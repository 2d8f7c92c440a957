"""Triples that are left out: nothing of them is lost, nothing brings them back but --undo."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit import storage
from segkit.dataset import Dataset, prune, relabel, remove, where
from segkit.dataset.triple import UNEDITED
from segkit.errors import UsageError
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import build, contents, render, written


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of five triples, the third with a person's prompt."""
    made = build(render(tmp_path / "photos", 5), tmp_path / "out")
    made.replace_all(written(triple, "mine") if place == 2 else triple for place, triple in enumerate(made.triples()))
    return made


def test_what_is_left_out_stays_out_and_comes_back_whole(dataset: Dataset) -> None:
    """A build with the same photos keeps it out; undone, the dataset is as before, prompt included."""
    before, photos = contents(dataset.folder), dataset.folder.parent / "photos"
    third = dataset[2]

    removed = remove.remove(dataset, [third.source, third.key], None)
    again = remove.remove(dataset, [third.key[:6]], None)
    rebuilt = build(photos, dataset.folder)
    left = [triple.source for triple in rebuilt]
    restored = remove.restore(dataset, [third.key], None)

    assert (removed.sources, removed.already) == ((third.source,), 0)
    assert (again.sources, again.already) == ((), 1)
    assert left == ["000.png", "001.png", "003.png", "004.png"]
    assert (restored.sources, restored.without_files) == ((third.source,), ())
    assert dataset[2].edits.revision == 2
    with dataset.writing():
        dataset.replace_all(replace(triple, edits=UNEDITED) for triple in dataset.triples())
    assert contents(dataset.folder) == before


def test_triples_are_chosen_by_conditions(dataset: Dataset) -> None:
    """A condition chooses among all triples; a name or column that fits none changes nothing."""
    condition = where.parse("by:person", dataset.info.palette)
    with pytest.raises(UsageError, match="'nothing' is not a key"):
        remove.remove(dataset, [dataset[0].key, "nothing"], None)

    with pytest.raises(UsageError, match="either keys or conditions"):
        remove.remove(dataset, [dataset[0].key], condition)
    with pytest.raises(UsageError, match="No triple has the column 'licnce'"):
        remove.remove(dataset, [], where.parse("-licnce:cc0", dataset.info.palette))

    chosen = remove.remove(dataset, [], condition)

    assert chosen.sources == ("002.png",)
    assert len(dataset) == 4


def test_a_dataset_of_which_all_is_left_out_keeps_every_decision(dataset: Dataset) -> None:
    """With an empty manifest, a build makes nothing again: splits, reviews and prompts stay as they were."""
    remove.remove(dataset, [], where.parse("width>0", dataset.info.palette))
    before = contents(dataset.folder)

    rebuilt = build(dataset.folder.parent / "photos", dataset.folder)

    assert len(rebuilt) == 0
    assert contents(dataset.folder) == before


def test_pictures_are_deleted_on_demand_but_never_painted_ones(dataset: Dataset) -> None:
    """The record stays, the files go; a map that a person painted stays; a build restores what is put back."""
    photos = dataset.folder.parent / "photos"
    first, second, *_ = dataset.triples()
    painted = dataset.folder / second.conditioning_image_file_name
    painted.write_bytes(painted.read_bytes() + b"changed")

    removed = remove.remove(dataset, [first.key, second.key], None, delete_files=True)
    gone = [not (dataset.folder / name).exists() for name in (first.file_name, first.conditioning_image_file_name)]
    build(photos, dataset.folder)
    still_gone = not (dataset.folder / first.file_name).exists()
    restored = remove.restore(dataset, [first.key], None)
    build(photos, dataset.folder)

    assert (removed.kept_files, gone, still_gone) == ((second.source,), [True, True], True)
    assert painted.exists()
    assert restored.without_files == (first.source,)
    assert dataset[first.key].has_files


def test_a_killed_deletion_is_completed(dataset: Dataset) -> None:
    """The files that were noted are deleted by the next build if their triples are left out, and only then."""
    first, second, *_ = dataset.triples()
    with dataset.writing():
        dataset.commit([replace(first, review="rejected")])
        dataset.fold()
    storage.write(dataset.hidden / "pruning.json", f'["{first.key}", "{second.key}"]'.encode())

    build(dataset.folder.parent / "photos", dataset.folder)

    assert [triple.has_files for triple in dataset.triples()][:2] == [False, True]


def test_a_corrected_map_is_not_deleted(dataset: Dataset) -> None:
    """It is a person's work, as a prompt is; forced pruning deletes it with its history."""
    first = dataset[0]
    relabel.relabel(dataset, first.key, [Stroke(36, ((0, 90),))])

    removed = remove.remove(dataset, [first.key], None, delete_files=True)
    kept = (dataset.folder / first.conditioning_image_file_name).exists()
    with dataset.writing():
        prune.prune(dataset, {first.sha256}, force=True)

    assert (removed.kept_files, kept) == ((first.source,), True)
    assert not (dataset.folder / first.conditioning_image_file_name).exists()
    assert not list((dataset.hidden / "edits").rglob("*.jsonl"))
    assert not list((dataset.hidden / "originals").rglob("*.png"))
