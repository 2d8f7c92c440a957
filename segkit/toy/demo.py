"""The demo: renders photos of the toy world and evaluates the dataset built from them against the ground truth."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from trainer.evaluate.settings import EvaluateSettings
from trainer.settings import TrainSettings


@dataclass(frozen=True)
class DemoSettings:
    """What a demo renders and builds.

    Attributes:
        photos: default number of photos.
        sizes: (width, height) of the photos, cycled through. A build must store these sizes unscaled; otherwise the
            rendered ground truth would not fit the control maps.
        build: settings of the build.
    """

    photos: int
    sizes: tuple[tuple[int, int], ...]
    build: BuildSettings


BUILD_DEMO = DemoSettings(
    photos=48,
    sizes=((512, 512), (640, 512), (512, 640), (768, 512)),
    build=BuildSettings(segmenter=hub.TOY, captioner=hub.TOY),
)
"""A few photos, large enough to look at."""

TRAINING_DEMO = DemoSettings(
    photos=2500,
    sizes=((128, 128),),
    build=BuildSettings(
        segmenter=hub.TOY, captioner=hub.TOY, size=128, min_size=64, split="val=0.04", keep_duplicates=True
    ),
)
"""Many small photos to train on."""

TRAIN = TrainSettings(
    base=hub.TOY, controlnet="fresh", resolution=64, batch_size=16, steps=4500, learning_rate=3e-3, warmup=100,
    schedule="cosine", ema=0.995, min_snr=1.0, prompt_dropout=0.2, checkpoint_every=500, evaluate_every=250,
    preview_every=500, preview_guidance=2.0,
)  # fmt: skip
"""Training settings of the toy ControlNet."""

TRAIN_SDXL = replace(TRAIN, base=hub.TOY_SDXL, learning_rate=1.5e-3, warmup=200)
"""The same on the toy SDXL, whose losses rise for hundreds of steps at twice this rate."""

REWARDED = replace(
    TRAIN, reward=hub.TOY, reward_weight=0.1, reward_until=120, reward_share=1.0, reward_steps=6, reward_guidance=2.0,
    reward_gradient_steps=0, batch_size=8, steps=300, learning_rate=5e-4, warmup=10, ema=0.95,
)  # fmt: skip
"""Settings of the training that follows, with a reward."""

EVALUATION = EvaluateSettings(
    judge=hub.TOY_JUDGE, features=hub.TOY_JUDGE, resolution=64, steps=20, guidance=2.0, batch_size=8
)
"""How pictures of the toy ControlNets are drawn, and who judges them."""

_RUN, _REWARDED_RUN = "run", "rewarded"
_DEMO_FILES = ("photos", "dataset", "contact-sheet.png", _RUN, _REWARDED_RUN, "evaluation")
_PHOTO = re.compile(r"(room|street) [0-9]{3,5}\.jpg")


@dataclass(frozen=True)
class GroundTruth:
    """Ground truth of a rendered photo: (H, W) class indices, and a sentence that describes it."""

    labels: Labels
    sentence: str


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of a dataset built from rendered photos.

    Attributes:
        maps: control maps compared with the ground truth.
        captions: (source, drafted prompt, true sentence) of each triple.
    """

    maps: MapQuality
    captions: list[tuple[str, str, str]]


@dataclass(frozen=True)
class Training:
    """A training of the demo: its run folder, its settings, and what it is for, as a sentence."""

    run: Path
    settings: TrainSettings
    purpose: str


def trainings(folder: Path, steps: int | None, base: str = hub.TOY) -> tuple[Training, Training]:
    """Return the trainings of a demo in their order: of a fresh ControlNet, and on from there with a reward.

    Args:
        folder: of the demo.
        steps: of the first training, default TRAIN.steps; those of the second are in proportion.
        base: member of hub.TOY_BASES.
    """
    run = folder / _RUN
    settings = TRAIN_SDXL if base == hub.TOY_SDXL else TRAIN
    fresh = replace(settings, steps=steps or settings.steps)
    more = max(1, round(fresh.steps * REWARDED.steps / TRAIN.steps))
    rewarded = replace(REWARDED, base=base, controlnet=str(run), steps=more)
    title = "Stable Diffusion XL" if base == hub.TOY_SDXL else "Stable Diffusion"
    return (
        Training(run, fresh, f"A fresh ControlNet learns to steer the toy {title}, which knows no maps."),
        Training(
            folder / _REWARDED_RUN, rewarded, "It trains on with a reward: the toy OneFormer looks at its pictures."
        ),
    )


def check_folder(folder: Path) -> None:
    """Check that a folder is missing, empty or contains only files of an earlier demo.

    Raises:
        UsageError: it contains another file.
    """
    foreign = [path for path in folder.glob("*") if path.name not in _DEMO_FILES]
    foreign += [path for path in folder.glob("photos/*") if not _PHOTO.fullmatch(path.name)]
    if foreign:
        raise UsageError(f"{folder} contains {foreign[0].name}, which is not a file of the demo. Pass another folder.")


def render(folder: Path, photos: int, sizes: Sequence[tuple[int, int]], progress: Progress) -> dict[str, GroundTruth]:
    """Render photos into a folder.

    Args:
        folder: created if missing; identical photos of an earlier demo are not rewritten.
        photos: number of photos; photo i shows the scene of seed i, which is not a training scene of the networks.
        sizes: (width, height) of the photos, cycled through.
        progress: see segkit.progress.

    Returns:
        The ground truth by photo key.

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
        truths[triple.key_of(storage.sha256(data))] = GroundTruth(scene.labels, scene.sentence)
        progress("rendering", seed + 1, photos)
    return truths


def evaluate(dataset: Dataset, truths: Mapping[str, GroundTruth]) -> Evaluation:
    """Compare a dataset built from rendered photos with the ground truth.

    Raises:
        ValueError: no triple comes from a rendered photo.
    """
    confusion, captions = metrics.empty_confusion(), []
    for record in dataset.triples():
        if truth := truths.get(record.key):
            with Image.open(dataset.folder / record.conditioning_image_file_name) as image:
                labels, _ = codec.read(image, dataset.info.palette)
            confusion += metrics.confusion(truth.labels, labels)
            captions.append((record.source, record.text, truth.sentence))
    return Evaluation(metrics.map_quality(confusion, len(captions), dataset.info.palette), captions)
