"""A dataset's files are read once, and again as soon as anything about them or their records changes."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, checked, checks, locked
from segkit.dataset.triple import Triple
from segkit.problem import Problem
from segkit.settings import Check
from tests.dataset.test_checks import swap_colors
from tests.dataset.test_dataset import build, render

OLD = 1_700_000_000


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three triples, old enough for stamps, that was checked."""
    folder = tmp_path_factory.mktemp("once")
    dataset = build(render(folder / "photos", 3), folder / "out")
    for path in (*dataset.folder.glob("images/*/*"), *dataset.folder.glob("maps/*/*")):
        os.utime(path, (OLD, OLD))
    assert not checks.check(dataset).failed
    return dataset.folder


@pytest.fixture
def dataset(once: Path, tmp_path: Path) -> Dataset:
    """A copy of it, times included."""
    return Dataset.open(shutil.copytree(once, tmp_path / "copy"))


def read(dataset: Dataset, check: Check = "fast") -> list[str]:
    """Return the keys of the triples whose files are read."""
    keys: list[str] = []

    def examine(triples: Sequence[Triple]) -> list[list[Problem]]:
        keys.extend(triple.key for triple in triples)
        return [[] for _ in triples]

    triples = list(dataset.triples())
    list(checked.problems(dataset, triples, len(triples), examine, check, lambda *_: None))
    return sorted(keys)


def rules(dataset: Dataset, check: Check) -> list[str]:
    """Return the rules that a check finds broken."""
    return [
        problem.rule
        for problem in checks.check(dataset, scope=checks.Scope(check)).problems
        if problem.severity == "error"
    ]


def test_each_kind_of_check_reads_what_it_says(dataset: Dataset) -> None:
    """All, those that are new or changed, or none; and what "fast" has read, it does not read again."""
    keys = sorted(triple.key for triple in dataset)
    os.utime(dataset.folder / dataset[1].file_name, (OLD + 1, OLD + 1))

    assert [read(dataset, kind) for kind in ("none", "fast", "fast", "full")] == [[], [dataset[1].key], [], keys]


@pytest.mark.parametrize("name", ["file_name", "conditioning_image_file_name"])
def test_a_change_is_noticed_by_its_size_or_time(dataset: Dataset, name: str) -> None:
    """The photo or the map was changed after it was stored, and "fast" says so as long as that is true."""
    path = dataset.folder / getattr(dataset[0], name)
    path.write_bytes(path.read_bytes() + b"x")

    assert [rules(dataset, "fast") for _ in range(2)] == [["file-changed"]] * 2
    assert rules(dataset, "none") == []


def test_a_flipped_bit_is_left_to_the_full_check(dataset: Dataset) -> None:
    """It changes neither size nor time; the trainer compares what it reads, see tests/trainer/data/test_crops.py."""
    path = dataset.folder / dataset[0].conditioning_image_file_name
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, (OLD, OLD))

    assert [rules(dataset, "fast"), rules(dataset, "full")[:1]] == [[], ["file-changed"]]


@pytest.mark.parametrize(
    "edit",
    [
        lambda triple: replace(triple, width=triple.width + 8),
        lambda triple: replace(triple, classes=()),
        lambda triple: replace(triple, map_sha256="0" * 64),
    ],
)
def test_another_record_is_checked_again(dataset: Dataset, edit: Callable[[Triple], Triple]) -> None:
    """What a stamp attests is that the file agrees with its record, which may change too."""
    triples = [*dataset.triples()]
    dataset.replace_all([edit(triples[0]), *triples[1:]])

    assert read(dataset) == [triples[0].key]


def test_another_palette_is_checked_again(dataset: Dataset) -> None:
    """All maps are opened, since each carries the palette that it was painted with."""
    swap_colors(dataset.folder, [])

    assert rules(Dataset.open(dataset.folder), "fast").count("map-not-indexed") == 3


def test_pictures_that_a_build_is_storing_are_no_orphans(dataset: Dataset) -> None:
    """A unit's pictures come before its record; once no build is running, they belong to nothing."""
    stray, other = dataset.folder / "images" / "00" / ("0" * 16), dataset.folder / "notes.txt"
    for path in (stray, other):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    with locked(dataset.folder):
        during = {problem.place for problem in checks.check(dataset).problems if problem.rule == "orphan"}
    after = {problem.place for problem in checks.check(dataset).problems if problem.rule == "orphan"}

    assert (during, after) == ({"notes.txt"}, {"notes.txt", stray.relative_to(dataset.folder).as_posix()})


def test_what_was_recorded_during_a_check_is_no_orphan(dataset: Dataset) -> None:
    """The manifest is read first and the folder later, when a build may have gone on."""
    orphans = [Problem("orphan", "error", dataset[0].file_name, "", ""), Problem("orphan", "error", "x.txt", "", "")]

    assert [problem.place for problem in checked.settled(dataset, orphans)] == ["x.txt"]


def test_changed_maps_are_found_without_reading_the_others(dataset: Dataset) -> None:
    """By their hash, which a flipped bit escapes unless all maps are read again."""
    first, second, third = dataset
    for triple, change in ((first, 1), (second, 0)):
        path = dataset.folder / triple.conditioning_image_file_name
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)
        os.utime(path, (OLD + change, OLD + change))
    (dataset.folder / third.conditioning_image_file_name).unlink()

    assert [triple.key for triple in checked.changed_maps(dataset)] == [first.key]
    assert [triple.key for triple in checked.changed_maps(dataset, rehash=True)] == [first.key, second.key]
