"""Confidence maps: stored by a build on demand, small, and true where a person painted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.build import pipeline
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset, confidences, relabel
from segkit.maps import confidence
from segkit.maps.strokes import Stroke
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from tests.dataset.test_dataset import Unbatched, build, render


def test_means_of_squares_are_stored() -> None:
    """Within half a step; a small fraction of a photo's bytes, even for noise."""
    values = np.random.default_rng(0).random((512, 680), np.float32)

    data = confidence.encode(values)

    means = values.reshape(128, 4, 170, 4).mean((1, 3))
    assert np.abs(confidence.decode(data) / 255 - means).max() <= 0.5 / 31 + 0.5 / 255
    assert len(data) < 14_000


def grey(photos: Sequence[Image.Image]) -> list[Segmentation]:
    """Segment everything as wall, as sure as the photo is light."""
    values = [np.asarray(photo.convert("L"), np.float32) / np.float32(255) for photo in photos]
    return [Segmentation(np.zeros(light.shape, np.uint8), light) for light in values]


def test_a_build_stores_them_on_demand(tmp_path: Path) -> None:
    """With store_confidence, and only then; the triples are the same; they agree with the means of the record."""
    photos = render(tmp_path / "photos", 2)
    networks = Unbatched(Palette.load("ade20k"), grey, None, "grey", "1")
    for name, stores in (("plain", False), ("stored", True)):
        settings = BuildSettings(size=96, min_size=80, caption=False, store_confidence=stores)
        pipeline.build_dataset(photos, tmp_path / name, settings, load=lambda _: networks)

    assert not (tmp_path / "plain" / ".segkit" / "confidence").exists()
    dataset = Dataset.open(tmp_path / "stored")
    for triple in dataset:
        values = confidences.read(triple, dataset.info.palette)
        assert values is not None
        assert values.mean() / 255 == pytest.approx(triple.classes[0].confidence, abs=0.005)
    assert (tmp_path / "plain" / "metadata.jsonl").read_bytes() == dataset.manifest.read_bytes()


def test_a_person_is_sure(tmp_path: Path) -> None:
    """Squares count by how much of them a person painted; undone, they are as before; damaged files count as none."""
    dataset = build(render(tmp_path / "photos", 1), tmp_path / "out")
    triple, palette = dataset[0], dataset.info.palette
    confidences.store(
        dataset.folder, triple.key, confidence.encode(np.zeros((triple.height, triple.width), np.float32))
    )

    relabel.relabel(dataset, triple.key, [Stroke(3, tuple((row * triple.width, 6) for row in range(4)))])
    values = confidences.read(dataset[0], palette)
    assert values is not None
    assert values[0, :3].tolist() == [255, 128, 0]
    assert values[1:].max() == 0
    relabel.undo(dataset, triple.key)
    assert not np.any(confidences.read(dataset[0], palette))

    confidences.path(dataset.folder, triple.key).write_bytes(b"\x89PNG\r\n\x1a\n")
    assert confidences.read(dataset[0], palette) is None
    confidences.store(dataset.folder, triple.key, b"")
    assert not confidences.path(dataset.folder, triple.key).exists()
