"""The demo: photos of the toy world, and how right the dataset is that was made of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segkit import control, storage, triple
from segkit.control import Labels
from segkit.dataset import Dataset
from segkit.errors import UsageError
from segkit.models import hub
from segkit.settings import BuildSettings
from segkit.toy import measure, world
from segkit.toy.measure import MapQuality

SETTINGS = BuildSettings(segmenter=hub.TOY, captioner=hub.TOY)

_SIZES = ((512, 512), (640, 512), (512, 640), (768, 512))
"""Width and height of the photos: such that a build stores them as they are, and the truth fits the map."""

_PHOTO = re.compile(r"(room|street) [0-9]{3}\.jpg")


@dataclass(frozen=True)
class Truth:
    """What a rendered photo shows: (H, W) classes, and a sentence."""

    labels: Labels
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """How right a dataset of rendered photos is.

    Attributes:
        maps: its control maps beside the truth.
        captions: source, prompt and true sentence of each triple.
    """

    maps: MapQuality
    captions: list[tuple[str, str, str]]


def claim(folder: Path) -> None:
    """Make sure that a folder is free for the demo, or holds an earlier one.

    Raises:
        UsageError: it holds anything else.
    """
    foreign = [path for path in folder.glob("*") if path.name not in ("photos", "dataset", "contact-sheet.png")]
    foreign += [path for path in folder.glob("photos/*") if not _PHOTO.fullmatch(path.name)]
    if foreign:
        raise UsageError(f"{folder} holds {foreign[0].name}, which is not the demo's. Name a folder of its own for it.")


def render(folder: Path, photos: int, progress: Callable[[int, int], None]) -> dict[str, Truth]:
    """Render photos into a folder.

    Args:
        folder: made where it is missing; photos of an earlier demo that are as they should be stay untouched.
        photos: how many; scene i is that of seed i, which the shipped networks were not trained on.
        progress: called with the photos done and their total.

    Returns:
        The truth by the key of the photo.

    Raises:
        StorageError: the disk is full.
    """
    truths = {}
    for seed in range(photos):
        scene = world.scene(seed, _SIZES[seed % len(_SIZES)])
        data = world.jpeg(scene.photo)
        path = folder / f"{'street' if scene.outdoors else 'room'} {seed:03}.jpg"
        if not path.exists() or path.read_bytes() != data:
            storage.write(path, data)
        truths[triple.key_of(storage.sha256(data))] = Truth(scene.labels, scene.sentence)
        progress(seed + 1, photos)
    return truths


def judge(dataset: Dataset, truths: Mapping[str, Truth]) -> Verdict:
    """Compare a dataset of rendered photos with the truth.

    Raises:
        ValueError: none of the triples is of a rendered photo.
    """
    counts, captions = np.zeros((256, 256), np.int64), []
    for each in dataset.triples():
        if truth := truths.get(each.key):
            with Image.open(dataset.folder / each.conditioning_image_file_name) as image:
                found, _ = control.read(image, dataset.info.palette)
            counts += measure.confusion(truth.labels, found)
            captions.append((each.source, each.text, truth.sentence))
    return Verdict(measure.map_quality(counts, len(captions), dataset.info.palette), captions)
