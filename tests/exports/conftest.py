"""A small dataset with everything that an export has to carry, and its export in each layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from segkit.dataset import Dataset
from segkit.dataset.triple import PERSON, Triple
from segkit.exports import pipeline
from segkit.maps.strokes import Stroke
from segkit.settings import DatasetExportSettings
from tests.dataset.test_dataset import build, drafted, render

PROMPTS = ("a café, “bright”", "", "two\nlines", "a bed", "2020-01-01 10:00:00", "a | b {c}", "a chair")
SPLITS = ("train", "val", "train", "test", "train", "val", "train")

Exporter = Callable[..., Path]


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset of seven triples in three splits, shared by all tests: do not modify it. An eighth was left out.

    Prompts are by persons, by models and missing; two triples are accepted; one line has keys of another tool; one map
    has unlabelled pixels, and road and skyscraper, which have one colour.
    """
    folder = tmp_path_factory.mktemp("exports")
    dataset = build(render(folder / "photos", 8), folder / "test rooms")
    wall, road, skyscraper = 255, 6, 48
    strokes = [Stroke(wall, ((0, 50),)), Stroke(road, ((200, 90),)), Stroke(skyscraper, ((400, 90),))]
    dataset.relabel(dataset[0].key, strokes)
    dataset.decide(dataset[7].key, "rejected")
    with dataset.writing():
        dataset.fold()
        dataset.replace_all([_changed(triple, place) for place, triple in enumerate(dataset.triples())])
    return Dataset.open(dataset.folder)


def _changed(triple: Triple, place: int) -> Triple:
    if place >= len(PROMPTS):
        return triple
    triple = drafted(triple, PROMPTS[place]) if PROMPTS[place] else triple
    return replace(
        triple,
        split=SPLITS[place],
        prompt=PERSON if place == 4 else triple.prompt,
        review="accepted" if place in (1, 4) else "open",
        extra=json.dumps({"license": ["CC0"]}) if place == 2 else "",
    )


@pytest.fixture(scope="session")
def exported(rooms: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """Return a function that exports the dataset with some settings once, and returns the folder: do not modify it."""
    folders: dict[str, Path] = {}

    def export(to: str, **settings: Any) -> Path:
        name = f"{to} {sorted(settings.items())}"
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("exported") / to
            pipeline.export(rooms, folders[name], chosen(to, **settings))
        return folders[name]

    return export


def chosen(to: Any, **settings: Any) -> DatasetExportSettings:
    """Return the settings of an export."""
    return DatasetExportSettings(to=to, **settings)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of an export except its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
