"""Scores kept in the cache: the same as measured ones, and only while the lists are as they were."""

import re
from pathlib import Path

import numpy as np
import pytest

from segkit.dataset import Dataset, decisions, scored
from segkit.dataset.measures import Measurer
from segkit.dataset.scored import Scored
from tests.dataset.test_dataset import build, render


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four triples, one of which is left out; the manifest lists the others."""
    opened = build(render(tmp_path / "photos", 4), tmp_path / "out")
    decisions.decide(opened, opened[0].key, "rejected")
    with opened.writing():
        opened.fold()
    return opened


def listed(dataset: Dataset) -> Scored:
    """Return the scores of the triples in the lists."""
    return scored.of_dataset(dataset, Measurer(dataset.info.palette))[0]


def measured_with_a_fault(*_: object) -> None:
    """Fail where lines would be read."""
    raise AssertionError("measured again")


def test_scores_are_measured_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process reads the same scores from the cache, those of triples left out, too."""
    before = listed(dataset)
    assert sorted(before.scores.keys.tolist()) == sorted(int(triple.key, 16) for triple in dataset.triples())
    assert before.reviews.tolist() == [2, 0, 0, 0]

    monkeypatch.setattr(scored, "_rows", measured_with_a_fault)
    after = listed(Dataset.open(dataset.folder))

    assert np.array_equal(after.scores.keys, before.scores.keys)
    assert np.array_equal(after.scores.doubts, before.scores.doubts)
    assert np.array_equal(after.reviews, before.reviews)


def test_changes_are_measured_again(dataset: Dataset) -> None:
    """Whether by hand or by a decision; a damaged cache does no harm."""
    before = listed(dataset)
    dataset.manifest.write_bytes(re.sub(rb'"confidence": [0-9.]+', b'"confidence": 0.1', dataset.manifest.read_bytes()))
    edited = listed(dataset)
    assert (edited.scores.doubts[1:] > before.scores.doubts[1:]).all()
    assert edited.scores.doubts[0] == before.scores.doubts[0]

    decisions.decide(dataset, dataset[0].key, "accepted")
    assert listed(dataset).reviews.tolist() == [2, 1, 0, 0]

    cache = dataset.hidden / "cache" / "doubt"
    whole = cache.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK\x03\x04" + b"\0" * 99):
        cache.write_bytes(damaged)
        assert np.array_equal(listed(dataset).scores.doubts, edited.scores.doubts)


def test_parts_come_before_the_lists(dataset: Dataset) -> None:
    """A triple that a part changes is counted once, as the part has it."""
    changed = dataset[1]
    with dataset.writing():
        dataset.commit([changed.edited(text="a lamp and a sofa", tokens=6, review="accepted")])
    in_lists, pending = scored.of_dataset(dataset, Measurer(dataset.info.palette))

    assert int(changed.key, 16) not in in_lists.scores.keys.tolist()
    assert (pending.scores.keys.tolist(), pending.reviews.tolist()) == ([int(changed.key, 16)], [1])
    assert len(in_lists.scores.keys) == len(in_lists.reviews) == 3
