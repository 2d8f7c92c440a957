"""Several sources and datasets in one: keys tell what is the same, persons win over models, conflicts are listed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, decisions
from segkit.dataset.classes import add_classes
from segkit.dataset.triple import IMPORTED
from segkit.errors import DatasetError, UsageError
from segkit.exports import pipeline as exporting
from segkit.maps.strokes import Stroke
from segkit.palette import Palette, extend
from segkit.toy import world
from tests.dataset.test_dataset import build, drafted, render
from tests.exports.conftest import chosen
from tests.imports.conftest import SIZE, Importer, Scene, ade20k, expected, kohya, write

Scenes = tuple[Scene, ...]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of four triples with drafted prompts. Do not change it."""
    folder = tmp_path_factory.mktemp("built")
    dataset = build(render(folder / "photos", 4), folder / "rooms")
    with dataset.writing():
        dataset.replace_all([drafted(triple, f"a draft {triple.source}") for triple in dataset.triples()])
    return folder / "rooms"


def copy(built: Path, name: Path) -> Dataset:
    """Return a copy of a dataset."""
    return Dataset.open(shutil.copytree(built, name))


@pytest.mark.parametrize("kind", ["dataset", "webdataset", "label-ids"])
def test_what_persons_did_in_two_copies_comes_together(kind: str, built: Path, bring: Importer, tmp_path: Path) -> None:
    """Prompts, decisions and maps of either copy, or of its export, are kept; importing again changes nothing."""
    mine, theirs = copy(built, tmp_path / "mine"), copy(built, tmp_path / "theirs")
    first, second, third, fourth = [triple.key for triple in mine]
    mine.set_prompts({first: "my words"})
    theirs.set_prompts({second: "their words"})
    theirs.decide(third, "accepted")
    theirs.relabel(fourth, [Stroke(11, ((0, 99),))])

    second_source = theirs.folder
    if kind != "dataset":
        second_source = tmp_path / kind
        exporting.export(Dataset.open(theirs.folder), second_source, chosen(kind))

    outcome = bring(mine.folder, second_source, size=0, min_size=0)
    again = bring(mine.folder, second_source, size=0, min_size=0)

    merged = outcome.dataset
    assert (outcome.imported, outcome.merged, outcome.unchanged, outcome.conflicts) == (4, 3, 1, [])
    assert (merged[first].text, merged[second].text) == ("my words", "their words")
    assert (merged[first].by_person, merged[second].by_person) == (True, True)
    assert merged[third].review == "accepted"
    assert np.array_equal(merged[fourth].labels, Dataset.open(theirs.folder)[fourth].labels)
    assert merged[fourth].map_by_person
    assert (again.imported, again.merged, again.unchanged, again.changed) == (0, 0, 8, False)
    assert not [problem for problem in merged.check() if problem.severity == "error"]


def test_where_two_persons_disagree_the_first_stays_and_the_conflict_is_named(
    built: Path, bring: Importer, tmp_path: Path
) -> None:
    """Prompt, decision and map of the first source; all differences of the second one are listed."""
    mine, theirs = copy(built, tmp_path / "mine"), copy(built, tmp_path / "theirs")
    key = mine[0].key
    for dataset, text, review, label in ((mine, "red", "accepted", 3), (theirs, "blue", "rejected", 4)):
        dataset.set_prompts({key: text})
        dataset.decide(key, review)
        dataset.relabel(key, [Stroke(label, ((0, 50),))])

    outcome = bring(mine.folder, theirs.folder, size=0, min_size=0)

    assert sorted(conflict.what for conflict in outcome.conflicts) == ["decision", "map", "prompt"]
    [triple] = outcome.dataset.get([key])
    assert (triple.text, triple.review, triple.labels[0, 0]) == ("red", "accepted", 3)


