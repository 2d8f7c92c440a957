"""Conditions are applied to the fields of lines, with the same result as on whole triples."""

from pathlib import Path

import numpy as np
import pytest

from segkit.dataset import Dataset, decisions, where
from segkit.dataset.matching import matching
from tests.dataset.test_dataset import build, render

CONDITIONS = (
    "class:wall share>0.2", "class:floor confidence<0.9", "text:lamp", "source:00*", "split:train", "review:rejected",
    "by:person", "by:nobody", "-flag:near-duplicate", "flag:prompt-empty", "tokens>3", "width>10", "labelled<1",
    "mark:1",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Five triples: one left out, one with a person's prompt, one with a column of one's own, one edited since."""
    folder: Path = tmp_path_factory.mktemp("matching")
    made = build(render(folder / "photos", 5), folder / "out")
    first, second, third, *_ = made.triples()
    decisions.decide(made, first.key, "rejected")
    made.set_prompts({second.key: "a lamp on a table"})
    with made.writing():
        made.fold()
    data = made.manifest.read_bytes().split(b"\n")
    data[2] = data[2].replace(b"{", b'{"mark": 1, ', 1)
    made.manifest.write_bytes(b"\xef\xbb\xbf" + b"\n\n".join(data))
    with made.writing():
        made.commit([third.edited(text="a lamp", tokens=4)])
    return Dataset.open(made.folder)


@pytest.mark.parametrize("text", CONDITIONS)
def test_the_same_triples_match(dataset: Dataset, text: str) -> None:
    """Each once, whether they are in a list or were edited since."""
    condition = where.parse(text, dataset.info.palette)
    expected = sorted((triple.source, int(triple.key, 16)) for triple in dataset.triples() if condition(triple))

    assert sorted(matching(dataset, where.parse(text, dataset.info.palette))) == expected
    for source, key in expected:
        among = np.array([key], np.uint64)
        assert (source, key) in list(matching(dataset, where.parse(text, dataset.info.palette), candidates=among))


def test_few_candidates_are_looked_up(dataset: Dataset) -> None:
    """Of the lists, only their lines are read."""
    *_, last = dataset.triples()
    newer = [(triple.source, int(triple.key, 16)) for triple in dataset.pending()[0].values()]
    keys = list(matching(dataset, None, candidates=np.array([int(last.key, 16)], np.uint64)))

    assert sorted(keys) == sorted([*newer, (last.source, int(last.key, 16))])


def test_without_conditions_all_match(dataset: Dataset) -> None:
    """And progress is reported."""
    reported = []
    keys = list(matching(dataset, None, lambda *numbers: reported.append(numbers[1:3])))
    assert (len(keys), set(reported)) == (5, {(0, 5), (4, 5)})
