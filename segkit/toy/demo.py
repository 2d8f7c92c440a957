"""The demo: photos of the toy world, and how right the dataset is that was made of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from segkit import storage
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset, triple
from segkit.errors import UsageError
from segkit.maps import codec, metrics
from segkit.maps.codec import Labels
from segkit.maps.metrics import MapQuality
from segkit.models import hub
from segkit.progress import Progress
from segkit.toy import world
from trainer.settings import GenerateSettings, TrainSettings


@dataclass(frozen=True)
class Show:
    """What a demo shows.

    Attributes:
        photos: how many are rendered, if nothing is said.
        sizes: width and height of one after another: such that a build stores them as they are, and the truth fits.
        build: how they become a dataset.
    """

    photos: int
    sizes: tuple[tuple[int, int], ...]
    build: BuildSettings


LOOK = Show(
    photos=48,
    sizes=((512, 512), (640, 512), (512, 640), (768, 512)),
    build=BuildSettings(segmenter=hub.TOY, captioner=hub.TOY),
)
"""A few photos, large enough to be looked at."""

LEARN = Show(
    photos=2500,
    sizes=((128, 128),),
    build=BuildSettings(
        segmenter=hub.TOY, captioner=hub.TOY, size=128, min_size=64, split="val=0.04", keep_duplicates=True
    ),
)
"""Many small ones, to learn from."""

TRAIN = TrainSettings(
    base=hub.TOY, controlnet="fresh", resolution=64, batch_size=16, steps=4500, learning_rate=3e-3, warmup=100,
    schedule="cosine", ema=0.995, min_snr=1.0, prompt_dropout=0.2, checkpoint_every=500, evaluate_every=250,
    preview_every=500, preview_guidance=2.0,
)  # fmt: skip
"""How the toy ControlNet is trained."""

DRAW = GenerateSettings(base=hub.TOY, resolution=64, steps=20, guidance=2.0)
"""How its pictures are drawn."""

_OWN = ("photos", "dataset", "contact-sheet.png", "run", "pictures")
_PHOTO = re.compile(r"(room|street) [0-9]{3,5}\.jpg")


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
    foreign = [path for path in folder.glob("*") if path.name not in _OWN]
    foreign += [path for path in folder.glob("photos/*") if not _PHOTO.fullmatch(path.name)]
    if foreign:
        raise UsageError(f"{folder} holds {foreign[0].name}, which is not the demo's. Name a folder of its own for it.")


def render(folder: Path, photos: int, sizes: Sequence[tuple[int, int]], progress: Progress) -> dict[str, Truth]:
    """Render photos into a folder.

    Args:
        folder: made where it is missing; photos of an earlier demo that are as they should be stay untouched.
        photos: how many; scene i is that of seed i, which the shipped networks were not trained on.
        sizes: width and height of one after another, again and again.
        progress: see segkit.progress.

    Returns:
        The truth by the key of the photo.

    Raises:
        StorageError: the disk is full.
    """
    truths = {}
    for seed in range(photos):
        scene = world.scene(seed, sizes[seed % len(sizes)])
        data = world.jpeg(scene.photo)
        path = folder / f"{'street' if scene.outdoors else 'room'} {seed:03}.jpg"
        if not path.exists() or path.read_bytes() != data:
            storage.write(path, data)
        truths[triple.key_of(storage.sha256(data))] = Truth(scene.labels, scene.sentence)
        progress("rendering", seed + 1, photos)
    return truths


def judge(dataset: Dataset, truths: Mapping[str, Truth]) -> Verdict:
    """Compare a dataset of rendered photos with the truth.

    Raises:
        ValueError: none of the triples is of a rendered photo.
    """
    counts, captions = metrics.empty_confusion(), []
    for each in dataset.triples():
        if truth := truths.get(each.key):
            with Image.open(dataset.folder / each.conditioning_image_file_name) as image:
                found, _ = codec.read(image, dataset.info.palette)
            counts += metrics.confusion(truth.labels, found)
            captions.append((each.source, each.text, truth.sentence))
    return Verdict(metrics.map_quality(counts, len(captions), dataset.info.palette), captions)
