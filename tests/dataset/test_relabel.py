"""Maps corrected by a person: exact, undone and redone at any time, never overwritten."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segkit.dataset import Dataset, relabel
from segkit.dataset.relabel import State
from segkit.errors import ConflictError, DatasetError, MapError, UsageError
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import build, render

LAMP, BUFFET = 36, 99


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three triples, and the photos beside it. Do not change it."""
    folder = tmp_path_factory.mktemp("relabel")
    build(render(folder / "photos", 3), folder / "out")
    return folder


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Dataset:
    """A copy of that dataset."""
    shutil.copytree(built, tmp_path / "copy")
    return Dataset.open(tmp_path / "copy" / "out")


def errors(dataset: Dataset) -> list[str]:
    """Return the rules of all errors that check finds."""
    return [problem.rule for problem in dataset.check() if problem.severity == "error"]


def test_an_edit_sets_exactly_its_pixels_and_is_recorded(dataset: Dataset) -> None:
    """The record names who, when, and whose map it was; confidence is 1 where a person decided; check is content."""
    triple = dataset[0]
    before = triple.labels

    state = relabel.relabel(dataset, triple.key, [Stroke(BUFFET, ((0, 50), (100, 3)))], revision=0, what="a buffet")

    expected = before.copy()
    expected.ravel()[np.r_[:50, 100:103]] = BUFFET
    edited = dataset[0]
    assert np.array_equal(edited.labels, expected)
    assert state == State(revision=1, undoable=1, redoable=0) == relabel.state(dataset, triple.key)
    assert (edited.edits.map_by, edited.edits.segmenter, edited.map_by_person) == ("person", "brightness@1", True)
    assert re.fullmatch(r"20\d{6}T\d{6}Z", edited.edits.time)
    assert {share.name: share.confidence for share in edited.classes} == {
        **{share.name: 0.5 for share in triple.classes}, "buffet": 1.0
    }  # fmt: skip
    assert errors(dataset) == []


def test_every_edit_can_be_undone_and_redone_after_a_restart(dataset: Dataset) -> None:
    """Step by step the same maps come back, at the end the original file, byte for byte; a new edit ends redoing."""
    key, path = dataset[0].key, dataset.folder / dataset[0].conditioning_image_file_name
    original, record, rng = path.read_bytes(), dataset[0].classes, np.random.default_rng(0)
    maps = [original]
    for _ in range(4):
        start = int(rng.integers(0, 9000))
        relabel.relabel(dataset, key, [Stroke(int(rng.integers(100, 150)), ((start, 200),))])
        maps.append(path.read_bytes())

    for shown in reversed(maps[:-1]):
        relabel.undo(Dataset.open(dataset.folder), key)
        assert path.read_bytes() == shown
    undone = dataset[0]
    for shown in maps[1:3]:
        relabel.redo(Dataset.open(dataset.folder), key)
        assert path.read_bytes() == shown
    state = relabel.relabel(dataset, key, [Stroke(LAMP, ((7, 7),))])
    relabel.undo(dataset, key)

    assert (undone.classes, undone.map_by_person) == (record, False)
    assert (state.undoable, state.redoable) == (3, 0)
    assert path.read_bytes() == maps[2]
    assert len(set(maps)) == 5
    assert errors(dataset) == []


def test_two_people_on_one_triple_get_a_choice(dataset: Dataset) -> None:
    """Whoever saw an older revision changes nothing, and learns the present one; prompts and decisions count too."""
    key = dataset[0].key
    relabel.relabel(dataset, key, [Stroke(LAMP, ((0, 9),))], revision=0)
    dataset.set_prompts({key: "a room"})
    before = dataset[0].labels

    changes: list[Callable[[], object]] = [
        lambda: relabel.relabel(dataset, key, [Stroke(BUFFET, ((0, 9),))], revision=1),
        lambda: relabel.undo(dataset, key, revision=1),
        lambda: relabel.replace_labels(dataset, key, before, revision=1),
    ]
    for change in changes:
        with pytest.raises(ConflictError, match="changed meanwhile: revision 2, not 1") as caught:
            change()
        assert caught.value.revision == 2
    assert np.array_equal(dataset[0].labels, before)
    assert relabel.state(dataset, key).revision == 2


