"""Doubt: which triples a person should look at first, and why."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, decisions, doubt, measures
from segkit.dataset.doubt import Scorer
from segkit.dataset.triple import Triple
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from segkit.problem import Problem
from tests.dataset.test_dataset import build, drafted, render

ADE = Palette.load("ade20k")
SURE = (ClassShare("wall", 0.6, 0.99), ClassShare("floor", 0.3, 0.99), ClassShare("bed", 0.1, 0.99))


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Triple:
    """A triple without any doubt."""
    folder = tmp_path_factory.mktemp("doubt")
    triple = build(render(folder / "photos", 1), folder / "out")[0]
    return replace(drafted(triple, "a bed at a wall"), classes=SURE)


def test_each_kind_of_doubt_is_named(sure: Triple) -> None:
    """It raises the doubt, and its reason says what a person should look at."""
    weak = (*SURE[:2], ClassShare("bed", 0.1, 0.4))
    cases = {
        "4% of the map expected to be wrong": replace(sure, classes=(ClassShare("wall", 1.0, 0.84),)),
        "bed: confidence 0.40 on 10.0% of the map": replace(sure, classes=weak),
        "named in the prompt, not in the map: lamp, sofa": drafted(sure, "two lamps, a couch and a bed at a wall"),
        "wall: large, but not in the prompt": drafted(sure, "a bed"),
        "the caption repeats itself": replace(sure, problems=("prompt-repeats",)),
        "a near-duplicate of another photo": replace(sure, group="0" * 16),
        "40% unlabelled": replace(sure, classes=(ClassShare("wall", 0.6, 1.0),)),
    }
    scorer = Scorer(ADE)
    assert scorer.doubtful(sure).reasons == ()
    assert scorer.doubtful(sure).doubt < doubt.LITTLE
    for reason, triple in cases.items():
        doubtful = scorer.doubtful(triple)
        assert reason in doubtful.reasons
        assert doubtful.doubt > scorer.doubtful(sure).doubt


def test_what_check_found_counts(sure: Triple) -> None:
    """An error weighs more than a warning, and both are named."""
    changed = Problem("file-changed", "error", sure.key, "")
    warned = Problem("coverage-low", "warning", sure.key, "")

    failed, warning = (Scorer(ADE, doubt.by_key([problem])).doubtful(sure) for problem in (changed, warned))

    assert (failed.reasons, warning.reasons) == (("file-changed",), ("coverage-low",))
    assert failed.doubt > warning.doubt > 0.1


def test_names_and_synonyms_are_found_in_prompts() -> None:
    """The longest name counts: a pool table is no table; plurals and capitals are understood."""
    scorer = Scorer(ADE)

    names = [sorted(meant) for meant in scorer.named("A pool table, two armchairs and some Sofas; tables of one kind.")]

    assert names == [["pool table"], ["armchair"], ["sofa"], ["table"]]


def test_tiny_classes_count_where_they_are_rare(sure: Triple) -> None:
    """In a dataset of many triples, but not in one of a few, where every class is rare."""
    odd = replace(sure, classes=(*SURE, ClassShare("lake", 0.002, 0.99)))
    few, many = [sure, odd], [sure] * 200 + [odd]

    doubts = [doubt.scores(triples, Scorer(ADE))[1] for triples in (few, many)]

    assert doubts[0][1] - doubts[0][0] < 0.01
    assert doubts[1][-1] - doubts[1][0] > 0.1
    assert np.allclose(doubts[1][:200], doubts[0][0])


def test_many_triples_are_measured_as_one_is(sure: Triple, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk by chunk, the same doubt; a map without a class is possible; no triple at all, too."""
    monkeypatch.setattr(measures, "_CHUNK", 2)
    triples = [sure, replace(sure, classes=()), replace(sure, problems=("prompt-cut",)), drafted(sure, "a lamp"), sure]
    scorer = Scorer(ADE)

    keys, doubts = doubt.scores(triples, scorer)

    assert [f"{key:016x}" for key in keys] == [sure.key] * 5
    assert doubts.tolist() == pytest.approx([scorer.doubtful(triple).doubt for triple in triples], abs=1e-4)
    assert [len(part) for part in doubt.scores([], Scorer(ADE))] == [0, 0]


def test_decided_triples_are_not_doubtful(tmp_path: Path) -> None:
    """A person has looked at them already."""
    dataset: Dataset = build(render(tmp_path / "photos", 3), tmp_path / "out")
    worst = doubt.of_dataset(dataset, 10)
    decisions.decide(dataset, worst[0].triple.key, "accepted")

    left = doubt.of_dataset(dataset, 1)

    assert [item.doubt for item in worst] == sorted((item.doubt for item in worst), reverse=True)
    assert [item.triple.key for item in left] == [worst[1].triple.key]
