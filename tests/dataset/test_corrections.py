"""Corrections as a file: two people share the work, and nothing of either is overwritten."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from segkit.dataset import Dataset, classes, corrections, decisions, relabel
from segkit.errors import UsageError
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import build, render

LAMP, BUFFET = 36, 99


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four triples. Do not change it."""
    folder = tmp_path_factory.mktemp("corrections")
    build(render(folder / "photos", 4), folder / "out")
    return folder / "out"


@pytest.fixture
def mine(built: Path, tmp_path: Path) -> Dataset:
    """My copy of the dataset, with corrections of everything that can be corrected."""
    shutil.copytree(built, tmp_path / "mine")
    dataset = Dataset.open(tmp_path / "mine")
    first, second, third, _ = dataset.triples()
    relabel.relabel(dataset, first.key, [Stroke(LAMP, ((0, 90),)), Stroke(255, ((500, 9),))])
    relabel.relabel(dataset, first.key, [Stroke(BUFFET, ((40, 90),))])
    decisions.set_prompt(dataset, second.key, "my words", count=len)
    decisions.decide(dataset, second.key, "accepted")
    decisions.decide(dataset, third.key, "rejected")
    decisions.move(dataset, third.key, "test")
    return dataset


@pytest.fixture
def yours(built: Path, tmp_path: Path) -> Dataset:
    """Your copy of the dataset."""
    shutil.copytree(built, tmp_path / "yours")
    return Dataset.open(tmp_path / "yours")


def test_corrections_arrive_whole_and_once(mine: Dataset, yours: Dataset, tmp_path: Path) -> None:
    """Maps, prompts, decisions and splits are then the same, a map is one edit, and a second import changes nothing."""
    path, original = tmp_path / "corrections.jsonl", yours[0].labels

    number = corrections.export_corrections(mine, path)
    report = corrections.import_corrections(yours, path)
    files = {file: file.read_bytes() for file in yours.folder.rglob("*") if file.suffix in (".jsonl", ".png")}
    again = corrections.import_corrections(yours, path)

    assert number == 3
    assert (report.maps, report.prompts, report.decisions, report.splits, report.conflicts) == (1, 1, 2, 1, [])
    for left, right in zip(mine.triples(), yours.triples(), strict=True):
        assert np.array_equal(left.labels, right.labels)
        for name in ("text", "tokens", "review", "split", "classes"):
            assert getattr(left, name) == getattr(right, name)
        assert right.edits.map_by == left.edits.map_by
    assert (again.maps, again.prompts, again.decisions, again.splits, again.unchanged) == (0, 0, 0, 0, 3)
    assert files == {file: file.read_bytes() for file in files}
    relabel.undo(yours, yours[0].key)
    assert np.array_equal(yours[0].labels, original)
    assert [problem for problem in yours.check() if problem.severity == "error"] == []


def test_nothing_of_a_person_is_overwritten(mine: Dataset, yours: Dataset, tmp_path: Path) -> None:
    """Each conflict is listed; regions that only one of both painted are taken over."""
    first, second, third, fourth = yours.triples()
    relabel.relabel(mine, fourth.key, [Stroke(LAMP, ((0, 9),))])
    corrections.export_corrections(mine, path := tmp_path / "corrections.jsonl")
    relabel.relabel(yours, first.key, [Stroke(12, ((60, 5),))])
    relabel.relabel(yours, fourth.key, [Stroke(BUFFET, ((100, 9),))])
    decisions.set_prompt(yours, second.key, "your words", count=len)
    decisions.decide(yours, second.key, "rejected")
    decisions.move(yours, third.key, "val" if third.split != "val" else "train")
    before = {triple.key: (triple.text, triple.labels) for triple in yours.triples()}

    report = corrections.import_corrections(yours, path)

    after = {triple.key: triple for triple in yours.triples()}
    assert sorted((conflict.key, conflict.what) for conflict in report.conflicts) == sorted(
        [(first.key, "map"), (second.key, "prompt"), (second.key, "decision"), (third.key, "split")]
    )
    assert "5 pixels were given other classes by a person here" in next(
        conflict.reason for conflict in report.conflicts if conflict.what == "map"
    )
    assert np.array_equal(after[first.key].labels, before[first.key][1])
    assert (after[second.key].text, after[second.key].review) == ("your words", "rejected")
    assert set(after[fourth.key].labels.ravel()[np.r_[:9, 100:109]].tolist()) == {LAMP, BUFFET}


def test_a_class_that_is_missing_is_named(mine: Dataset, yours: Dataset, tmp_path: Path) -> None:
    """With the command that adds it; then the map is taken over."""
    (added,) = classes.add_classes(mine, ["solar panel"])
    relabel.relabel(mine, mine[0].key, [Stroke(added.index, ((900, 50),))])
    corrections.export_corrections(mine, path := tmp_path / "corrections.jsonl")

    refused = corrections.import_corrections(yours, path)
    classes.add_classes(yours, ["solar panel"])
    taken = corrections.import_corrections(yours, path)

    assert ["--add-class 'solar panel'" in conflict.reason for conflict in refused.conflicts] == [True]
    assert (taken.maps, taken.conflicts) == (1, [])
    assert np.array_equal(mine[0].labels, yours[0].labels)


def test_a_map_without_its_history_is_exported_whole(mine: Dataset, yours: Dataset, tmp_path: Path) -> None:
    """As after its original was forgotten."""
    relabel.forget_originals(mine)
    corrections.export_corrections(mine, path := tmp_path / "corrections.jsonl")

    corrections.import_corrections(yours, path)

    assert np.array_equal(mine[0].labels, yours[0].labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"review": "maybe"}, "line 1 is damaged: review 'maybe'"),
        ({"key": "../../../etc/pass"}, "line 1 is damaged: key"),
        ({"masks": [{"name": "lamp", "runs": [[-1, 4]]}]}, "line 1 is damaged: Expected `int` >= 0"),
        ({"surprise": 1}, "line 1 is damaged: Object contains unknown field"),
    ],
)
def test_a_damaged_file_changes_nothing(
    mine: Dataset, yours: Dataset, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """All lines are read before the first is used."""
    corrections.export_corrections(mine, path := tmp_path / "corrections.jsonl")
    first, *lines = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | change), *lines]))

    with pytest.raises(UsageError, match=message):
        corrections.import_corrections(yours, path)

    assert not any(triple.edits.revision for triple in yours.triples())


def test_masks_that_do_not_fit_are_conflicts(mine: Dataset, yours: Dataset, tmp_path: Path) -> None:
    """A map of another size, runs beyond the map, and a photo that is not in the dataset."""
    corrections.export_corrections(mine, path := tmp_path / "corrections.jsonl")
    line = json.loads(path.read_text().splitlines()[0])
    beyond = line | {"key": yours[1].key, "width": yours[1].width, "height": yours[1].height}
    beyond["masks"] = [{"name": "lamp", "runs": [[0, 10**7]]}]
    path.write_text("\n".join(map(json.dumps, [line | {"width": 8}, beyond, line | {"key": "0" * 16}])))

    report = corrections.import_corrections(yours, path)

    assert [conflict.what for conflict in report.conflicts] == ["triple", "map", "map"]
    assert (report.maps, report.unchanged) == (0, 0)
    with pytest.raises(UsageError, match="already exists"):
        corrections.export_corrections(mine, path)
