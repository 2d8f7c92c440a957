"""Prompts, decisions and splits, set one by one with a revision."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, decisions, splits
from segkit.dataset.triple import Triple
from segkit.errors import ConflictError, UsageError
from tests.dataset.test_dataset import build, render


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A dataset of four triples; the first two are near-duplicates, in train."""
    made = build(render(tmp_path / "photos", 4), tmp_path / "out", split="")
    first, second, *_ = made.triples()
    made.replace_all(_grouped(made, first.key, {first.key, second.key}))
    return made


def _grouped(dataset: Dataset, group: str, keys: set[str]) -> list[Triple]:
    return [replace(triple, group=group) if triple.key in keys else triple for triple in dataset.triples()]


def test_a_decision_survives_a_build_and_counts_as_a_change(dataset: Dataset, tmp_path: Path) -> None:
    """Accepted or left out, prompt and split: a build with the same photos changes nothing of it."""
    first, second, third, _ = dataset.triples()

    accepted = decisions.decide(dataset, first.key, "accepted", revision=0)
    again = decisions.decide(dataset, first.key, "accepted", revision=1)
    decisions.decide(dataset, second.key, "rejected")
    prompted = decisions.set_prompt(dataset, third.key, "  my  words ", revision=0, count=len)
    before = [triple.to_json() for triple in dataset.triples()]
    build(tmp_path / "photos", dataset.folder, split="")

    assert (accepted.revision, again.revision, prompted.revision) == (1, 1, 1)
    assert [triple.to_json() for triple in dataset.triples()] == before
    assert [triple.review for triple in dataset.triples()] == ["accepted", "rejected", "open", "open"]
    assert (dataset[third.key].text, dataset[third.key].tokens, dataset[third.key].by_person) == ("my words", 8, True)
    assert len(dataset) == 3


def test_a_group_moves_between_splits_as_one(dataset: Dataset) -> None:
    """So that near-duplicates never end up in two; a later draw keeps what a person moved."""
    first, second, third, _ = dataset.triples()

    moved = decisions.move(dataset, second.key, "val", revision=0)
    again = decisions.move(dataset, first.key, "val", revision=1)
    with dataset.writing():
        splits.apply(dataset, "test=0.5")

    assert (sorted(moved), again) == (sorted([first.key, second.key]), [])
    assert [triple.split for triple in dataset.triples()][:2] == ["val", "val"]
    assert dataset.get([third.key])[0].edits.revision == 0


def test_a_stale_or_impossible_decision_changes_nothing(dataset: Dataset) -> None:
    """An older revision, an unknown name, or an empty prompt."""
    key = dataset[0].key
    decisions.decide(dataset, key, "accepted")
    before = [triple.to_json() for triple in dataset.triples()]

    for change, error in (
        (lambda: decisions.decide(dataset, key, "open", revision=0), ConflictError),
        (lambda: decisions.set_prompt(dataset, key, "text", revision=0, count=len), ConflictError),
        (lambda: decisions.move(dataset, key, "val", revision=0), ConflictError),
        (lambda: decisions.decide(dataset, key, "yes"), UsageError),
        (lambda: decisions.move(dataset, key, "validation"), UsageError),
        (lambda: decisions.set_prompt(dataset, key, " ", count=len), UsageError),
    ):
        with pytest.raises(error):
            change()
    assert [triple.to_json() for triple in dataset.triples()] == before


def test_the_dataset_offers_them_as_methods(dataset: Dataset) -> None:
    """dataset.decide and dataset.set_prompt, which estimates tokens."""
    key = dataset[0].key

    dataset.decide(key, "accepted", revision=0)
    dataset.set_prompt(key, "a kitchen", revision=1)

    assert (dataset[key].review, dataset[key].text, dataset[key].tokens) == ("accepted", "a kitchen", 5)
