"""Maps painted with a list that starts with black: what one map leaves open, its source or a person decides."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED
from segkit.toy.world import damage
from tests.conftest import Segkit
from tests.imports.conftest import Importer, Scene, by_source, expected, kohya, write

Scenes = tuple[Scene, ...]


def few(labels: Labels) -> Labels:
    """Return a map of its three largest classes."""
    present, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    largest = present[np.argsort(-counts)[:3]]
    return np.where(np.isin(labels, largest), labels, largest[0]).astype(np.uint8)


@pytest.fixture
def shifted(scenes: Scenes, tmp_path: Path) -> Path:
    """Return a folder of four photos whose maps, of three classes each, are painted with a shifted list."""
    folder = kohya(tmp_path / "k", scenes[:4])
    for number, scene in enumerate(scenes[:4]):
        write(folder / "cond" / f"{number}.png", damage.by("shifted", few(scene.labels)))
    return folder


@pytest.mark.parametrize("options", [{}, {"quality": 95}])
def test_maps_that_may_be_shifted_are_not_imported(shifted: Path, bring: Importer, options: dict[str, Any]) -> None:
    """They would be exact, with a wrong class everywhere; also as JPEG."""
    for path in list((shifted / "cond").iterdir()) if options else []:
        Image.open(path).save(path.with_suffix(".jpg"), **options)
        path.unlink()

    outcome = bring(shifted)

    assert dict(outcome.rejected) == {"map-unsure": 4}
    for rejection in outcome.examples:
        assert "make more sense if black is the first class, wall" in rejection.message
        assert "cause=exact or cause=shifted" in rejection.message


def test_a_person_decides(shifted: Path, scenes: Scenes, bring: Importer, segkit: Segkit, tmp_path: Path) -> None:
    """With the cause in hand, maps are read as that, and the record says so."""
    refused = segkit("import", shifted, "-o", tmp_path / "none", "--size", 96, "--min-size", 80)
    outcome = bring(shifted, cause="shifted")
    exact = bring(shifted, cause="exact", out="exact")

    assert "--from exact or --from shifted" in refused.out
    truth = {f"{number}.png": expected(few(scene.labels)) for number, scene in enumerate(scenes[:4])}
    assert {name: labels.tolist() for name, labels in by_source(outcome.dataset).items()} == {
        name: labels.tolist() for name, labels in truth.items()
    }
    assert {triple.origin.cause for triple in outcome.dataset} == {"shifted"}
    assert (dict(exact.rejected), exact.imported) == ({}, 4)


def test_a_source_decides_about_its_maps(shifted: Path, scenes: Scenes, bring: Importer) -> None:
    """Maps of many classes show which list was used, so those of few are read alike."""
    for number in (4, 5):
        write(shifted / "img" / f"{number}.png", scenes[number].photo)
        write(shifted / "cond" / f"{number}.png", damage.by("shifted", scenes[number].labels))

    outcome = bring(shifted)

    assert dict(outcome.repaired) == {"shifted": 6}
    assert np.array_equal(by_source(outcome.dataset)["0.png"], expected(few(scenes[0].labels)))


def test_unlabelled_areas_are_not_taken_for_walls(scenes: Scenes, bring: Importer, tmp_path: Path) -> None:
    """Black that is merely unlabelled, in a source whose maps are exact, is imported as it is."""
    folder = kohya(tmp_path / "k", scenes)
    for number, scene in enumerate(scenes):
        labels = scene.labels.copy()
        labels[:, : 20 + 5 * number] = UNLABELLED
        write(folder / "cond" / f"{number}.png", Scene(scene.photo, labels).control_map())

    outcome = bring(folder)

    assert (outcome.imported, dict(outcome.repaired)) == (6, {})