def test_an_edit_that_changes_nothing_is_none(dataset: Dataset) -> None:
    """Neither a revision nor a step to undo."""
    triple = dataset[0]

    painted = relabel.relabel(dataset, triple.key, [Stroke(int(triple.labels[0, 0]), ((0, 1),))])
    replaced = relabel.replace_labels(dataset, triple.key, triple.labels)

    assert painted == replaced == State(0, 0, 0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d, k: relabel.relabel(d, k, [Stroke(200, ((0, 1),))]), UsageError, "label 200 is not a class"),
        (lambda d, k: relabel.relabel(d, k, [Stroke(0, ((0, 10**6),))]), UsageError, "within the .* pixels"),
        (lambda d, k: relabel.undo(d, k), UsageError, "nothing to undo"),
        (lambda d, k: relabel.redo(d, k), UsageError, "nothing to redo"),
        (lambda d, k: relabel.replace_labels(d, k, np.zeros((4, 4), np.uint8)), MapError, "is 4x4, not"),
        (lambda d, k: relabel.replace_labels(d, k, np.full_like(d[k].labels, 222)), UsageError, "label 222"),
        (lambda d, k: relabel.replace_labels(d, k, np.full_like(d[k].labels, 255)), MapError, "no class at all"),
        (lambda d, k: relabel.undo_bulk(d, "../../etc"), UsageError, "not a change of many maps"),
        (lambda d, k: relabel.relabel(d, "0" * 16, []), KeyError, "0000"),
    ],
)
def test_an_impossible_edit_changes_nothing(
    dataset: Dataset, change: Callable[[Dataset, str], object], error: type[Exception], message: str
) -> None:
    """It is refused with what was wrong."""
    before = dataset[0]

    with pytest.raises(error, match=message):
        change(dataset, before.key)

    assert dataset[0] == before
    assert not (dataset.hidden / "originals").exists()


def test_a_class_is_replaced_in_many_maps_at_once(dataset: Dataset) -> None:
    """One undo takes all of it back, but leaves a map alone that was edited since."""
    first, second, third = dataset.triples()
    before = [triple.labels for triple in dataset]
    sky = dataset.info.palette.find("sky").index

    bulk = relabel.relabel_many(dataset, [first.key, third.key], sky, LAMP)
    after = [triple.labels for triple in dataset]
    relabel.relabel(dataset, third.key, [Stroke(BUFFET, ((0, 5),))])
    undone = relabel.undo_bulk(Dataset.open(dataset.folder), bulk.token)

    assert bulk.keys == (first.key, third.key)
    assert [np.array_equal(new, np.where(old == sky, LAMP, old)) for old, new in zip(before, after, strict=True)] == [
        True, not (before[1] == sky).any(), True
    ]  # fmt: skip
    assert (undone.keys, undone.kept) == ((first.key,), (third.key,))
    assert np.array_equal(dataset[0].labels, before[0])
    assert not (dataset[2].labels == sky).any()
    assert second == dataset[1]


def test_a_map_painted_in_place_is_not_edited_until_it_is_taken_over(dataset: Dataset) -> None:
    """An edit would destroy what somebody painted outside segkit; with a history, taking it over can be undone."""
    key, path = dataset[0].key, dataset.folder / dataset[0].conditioning_image_file_name
    relabel.relabel(dataset, key, [Stroke(LAMP, ((0, 9),))])
    edited, image = dataset[0].labels, dataset[0].control_map
    image.paste(BUFFET, (8, 8, 40, 24))
    image.save(path)

    with pytest.raises(DatasetError, match=f"changed outside segkit. To take over what was painted: segkit .* {key}"):
        relabel.relabel(dataset, key, [Stroke(LAMP, ((0, 9),))])
    relabel.take_over(dataset, key, np.asarray(image))
    taken = dataset[0].labels
    relabel.undo(dataset, key)

    assert (taken[8:24, 8:40] == BUFFET).all()
    assert np.array_equal(dataset[0].labels, edited)


def test_forgotten_originals_leave_the_maps_alone(dataset: Dataset) -> None:
    """Nothing can be undone afterwards, edits start again, and the map stays a person's."""
    key = dataset[0].key
    relabel.relabel(dataset, key, [Stroke(LAMP, ((0, 9),))])
    relabel.relabel(dataset, key, [Stroke(LAMP, ((50, 9),))])
    before = dataset[0].labels

    number = relabel.forget_originals(dataset)
    forgotten = relabel.state(dataset, key)
    relabel.relabel(dataset, key, [Stroke(BUFFET, ((0, 9),))])
    state = relabel.undo(dataset, key)

    assert (number, forgotten) == (1, State(2, 0, 0))
    assert (state.undoable, state.redoable) == (0, 1)
    assert np.array_equal(dataset[0].labels, before)
    assert dataset[0].map_by_person
    assert errors(dataset) == []