def test_a_persons_map_replaces_a_models(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Human-made maps of photos that a segmenter has labelled become edits, which can be undone."""
    (tmp_path / "photos").mkdir()
    source = ade20k(tmp_path / "ADEChallengeData2016", scenes[:2])
    photo = source / "images" / "training" / "ADE_train_00000001.jpg"
    shutil.copy(photo, tmp_path / "photos" / "mine.jpg")
    key = build(tmp_path / "photos", tmp_path / "out", split="")[0].key

    outcome = bring(source, size=0, min_size=0)
    again = bring(source, size=0, min_size=0)

    assert (outcome.imported, outcome.merged) == (1, 1)
    triple = outcome.dataset[key]
    assert np.array_equal(triple.labels, expected(scenes[0].labels))
    assert (triple.map_by_person, triple.source, triple.edits.segmenter) == (True, "mine.jpg", "brightness@1")
    assert (again.merged, again.conflicts, again.changed) == (0, [], False)


def test_equal_photos_of_two_sources_are_one_triple(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """The prompt of the second is taken over if the first has none; a copy within one source is left out."""
    one, two = kohya(tmp_path / "one", scenes[:2]), kohya(tmp_path / "two", scenes[:2])
    (one / "img" / "0.txt").unlink()
    shutil.copy(two / "img" / "1.png", two / "img" / "2.png")
    shutil.copy(two / "cond" / "1.png", two / "cond" / "2.png")
    (two / "img" / "1.txt").write_text("other words", "utf-8")
    (one / "cond" / "0.png").unlink()  # so that the second source has the only usable map

    outcome = bring(one, two)

    assert (outcome.imported, outcome.unchanged, dict(outcome.rejected)) == (2, 2, {"map-missing": 1})
    assert [(triple.source, triple.text) for triple in outcome.dataset] == [
        ("one/1.png", "caption 1"), ("two/0.png", "caption 0"),
    ]  # fmt: skip
    assert {conflict.what for conflict in outcome.conflicts} == {"prompt"}


def test_near_duplicates_across_splits(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """They are named, and left out, moved or refused; within one split they are like any near-duplicate."""
    for split, number, quality in (("train", 0, 95), ("val", 1, 60), ("val", 2, 95)):
        scene = scenes[0] if number < 2 else scenes[2]
        write(tmp_path / "a" / split / f"{number}.jpg", scene.photo, quality=quality)
        write(tmp_path / "b" / split / f"{number}.png", scene.control_map())
    folders = (tmp_path / "a", tmp_path / "b")

    dropped = bring(folders=folders, out="dropped")
    moved = bring(folders=folders, out="moved", on_leak="move")
    with pytest.raises(UsageError, match=r"1 photo in one split look like one in another: a/val/1.jpg \(val\)"):
        bring(folders=folders, out="refused", on_leak="error")

    assert [leak.outcome for leak in (*dropped.leaks, *moved.leaks)] == ["left out", "moved"]
    assert dict(dropped.rejected) == {"near-duplicate": 1}
    assert "it is in val, the other in train" in next(dropped.dataset.rejections()).message
    splits = {triple.source: (triple.split, triple.drawn) for triple in moved.dataset}
    assert splits == {
        "a/train/0.jpg": ("train", IMPORTED), "a/val/1.jpg": ("train", IMPORTED), "a/val/2.jpg": ("val", IMPORTED),
    }  # fmt: skip
    assert len({triple.group for triple in moved.dataset}) == 2
    assert not [problem for problem in moved.dataset.check() if problem.rule.startswith("split")]
    assert not (tmp_path / "refused").exists()


def test_photos_without_a_split_are_drawn_and_others_stay(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """A share concerns only photos that came without a split; a later build with another share respects that."""
    bring(ade20k(tmp_path / "ADEChallengeData2016", scenes[:3]))
    outcome = bring(kohya(tmp_path / "k", scenes[3:]), split="val=0.5", size=0, min_size=0)

    by_layout = {triple.source.partition("/")[0]: set() for triple in outcome.dataset}  # type: dict[str, set[str]]
    for triple in outcome.dataset:
        by_layout[triple.source.partition("/")[0]].add(f"{triple.split} {triple.drawn}")
    assert by_layout["ADEChallengeData2016"] == {"train import", "val import"}
    assert "val val" in by_layout["k"]
    (tmp_path / "photos").mkdir()
    world.scene(77, SIZE).photo.save(tmp_path / "photos" / "new.png")
    build(tmp_path / "photos", tmp_path / "out", split="val=0.9")
    imported = [triple for triple in Dataset.open(tmp_path / "out") if triple.origin.layout == "ade20k"]
    assert [triple.split for triple in imported] == ["train", "train", "val"]


def test_datasets_with_other_classes(built: Path, bring: Importer, tmp_path: Path) -> None:
    """Added classes come along; two different ones need a palette that has both."""
    one, two = copy(built, tmp_path / "one"), copy(built, tmp_path / "two")
    for dataset, name in ((one, "solar panel"), (two, "wind turbine")):
        add_classes(dataset, [name])
    one, two = Dataset.open(one.folder), Dataset.open(two.folder)
    key = two[3].key
    two.relabel(key, [Stroke(150, ((0, 60),))])
    with one.writing():
        one.replace_all([triple for triple in one.triples() if triple.key != key])
    both = extend.extended(Palette.load("ade20k"), ["solar panel", "wind turbine"], "both")
    (tmp_path / "both.csv").write_bytes(extend.encode(both))

    with pytest.raises(UsageError, match=r"has classes that the dataset's palette .* lacks: wind turbine"):
        bring(one.folder, two.folder, size=0, min_size=0)
    outcome = bring(one.folder, two.folder, size=0, min_size=0, palette=str(tmp_path / "both.csv"))

    triple = outcome.dataset[key]
    turbine = both.find("wind turbine").index
    assert (triple.labels == turbine).sum() == 60
    assert np.array_equal(np.where(triple.labels == turbine, 150, triple.labels), Dataset.open(two.folder)[key].labels)
    assert any(share.name == "wind turbine" for share in triple.classes)
    assert not [problem for problem in outcome.dataset.check() if problem.severity == "error"]


def test_a_dataset_of_larger_photos_is_refused(built: Path, bring: Importer, scenes: Scenes, tmp_path: Path) -> None:
    """Triples of segkit are imported as they are, so they must fit."""
    bring(kohya(tmp_path / "k", scenes[:1]), size=64, min_size=64)

    with pytest.raises(DatasetError, match=r"holds photos of size=96, the dataset .* of size=64"):
        bring(built, size=0, min_size=0)
    with pytest.raises(UsageError, match="built with size=64, not 128"):
        bring(built, size=128)


def test_splits_set_by_hand_in_a_source_move_the_group(built: Path, bring: Importer, tmp_path: Path) -> None:
    """A person's split wins over a drawn one; of two, the first stays and the other is named."""
    mine, theirs = copy(built, tmp_path / "mine"), copy(built, tmp_path / "theirs")
    first, second = mine[0].key, mine[1].key
    decisions.move(theirs, first, "test")
    decisions.move(theirs, second, "test")
    decisions.move(mine, second, "val" if mine[second].split != "val" else "train")

    outcome = bring(mine.folder, theirs.folder, size=0, min_size=0)

    assert outcome.dataset[first].split == "test"
    assert outcome.dataset[second].split == Dataset.open(mine.folder)[second].split
    assert [leak.outcome for leak in outcome.leaks] == ["stays"]


def test_lost_files_are_brought_back_with_all_decisions(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """An import restores the photo and the map of its own triples, and nothing else changes."""
    source = kohya(tmp_path / "k", scenes[:2])
    dataset = bring(source, maps_by_person=True).dataset
    key = dataset[0].key
    dataset.set_prompts({key: "a corrected prompt"})
    before = {triple.key: triple for triple in Dataset.open(dataset.folder)}
    for name in (before[key].file_name, before[key].conditioning_image_file_name):
        (dataset.folder / name).unlink()

    outcome = bring(source, maps_by_person=True)

    assert (outcome.imported, outcome.unchanged) == (1, 1)
    assert {triple.key: replace(triple) for triple in outcome.dataset} == before
    assert not [problem for problem in outcome.dataset.check() if problem.severity == "error"]
