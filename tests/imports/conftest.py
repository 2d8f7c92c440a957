"""Small made-up data in the layouts of other tools, with maps whose truth is known."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.dataset import Dataset
from segkit.imports import pipeline, sources
from segkit.imports.outcome import Outcome
from segkit.imports.settings import ImportSettings
from segkit.maps import codec
from segkit.maps.codec import Labels
from segkit.palette import UNLABELLED, Palette
from segkit.toy import world
from tests.exports.conftest import exported, rooms

__all__ = ["exported", "rooms"]

ADE, COCO = Palette.load("ade20k"), Palette.load("coco_panoptic")
SIZE = (160, 120)

Importer = Callable[..., Outcome]


@dataclass(frozen=True)
class Scene:
    """A photo, and the class of each of its pixels: (H, W) uint8."""

    photo: Image.Image
    labels: Labels

    def control_map(self, mode: str = "RGB") -> Image.Image:
        """Return the map in exact colours."""
        return codec.paint(self.labels, ADE).convert(mode)


@pytest.fixture(scope="session")
def scenes() -> tuple[Scene, ...]:
    """Six scenes of the toy world, of one size. Do not change them."""
    rendered = (world.scene(seed, SIZE) for seed in range(100, 106))
    return tuple(Scene(scene.photo, scene.labels) for scene in rendered)


@pytest.fixture
def bring(tmp_path: Path) -> Importer:
    """Return a function that imports sources into tmp_path/out, or another folder, with small sizes."""

    def run(*places: Path, out: str = "out", folders: Any = None, dry_run: bool = False, **settings: Any) -> Outcome:
        values = {"size": 96, "min_size": 80} | settings
        collections = sources.open_all(places, folders)
        loaders = values.pop("loaders", pipeline.LOADERS)
        chosen = ImportSettings(**values)
        if dry_run:
            outcome = pipeline.plan(collections, tmp_path / out, chosen)
        else:
            outcome = pipeline.import_data(collections, tmp_path / out, chosen, loaders=loaders)
        total = outcome.imported + outcome.merged + outcome.unchanged + outcome.rejected.total()
        assert total == outcome.found
        return outcome

    return run


def expected(labels: Labels) -> Labels:
    """Return what a map of SIZE becomes at size=96: scaled by nearest, and cropped like its photo."""
    return np.asarray(Image.fromarray(labels).resize((128, 96), Image.Resampling.NEAREST))


def write(path: Path, image: Image.Image, **options: Any) -> None:
    """Save a picture in a new folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def kohya(folder: Path, scenes: tuple[Scene, ...], first: int = 0) -> Path:
    """Write scenes in the layout of sd-scripts, with captions."""
    for number, scene in enumerate(scenes, first):
        write(folder / "img" / f"{number}.png", scene.photo)
        write(folder / "cond" / f"{number}.png", scene.control_map())
        (folder / "img" / f"{number}.txt").write_text(f"caption {number}", "utf-8")
    return folder


def ade20k(folder: Path, scenes: tuple[Scene, ...]) -> Path:
    """Write scenes in the structure of ADEChallengeData2016; the last one is of the validation split."""
    for number, scene in enumerate(scenes, 1):
        split, short = ("training", "train") if number < len(scenes) else ("validation", "val")
        name = f"ADE_{short}_{number:08}"
        ids = np.where(scene.labels == UNLABELLED, 0, scene.labels.astype(int) + 1).astype(np.uint8)
        write(folder / "images" / split / f"{name}.jpg", scene.photo, quality=95)
        write(folder / "annotations" / split / f"{name}.png", Image.fromarray(ids))
    (folder / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n")
    (folder / "sceneCategories.txt").write_text("ADE_train_00000001 living_room\n")
    return folder


def coco(folder: Path, maps: dict[str, list[Labels]], photos: tuple[Scene, ...]) -> Path:
    """Write maps of COCO's classes in the structure of COCO panoptic, with two segments of each class.

    Args:
        folder: where to.
        maps: maps of COCO's classes by split, such as "val2017".
        photos: scenes whose photos are used in turn.
    """
    categories = [{"id": number, "name": name, "isthing": 1, "color": [0, 0, 0]} for number, name in _categories()]
    number = 0
    for split, listed in maps.items():
        images, annotations = [], []
        for labels in listed:
            number += 1
            name = f"{number:012}"
            write(folder / split / f"{name}.jpg", photos[number % len(photos)].photo, quality=95)
            ids, segments = _segments(labels)
            rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
            write(folder / "annotations" / f"panoptic_{split}" / f"{name}.png", Image.fromarray(rgb))
            images.append({"id": number, "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]})
            annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
    return folder


def _categories() -> list[tuple[int, str]]:
    """Return COCO's category numbers and names; the numbers have gaps."""
    from segkit.dataset.formats.coco_panoptic import category_ids

    return list(zip(category_ids(COCO), (swatch.name for swatch in COCO), strict=True))


def _segments(labels: Labels) -> tuple["np.ndarray[Any, np.dtype[np.uint32]]", list[dict[str, int]]]:
    """Return a panoptic map: upper and lower half of each class are segments of their own, with large numbers."""
    ids = np.zeros(labels.shape, np.uint32)
    segments: list[dict[str, int]] = []
    half = np.arange(labels.shape[0])[:, None] < labels.shape[0] // 2
    for index in np.unique(labels[labels != UNLABELLED]).tolist():
        for part in (half, ~half):
            mask = (labels == index) & part
            if mask.any():
                number = 70_000 * len(segments) + 9
                ids[mask] = number
                segments.append({"id": number, "category_id": _categories()[index][0], "iscrowd": 0, "area": 1})
    return ids, segments


def by_source(dataset: Dataset) -> dict[str, Labels]:
    """Return the labels of each triple by the last part of its source."""
    return {triple.source.rpartition("/")[2]: triple.labels for triple in dataset.triples()}
