"""Statistics of a dataset, from its manifest."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset, Rejection, stats
from segkit.dataset.info import Info
from segkit.dataset.triple import Triple
from segkit.maps.codec import ClassShare
from segkit.palette import Palette
from tests.reports.test_findings import triple


def dataset(folder: Path, triples: list[Triple], tokenizer: str = "clip") -> Dataset:
    """Create a dataset of these triples."""
    models = {"segmenter": {"name": "m", "revision": "1"}, "tokenizer": {"name": tokenizer}}
    created = Dataset.create(folder, Info(Palette.load("ade20k"), models, {}))
    with created.writing():
        created.commit(triples)
        created.fold()
    return created


def number(place: int, **values: object) -> Triple:
    """Return a triple with a key of its own and changed values."""
    return replace(triple(f"{place:016x}"), **values)


def test_shares_are_weighted_by_area(tmp_path: Path) -> None:
    """A class that fills a photo of 4 times the size counts 4 times, and the largest comes first."""
    wall, sky = ClassShare("wall", 1.0, 0.9), ClassShare("sky", 0.5, 0.9)

    summary = stats.summarize(
        dataset(tmp_path / "d", [number(0, classes=(sky,)), number(1, width=20, height=20, classes=(wall,))])
    )

    assert list(summary.classes.items()) == [("wall", 0.8), ("sky", 0.1)]


@pytest.mark.parametrize(
    ("tokens", "length"),
    [(0, "none"), (1, "1-20"), (20, "1-20"), (21, "21-40"), (60, "41-60"), (77, "61-77"), (78, "over 77")],
)
def test_prompts_are_binned_by_length(tmp_path: Path, tokens: int, length: str) -> None:
    """Upper bounds belong to their bin, and empty bins are left out."""
    assert stats.summarize(dataset(tmp_path / "d", [number(0, tokens=tokens)])).lengths == {length: 1}


def test_everything_is_counted(tmp_path: Path) -> None:
    """Splits, flags and rejections are counted by frequency, and the values are JSON."""
    created = dataset(
        tmp_path / "d",
        [number(0, split="val"), number(1, problems=("prompt-cut", "repetitive")), number(2, problems=("prompt-cut",))],
        "estimate",
    )
    rejections = [Rejection(f"{place}.jpg", f"{place:064x}", "too-small", "small") for place in range(2)]
    with created.writing():
        created.commit([], rejections)
        created.fold()

    summary = stats.summarize(created)

    assert (summary.triples, summary.splits) == (3, {"train": 2, "val": 1})
    assert summary.flags == {"prompt-cut": 2, "repetitive": 1}
    assert summary.rejected == {"too-small": 2}
    assert summary.tokens_estimated
    assert json.loads(json.dumps(summary.to_json()))["lengths"] == {"1-20": 3}


def test_an_empty_dataset_has_no_shares(tmp_path: Path) -> None:
    """Nothing is divided by zero pixels."""
    summary = stats.summarize(dataset(tmp_path / "d", []))

    assert (summary.triples, summary.classes, summary.tokens_estimated) == (0, {}, False)
