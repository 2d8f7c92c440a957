"""The manifest and the list of those left out: replaced together, so that no triple is ever missing from both."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit import storage
from segkit.dataset import Dataset, locked
from segkit.dataset.index import Index
from segkit.dataset.lists import Line
from segkit.dataset.triple import Triple
from segkit.errors import StorageError
from tests.dataset.test_dataset import build, contents, render


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of five triples; do not change it."""
    folder = tmp_path_factory.mktemp("lists")
    return build(render(folder / "photos", 5), folder / "out").folder


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Dataset:
    """A copy of it."""
    for name, data in contents(built).items():
        storage.write(tmp_path / "out" / name, data)
    return Dataset.open(tmp_path / "out")


def decide(dataset: Dataset, *reviews: str) -> None:
    """Record a decision for each of the first triples, and fold it in."""
    with dataset.writing():
        pairs = zip(dataset.triples(), reviews, strict=False)
        dataset.commit([replace(triple, review=review) for triple, review in pairs])
        dataset.fold()


def test_a_rejected_triple_leaves_the_manifest_and_returns(dataset: Dataset) -> None:
    """Readers of the manifest do not see it, the records keep it in its place, and the last to return ends the list."""
    before = contents(dataset.folder)
    sources = [triple.source for triple in dataset]

    decide(dataset, "rejected", "open", "rejected")
    out = [triple.source for triple in dataset]
    seen = [(triple.source, triple.review) for triple in dataset.triples()]
    decide(dataset, "rejected", "open", "open")
    one_out = [triple.source for triple in dataset]
    decide(dataset, "open")

    assert (out, one_out) == ([sources[1], *sources[3:]], sources[1:])
    assert seen == [(name, "rejected" if place in (0, 2) else "open") for place, name in enumerate(sources)]
    assert contents(dataset.folder) == before


def test_a_decision_typed_into_the_manifest_is_taken_over(dataset: Dataset) -> None:
    """A line with review "rejected", out of order and without a newline at its end, is put where it belongs."""
    first, *rest = dataset.manifest.read_bytes().splitlines()
    dataset.manifest.write_bytes(b"\n\n".join([*rest, first.replace(b'"review": "open"', b'"review": "rejected"')]))
    keys = [triple.key for triple in dataset]

    with dataset.writing():
        dataset.fold()

    assert keys == [triple.key for triple in dataset]
    assert dataset.manifest.read_bytes().splitlines() == rest
    assert [triple.review for triple in dataset.triples()] == ["rejected"] + 4 * ["open"]


@pytest.mark.parametrize("reviews", [("rejected", "open"), ("open", "rejected", "open")])
def test_a_fold_stopped_at_any_write_loses_nothing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, reviews: tuple[str, ...]
) -> None:
    """The disk is full at any flush of a fold that moves triples both ways: the next fold completes it."""
    decide(dataset, "open", "rejected")
    start = contents(dataset.folder)
    decide(dataset, *reviews)
    expected = contents(dataset.folder)
    for name in contents(dataset.folder).keys() - start.keys():
        (dataset.folder / name).unlink()
    for name, data in start.items():
        storage.write(dataset.folder / name, data)
    with dataset.writing():
        pairs = zip(dataset.triples(), reviews, strict=False)
        dataset.commit([replace(triple, review=review) for triple, review in pairs])

    everything = [triple.key for triple in dataset.triples()]
    for failing in range(6):
        with monkeypatch.context() as patch, locked(dataset.folder):
            patch.setattr(os, "fsync", failing_after(failing))
            try:
                dataset.fold()
            except StorageError:
                assert [triple.key for triple in Dataset.open(dataset.folder).triples()] == everything
    with dataset.writing():
        dataset.fold()

    assert contents(dataset.folder) == expected


def failing_after(number: int) -> object:
    """Return an fsync that fails after some calls, as on a full disk."""
    left = [number]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


def test_what_is_typed_while_a_fold_runs_is_kept(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody saves the manifest in an editor after a fold has read it: the fold begins again, and both are kept."""
    _, second, *_ = dataset.triples()
    lines = dataset.lists.lines
    typed = [dataset.manifest.read_bytes().replace(b'"text": ""', b'"text": "typed"', 1)]

    def slow(index: Index) -> Iterator[Line]:
        yield from lines(index)
        if typed:
            dataset.manifest.write_bytes(typed.pop())

    monkeypatch.setattr(dataset.lists, "lines", slow)
    with locked(dataset.folder):
        dataset.commit([replace(second, review="accepted")])
        dataset.fold()

    assert [(triple.text, triple.review) for triple in dataset][:2] == [("typed", "open"), ("", "accepted")]


def test_reading_holds_no_more_than_a_line(dataset: Dataset) -> None:
    """Triples are read while they are yielded: after the first, the file may be replaced."""
    triples = dataset.triples()
    first: Triple = next(triples)
    decide(dataset, "rejected", "rejected")

    assert [triple.review for triple in (first, *triples)] == 5 * ["open"]
