"""Triples whose photos are gone: removed on demand, but never what a person typed or decided."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from segkit import storage
from segkit.dataset import Dataset, Rejection, prune
from segkit.dataset.triple import Triple
from segkit.errors import UsageError
from tests.dataset.test_dataset import build, contents, render, written


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of six triples without prompts, in train and val."""
    return build(render(tmp_path / "photos", 6), tmp_path / "out")


def gone(dataset: Dataset, *places: int) -> set[str]:
    """Return the SHA-256 of the photos of these triples."""
    return {dataset[place].sha256 for place in places}


def pictures(dataset: Dataset) -> set[str]:
    """Return the names of all photos and maps on disk."""
    return {name for name in contents(dataset.folder) if name.startswith(("images/", "maps/"))}


def test_a_triple_is_removed_with_its_files(dataset: Dataset) -> None:
    """Everything else stays, byte for byte, and a check finds nothing wrong but the missing prompts."""
    before, triples = contents(dataset.folder), list(dataset)

    with dataset.writing():
        result = prune.prune(dataset, gone(dataset, 1, 4), force=False)

    assert (result.removed, result.kept) == (("001.png", "004.png"), ())
    assert list(dataset) == [triples[place] for place in (0, 2, 3, 5)]
    after = contents(dataset.folder)
    assert {name: data for name, data in before.items() if name in after and name != "metadata.jsonl"} == {
        name: data for name, data in after.items() if name != "metadata.jsonl"
    }
    assert {problem.rule for problem in dataset.check()} == {"prompt-missing"}


def paint(triple: Triple) -> None:
    """Change a map by hand."""
    path = triple.folder / triple.conditioning_image_file_name
    with Image.open(path) as image:
        image.putpixel((0, 0), 5)
        image.save(path)


WORK: dict[str, Callable[[Triple], Triple | None]] = {
    "a prompt": lambda triple: written(triple, "my own words"),
    "a review": lambda triple: replace(triple, review="accepted"),
    "a split": lambda triple: replace(triple, split="test"),
    "a column": lambda triple: replace(triple, extra='{"stars": 5}'),
    "a painted map": paint,
}


@pytest.mark.parametrize("work", WORK)
def test_what_a_person_worked_on_stays(dataset: Dataset, work: str) -> None:
    """Without force, a triple with a person's words, decision or brush is kept and named; with it, it is removed."""
    triples = list(dataset)
    changed = WORK[work](triples[2])
    dataset.replace_all([changed if changed and place == 2 else triple for place, triple in enumerate(triples)])
    missing = gone(dataset, 1, 2)

    with dataset.writing():
        result = prune.prune(dataset, missing, force=False)
        left = [triple.source for triple in dataset]
        forced = prune.prune(dataset, missing, force=True)

    assert (result.removed, result.kept) == (("001.png",), ("002.png",))
    assert "002.png" in left
    assert (forced.removed, len(dataset)) == (("002.png",), 4)


def test_most_of_a_dataset_is_not_removed_by_accident(dataset: Dataset) -> None:
    """Half of it or more looks like the wrong folder: nothing is removed without force."""
    before = contents(dataset.folder)

    with dataset.writing(), pytest.raises(UsageError, match=r"3 of 6 triples .* such as 000\.png; nothing was removed"):
        prune.prune(dataset, gone(dataset, 0, 1, 2), force=False)
    unchanged = contents(dataset.folder)
    with dataset.writing():
        prune.prune(dataset, gone(dataset, 0, 1, 2), force=True)

    assert unchanged == before
    assert len(dataset) == 3


def test_near_duplicates_of_a_removed_photo_are_considered_again(dataset: Dataset) -> None:
    """Their rejections, which name its key, are dropped; others stay."""
    key = dataset[1].key
    similar = Rejection("b.jpg", "1" * 64, "near-duplicate", f"looks like the photo with key {key}")
    other = Rejection("c.jpg", "2" * 64, "damaged", "truncated")
    with dataset.writing():
        dataset.commit([], [similar, other])
        dataset.fold()
        prune.prune(dataset, gone(dataset, 1), force=False)

    assert list(dataset.rejections()) == [other]


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_killed_prune_is_completed(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Stopped before the n-th write or deletion, the next writer removes the rest, and no record lacks its files."""
    calls = 0

    def stopping(work: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise KeyboardInterrupt
            work(*arguments)

        return run

    missing = gone(dataset, 1)
    with dataset.writing(), monkeypatch.context() as patch:
        patch.setattr(storage, "write", stopping(storage.write))
        patch.setattr(storage, "remove", stopping(storage.remove))
        with pytest.raises(KeyboardInterrupt):
            prune.prune(dataset, missing, force=False)

    with dataset.writing():
        prune.resume(dataset)
        assert all(triple.has_files for triple in dataset)
        prune.prune(dataset, missing, force=False)

    assert len(dataset) == 5
    assert len(pictures(dataset)) == 10
    assert not (dataset.hidden / "pruning.json").exists()
